(() => {
  'use strict';
  const { one, text, unpack } = page;

  /* ---------- table ---------- */
  const table = one('#designs');
  const body = table.tBodies[0];
  page.sortable(table);
  page.filterable(one('#filter'), table);

  /* ---------- a small viewer of CA traces, for browsers or machines without the large one ---- */
  class TraceViewer extends stage.Orbit {
    constructor(host) {
      super(host, 'trace');
      this.mode = 'structure';
    }

    async show(design) {
      const atoms = design.pdb.split('\n').filter((l) => l.startsWith('ATOM')
        && l.slice(12, 16).trim() === 'CA');
      const raw = atoms.map((l) => [l.slice(30, 38), l.slice(38, 46), l.slice(46, 54)].map(Number));
      const centre = [0, 1, 2].map((k) => raw.reduce((sum, p) => sum + p[k], 0) / raw.length);
      this.points = raw.map((p) => p.map((x, k) => x - centre[k]));
      this.chains = atoms.map((l) => l[21]);
      this.states = design.states;
      this.reach = Math.max(...this.points.map((p) => Math.hypot(...p))) + 2;
      this.draw();
    }

    colour(mode) { this.mode = mode; this.draw(); }

    paint(pen, place, size) {
      const seen = this.points.map(place);
      const style = getComputedStyle(document.documentElement);
      const shade = { H: '--helix', E: '--strand', C: '--coil' };
      const parts = seen.slice(1).map((q, i) => ({ p: seen[i], q, i, z: (seen[i][2] + q[2]) / 2 }))
        .filter((part) => this.chains[part.i] === this.chains[part.i + 1]);
      parts.sort((a, b) => a.z - b.z);
      pen.lineCap = 'round';
      for (const { p, q, i, z } of parts) {
        const near = (z / this.reach + 1) / 2;
        const line = (width, colour) => {
          pen.lineWidth = width; pen.strokeStyle = colour;
          pen.beginPath(); pen.moveTo(p[0], p[1]); pen.lineTo(q[0], q[1]); pen.stroke();
        };
        const width = size * (this.states[i] === 'C' ? 0.8 : 1.5) * (0.8 + 0.35 * near);
        pen.globalAlpha = 1;
        line(width + 2, style.getPropertyValue('--card'));
        pen.globalAlpha = 0.35 + 0.65 * near;
        line(width, this.mode === 'rainbow'
          ? `hsl(${250 * (1 - i / seen.length)} 65% 52%)`
          : style.getPropertyValue(shade[this.states[i]]));
      }
    }
  }

  /* ---------- Mol* ---------- */
  class MolstarViewer {
    static async create(host) { return new MolstarViewer(await stage.molstar(host, [])); }

    constructor(viewer) {
      this.viewer = viewer;
      this.mode = 'structure';
    }

    async show(design) {
      await this.viewer.plugin.clear();
      await this.viewer.loadStructureFromData(design.pdb, 'pdb', { dataLabel: design.name });
      await this.colour(this.mode);
      this.viewer.handleResize();
      this.reset();
    }

    async colour(mode) {
      this.mode = mode;
      const manager = this.viewer.plugin.managers.structure;
      const theme = mode === 'rainbow' ? 'sequence-id' : 'secondary-structure';
      const colours = { colors: { name: 'custom', params: {
        alphaHelix: 0xd1495b, threeTenHelix: 0xd1495b, piHelix: 0xd1495b, betaStrand: 0x2e86ab,
        betaTurn: 0x9aa7b3, coil: 0x9aa7b3, bend: 0x9aa7b3, turn: 0x9aa7b3 } } };
      const parts = manager.hierarchy.current.structures.flatMap((s) => s.components);
      try {
        await manager.component.updateRepresentationsTheme(parts, mode === 'rainbow'
          ? { color: theme } : { color: theme, colorParams: colours });
      } catch (error) { console.info('colours:', error); }
    }

    animate(on) { stage.spinning(this.viewer, on); }

    reset() { this.viewer.plugin.canvas3d.requestCameraReset({ durationMs: 0 }); }
  }

  /* ---------- stage ---------- */
  const host = one('#viewer');
  const select = one('#select');
  const state = document.documentElement.dataset;
  const say = (message) => stage.say(host, message);
  let designs = new Map();
  let viewer = null;
  let busy = Promise.resolve();

  function facts(name) {
    const row = [...body.rows].find((r) => r.dataset.name === name);
    const list = one('#facts');
    list.replaceChildren();
    if (!row) return;
    [...table.tHead.rows[0].cells].forEach((heading, i) => {
      const content = row.cells[i].textContent.trim();
      if (i === 0 || content === '' || content === '–') return;
      const term = document.createElement('dt');
      const detail = document.createElement('dd');
      term.textContent = heading.textContent.trim();
      detail.textContent = content;
      list.append(term, detail);
    });
  }

  function sequence(design) {
    const box = one('.sse');
    box.replaceChildren();
    for (const run of (design?.states ?? '').match(/H+|E+|C+/g) ?? []) {
      const span = document.createElement('span');
      span.className = run[0];
      span.textContent = run.replaceAll('C', '·');
      box.append(span);
    }
  }

  function choose(name) {
    for (const row of body.rows) row.setAttribute('aria-selected', String(row.dataset.name === name));
    if ([...select.options].some((o) => o.value === name)) select.value = name;
    facts(name);
    const design = designs.get(name);
    sequence(design);
    if (!design) { say('This design is not in the page: open its file.'); return; }
    state.shown = '';
    busy = busy.then(async () => {
      await viewer.show(design);
      say('');
      state.shown = name;
    }).catch((error) => { say(`Cannot show ${name}: ${error.message}`); });
  }

  body.addEventListener('click', (event) => {
    const row = event.target.closest('tr');
    if (row) choose(row.dataset.name);
  });
  body.addEventListener('keydown', (event) => {
    if (event.key === 'Enter' && event.target.closest('tr')) choose(event.target.closest('tr').dataset.name);
  });
  select.addEventListener('change', () => choose(select.value));
  const step = (by) => {
    const n = select.options.length;
    select.selectedIndex = (select.selectedIndex + by + n) % n;
    choose(select.value);
  };
  one('#before').addEventListener('click', () => step(-1));
  one('#after').addEventListener('click', () => step(1));
  one('#colour').addEventListener('click', (event) => {
    const rainbow = event.target.getAttribute('aria-pressed') !== 'true';
    event.target.setAttribute('aria-pressed', String(rainbow));
    busy = busy.then(() => viewer?.colour(rainbow ? 'rainbow' : 'structure'));
  });
  one('#spin').addEventListener('click', (event) => {
    const on = event.target.getAttribute('aria-pressed') !== 'true';
    event.target.setAttribute('aria-pressed', String(on));
    viewer?.animate(on);
  });
  one('#reset').addEventListener('click', () => viewer?.reset());

  async function start() {
    say('Unpacking the structures…');
    const list = JSON.parse(await unpack('structures'));
    designs = new Map(list.map((d) => [d.name, d]));
    const wanted = new URLSearchParams(location.hash.slice(1)).get('viewer');
    if (text('molstar-script') && wanted !== 'simple') {
      say('Starting the viewer…');
      try {
        viewer = await MolstarViewer.create(host);
        state.viewer = 'molstar';
      } catch (error) {
        one('#why').textContent = `Simple viewer: ${error.message}.`;
      }
    }
    if (!viewer) { viewer = new TraceViewer(host); state.viewer = 'simple'; }
    if (list.length) choose(list[0].name); else say('No structure is in this page.');
    await busy;
    state.ready = 'yes';
  }
  start().catch((error) => { say(`The viewer cannot start: ${error.message}`); state.ready = 'no'; });
})();
