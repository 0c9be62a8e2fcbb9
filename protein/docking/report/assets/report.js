(() => {
  'use strict';
  const { one, text, unpack } = page;
  const state = document.documentElement.dataset;

  /* ---------- table ---------- */
  const table = one('#ligands');
  const body = table.tBodies[0];
  page.sortable(table);
  const status = one('#status');
  const allowed = (row) => status.value === '' || row.dataset.status === status.value
    || (status.value === 'ok' && row.dataset.status === 'valid');
  const refresh = page.filterable(one('#filter'), table, allowed, (shown, all) => {
    one('#count').textContent = shown === all ? '' : `${shown} of ${all}`;
  });
  status.addEventListener('change', refresh);
  const rowOf = (key) => [...body.rows].find((row) => row.dataset.key === key);

  const host = one('#viewer');
  if (!host) { state.ready = 'yes'; return; }  /* nothing was docked */

  /* ---------- stage ---------- */
  const select = one('#select');
  const say = (message) => stage.say(host, message);
  const dark = window.matchMedia('(prefers-color-scheme: dark)');
  const KINDS = ['hydrogen bond', 'salt bridge', 'metal', 'hydrophobic'];
  let ligands = new Map();
  let viewer = null;
  let chosen = null;
  let pose = 0;
  let busy = Promise.resolve();
  let wanted = 0;
  const pressed = (id) => one(id).getAttribute('aria-pressed') === 'true';

  function fill(list, rows) {
    list.replaceChildren();
    for (const [name, value] of rows) {
      const term = document.createElement('dt');
      const detail = document.createElement('dd');
      term.textContent = name;
      detail.textContent = value;
      list.append(term, detail);
    }
  }

  function facts(key) {
    const row = rowOf(key);
    const drawing = row?.querySelector('.mol');
    one('#drawing').replaceChildren(...(drawing ? [drawing.cloneNode(true)] : []));
    const tags = chosen?.tags[pose] ?? {};
    const units = { affinity: ' kcal/mol', energy: ' kcal/mol', strain: ' kcal/mol' };
    const names = { confidence: 'Confidence', affinity: 'Affinity', energy: 'Energy', strain: 'Strain',
      site: 'Site', posebusters: 'PoseBusters', posebusters_failed: 'Fails' };
    const rows = chosen ? [['Pose', `${pose + 1} of ${chosen.poses.length}`]] : [];
    for (const [tag, name] of Object.entries(names)) {
      if (tags[tag]) rows.push([name, tags[tag] + (units[tag] ?? '')]);
    }
    fill(one('#facts'), rows);
    contacts();
  }

  function contacts() {
    const list = one('#contacts');
    list.replaceChildren();
    const found = (chosen?.contacts[pose] ?? []).filter((c) => c[2] >= 0);
    one('#contacts-title').textContent = chosen ? `Contacts (${found.length})` : '';
    for (const [kind, atom, other, distance] of found) {
      const line = document.createElement('li');
      line.style.setProperty('--c', `var(${views.KINDS[kind]})`);
      line.title = KINDS[kind];
      const what = document.createElement('span');
      const from = document.createElement('small');
      const residue = chosen.pocket.residues[chosen.pocket.residue[other]];
      what.textContent = `${views.title(residue)} ${chosen.pocket.name[other]} `;
      from.textContent = `${residue[0] ? `chain ${residue[0]} ` : ''}← ${chosen.element[atom]}${atom + 1}`;
      what.append(from);
      const far = document.createElement('span');
      far.textContent = `${distance.toFixed(1)} Å`;
      line.append(what, far);
      list.append(line);
    }
  }

  function buttons() {
    const list = one('#poses');
    list.replaceChildren();
    (chosen?.poses ?? []).forEach((_, k) => {
      const button = document.createElement('button');
      button.textContent = String(k + 1);
      button.setAttribute('aria-label', `pose ${k + 1}`);
      button.setAttribute('aria-pressed', String(k === pose));
      button.addEventListener('click', () => { pose = k; draw(); });
      list.append(button);
    });
  }

  /* The pocket of a pose, with its flexible side chains where the pose has them. */
  function placed({ pocket, moved }, k) {
    if (!pocket || !moved) return pocket;
    const xyz = pocket.xyz.slice();
    moved.atoms.forEach((atom, i) => {
      for (let d = 0; d < 3; d += 1) xyz[3 * atom + d] = moved.xyz[k][3 * i + d];
    });
    return { ...pocket, xyz };
  }

  function draw() {
    [...one('#poses').children].forEach((b, k) => b.setAttribute('aria-pressed', String(k === pose)));
    facts(select.value);
    state.shown = '';
    wanted += 1;
    const mine = wanted;
    const [ligand, k] = [chosen, pose];
    const look = { labels: pressed('#labels'), greasy: pressed('#greasy'), surface: pressed('#surface'),
      dark: dark.matches };
    busy = busy.then(async () => {
      if (mine !== wanted) return;  /* another was chosen meanwhile */
      await viewer.show(placed(ligand, k), ligand, k, look);
      say('');
      state.shown = `${ligand.key}/${k + 1}`;
    }).catch((error) => { say(`Cannot show ${ligand.name}: ${error.message}`); });
  }

  function choose(key, scroll) {
    for (const row of body.rows) row.setAttribute('aria-selected', String(row.dataset.key === key));
    chosen = ligands.get(key) ?? null;
    pose = 0;
    if (chosen) select.value = key;
    buttons();
    if (!chosen) {
      facts(key);
      state.shown = '';
      wanted += 1;
      busy = busy.then(() => say(rowOf(key)?.dataset.status === 'failed'
        ? 'This ligand was not docked: the table says why.'
        : 'The poses of this ligand are not in the page: open its SDF.'));
      return;
    }
    draw();
    if (scroll && host.getBoundingClientRect().top < 0) one('#select').scrollIntoView({ block: 'start' });
  }

  body.addEventListener('click', (event) => {
    const row = event.target.closest('tr');
    if (row && !event.target.closest('a')) choose(row.dataset.key, true);
  });
  body.addEventListener('keydown', (event) => {
    const row = event.target.closest('tr');
    if (event.key === 'Enter' && row && !event.target.closest('a')) choose(row.dataset.key, true);
  });
  select.addEventListener('change', () => choose(select.value));
  const step = (by) => {
    const n = select.options.length;
    select.selectedIndex = (select.selectedIndex + by + n) % n;
    choose(select.value);
  };
  one('#before').addEventListener('click', () => step(-1));
  one('#after').addEventListener('click', () => step(1));
  for (const id of ['#labels', '#greasy', '#surface']) {
    one(id).addEventListener('click', () => {
      one(id).setAttribute('aria-pressed', String(!pressed(id)));
      if (chosen) draw();
    });
  }
  dark.addEventListener('change', () => { if (chosen) draw(); });
  one('#spin').addEventListener('click', () => {
    one('#spin').setAttribute('aria-pressed', String(!pressed('#spin')));
    viewer?.animate(pressed('#spin'));
  });
  one('#reset').addEventListener('click', () => { viewer?.reset(); if (chosen) draw(); });

  async function start() {
    say('Unpacking the poses…');
    const data = JSON.parse(await unpack('docked'));
    const pockets = data.pockets;
    ligands = new Map(data.ligands.map((d) => [d.key, { ...d, pocket: pockets[d.pocket] ?? null }]));
    const asked = new URLSearchParams(location.hash.slice(1)).get('viewer');
    if (text('molstar-script') && asked !== 'simple') {
      say('Starting the viewer…');
      try {
        viewer = await views.Molstar.create(host);
        state.viewer = 'molstar';
      } catch (error) {
        one('#why').textContent = `Simple viewer: ${error.message}.`;
      }
    }
    if (!viewer) { viewer = new views.Flat(host); state.viewer = 'simple'; }
    if (select.options.length) choose(select.options[0].value);
    await busy;
    state.ready = 'yes';
  }
  start().catch((error) => { say(`The viewer cannot start: ${error.message}`); state.ready = 'no'; });
})();
