(() => {
  'use strict';
  const one = (selector) => document.querySelector(selector);
  const text = (id) => document.getElementById(id)?.textContent.trim() ?? '';

  async function unpack(id) {
    const bytes = Uint8Array.from(atob(text(id)), (c) => c.charCodeAt(0));
    const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream('gzip'));
    return new Response(stream).text();
  }

  /* ---------- table ---------- */
  const table = one('#designs');
  const body = table.tBodies[0];
  const value = (row, column) => {
    const cell = row.cells[column];
    const raw = cell.dataset.value ?? cell.textContent;
    if (raw === '') return null;
    const number = Number(raw);
    return Number.isNaN(number) ? raw.toLowerCase() : number;
  };
  const compare = (a, b) => (typeof a === typeof b
    ? (a < b ? -1 : a > b ? 1 : 0) : (typeof a === 'number' ? -1 : 1));

  function sortBy(column) {
    const heading = table.tHead.rows[0].cells[column];
    const rising = heading.getAttribute('aria-sort') !== 'ascending';
    for (const cell of table.tHead.rows[0].cells) cell.removeAttribute('aria-sort');
    heading.setAttribute('aria-sort', rising ? 'ascending' : 'descending');
    const rows = [...body.rows].map((row, i) => [value(row, column), i, row]);
    rows.sort((p, q) => {
      if (p[0] === null || q[0] === null) {  /* absent values stay last either way */
        return p[0] === q[0] ? p[1] - q[1] : (p[0] === null ? 1 : -1);
      }
      return (rising ? 1 : -1) * compare(p[0], q[0]) || p[1] - q[1];
    });
    body.append(...rows.map((r) => r[2]));
  }
  [...table.tHead.rows[0].cells].forEach((cell, i) => {
    cell.querySelector('button').addEventListener('click', () => sortBy(i));
  });
  one('#filter').addEventListener('input', (event) => {
    const wanted = event.target.value.trim().toLowerCase();
    for (const row of body.rows) {
      row.hidden = wanted !== '' && !row.textContent.toLowerCase().includes(wanted);
    }
  });

  /* ---------- a small viewer of CA traces, for browsers or machines without the large one ---- */
  class TraceViewer {
    constructor(host) {
      this.canvas = document.createElement('canvas');
      this.canvas.className = 'trace';
      host.append(this.canvas);
      this.points = [];
      this.turn = [1, 0, 0, 0, 1, 0, 0, 0, 1];
      this.zoom = 1;
      this.spin = false;
      this.mode = 'structure';
      let last = null;
      this.canvas.addEventListener('pointerdown', (e) => {
        last = [e.clientX, e.clientY];
        this.canvas.setPointerCapture(e.pointerId);
      });
      this.canvas.addEventListener('pointermove', (e) => {
        if (!last) return;
        this.rotate((e.clientX - last[0]) * 0.01, (e.clientY - last[1]) * 0.01);
        last = [e.clientX, e.clientY];
      });
      this.canvas.addEventListener('pointerup', () => { last = null; });
      this.canvas.addEventListener('pointercancel', () => { last = null; });
      this.canvas.addEventListener('wheel', (e) => {
        e.preventDefault();
        this.zoom = Math.min(6, Math.max(0.3, this.zoom * Math.exp(-e.deltaY * 0.001)));
        this.draw();
      }, { passive: false });
      new ResizeObserver(() => this.draw()).observe(host);
    }

    rotate(x, y) {
      const [c, s, d, t] = [Math.cos(x), Math.sin(x), Math.cos(y), Math.sin(y)];
      const m = [c, 0, s, t * s, d, -t * c, -d * s, t, d * c];
      const r = this.turn;
      this.turn = [0, 1, 2].flatMap((i) => [0, 1, 2].map(
        (j) => m[3 * i] * r[j] + m[3 * i + 1] * r[3 + j] + m[3 * i + 2] * r[6 + j]));
      this.draw();
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

    animate(on) {
      this.spin = on;
      const step = () => { if (this.spin) { this.rotate(0.012, 0); requestAnimationFrame(step); } };
      if (on) requestAnimationFrame(step);
    }

    reset() { this.turn = [1, 0, 0, 0, 1, 0, 0, 0, 1]; this.zoom = 1; this.draw(); }

    draw() {
      const box = this.canvas.getBoundingClientRect();
      if (!box.width || !this.points.length) return;
      const ratio = window.devicePixelRatio || 1;
      this.canvas.width = box.width * ratio;
      this.canvas.height = box.height * ratio;
      const pen = this.canvas.getContext('2d');
      pen.scale(ratio, ratio);
      const size = (Math.min(box.width, box.height) / 2 / this.reach) * this.zoom;
      const r = this.turn;
      const seen = this.points.map((p) => [
        box.width / 2 + size * (r[0] * p[0] + r[1] * p[1] + r[2] * p[2]),
        box.height / 2 - size * (r[3] * p[0] + r[4] * p[1] + r[5] * p[2]),
        r[6] * p[0] + r[7] * p[1] + r[8] * p[2]]);
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
      pen.globalAlpha = 1;
    }
  }

  /* ---------- Mol* ---------- */
  class MolstarViewer {
    static async create(host) {
      const style = document.createElement('style');
      style.textContent = await unpack('molstar-style');
      document.head.append(style);
      const script = document.createElement('script');
      script.textContent = await unpack('molstar-script');
      document.head.append(script);
      script.remove();
      if (!window.molstarLibrary) throw new Error('the viewer script did not start');
      const div = document.createElement('div');
      host.append(div);
      try {
        const viewer = await window.molstarLibrary.Viewer.create(div, {
          extensions: [],  /* one of them asks a server for its contents at start */
          layoutIsExpanded: false, layoutShowControls: false, layoutShowRemoteState: false,
          layoutShowSequence: false, layoutShowLog: false, layoutShowLeftPanel: false,
          viewportShowExpand: true, viewportShowSelectionMode: false, viewportShowAnimation: false,
          collapseLeftPanel: true, collapseRightPanel: true, pdbProvider: 'rcsb',
        });
        if (!viewer.plugin.canvas3d) throw new Error('this browser has no WebGL');
        return new MolstarViewer(viewer);
      } catch (error) {
        div.remove();
        throw error;
      }
    }

    constructor(viewer) {
      this.viewer = viewer;
      this.mode = 'structure';
      const dark = window.matchMedia('(prefers-color-scheme: dark)');
      const paint = () => viewer.plugin.canvas3d.setProps({
        renderer: { backgroundColor: dark.matches ? 0x18212b : 0xffffff },
        camera: { helper: { axes: { name: 'off', params: {} } } } });
      dark.addEventListener('change', paint);
      paint();
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

    animate(on) {
      this.viewer.plugin.canvas3d.setProps({ trackball: { animate: on
        ? { name: 'spin', params: { speed: 0.12 } } : { name: 'off', params: {} } } });
    }

    reset() { this.viewer.plugin.canvas3d.requestCameraReset({ durationMs: 0 }); }
  }

  /* ---------- stage ---------- */
  const host = one('#viewer');
  const select = one('#select');
  const state = document.documentElement.dataset;
  let designs = new Map();
  let viewer = null;
  let busy = Promise.resolve();

  function say(message) {
    let box = host.querySelector('.wait');
    if (!box) { box = document.createElement('p'); box.className = 'wait'; host.append(box); }
    box.textContent = message;
    box.hidden = message === '';
    box.style.display = message === '' ? 'none' : '';
  }

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
