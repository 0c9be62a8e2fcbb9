/* Two ways to draw a pose in its pocket: Mol* through MolViewSpec, and sticks on a flat canvas. */
const views = (() => {
  'use strict';
  const KINDS = ['--hbond', '--salt', '--metal', '--greasy'];
  const ELEMENTS = { N: '#3355e0', O: '#e0302a', S: '#c9a400', P: '#e07a1f', F: '#3fa34d',
    Cl: '#2b9a3e', Br: '#a0522d', I: '#7a3fa0', CL: '#2b9a3e', BR: '#a0522d', B: '#d98c8c' };
  const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  const point = (flat, i) => [flat[3 * i], flat[3 * i + 1], flat[3 * i + 2]];
  const gap = (a, b) => Math.hypot(a[0] - b[0], a[1] - b[1], a[2] - b[2]);
  const mean = (points) => [0, 1, 2].map((k) => points.reduce((s, p) => s + p[k], 0) / points.length);
  const points = (flat) => Array.from({ length: flat.length / 3 }, (_, i) => point(flat, i));
  const title = (residue) => `${residue[3][0]}${residue[3].slice(1).toLowerCase()} `
    + `${residue[1]}${residue[2]}`;

  /* Residues of the pocket with an atom within `reach` of the pose, and those it touches. */
  function around(pocket, pose, contacts, reach) {
    const near = new Set();
    if (!pocket) return { near, touched: new Set() };
    const low = [0, 1, 2].map((k) => Math.min(...pose.map((p) => p[k])) - reach);
    const high = [0, 1, 2].map((k) => Math.max(...pose.map((p) => p[k])) + reach);
    for (let i = 0; i < pocket.residue.length; i += 1) {
      const at = point(pocket.xyz, i);
      if (near.has(pocket.residue[i]) || at.some((x, k) => x < low[k] || x > high[k])) continue;
      if (pose.some((p) => gap(p, at) < reach)) near.add(pocket.residue[i]);
    }
    const touched = new Set(contacts.map((c) => pocket.residue[c[2]]));
    for (const residue of touched) near.add(residue);
    return { near, touched };
  }

  /* Where the label of a residue goes: its atom farthest from the pose's, of those in contact. */
  function labels(pocket, contacts) {
    const spots = new Map();
    for (const [, , atom] of contacts) {
      const residue = pocket.residue[atom];
      if (!spots.has(residue)) {
        const own = pocket.residue.flatMap((r, i) => (r === residue ? [i] : []));
        const ca = own.find((i) => pocket.name[i] === 'CB') ?? own.find((i) => pocket.name[i] === 'CA');
        spots.set(residue, point(pocket.xyz, ca ?? own[0]));
      }
    }
    return [...spots].map(([r, at]) => ({ at, text: title(pocket.residues[r]) }));
  }

  /* ---------- Mol* ---------- */
  const quoted = (word) => (/["'\s#_]/.test(word) || word === '' ? `"${word.replaceAll('"', "'")}"` : word);

  function cif(pocket, ligand, pose) {
    const atoms = [];
    const numbers = [];
    let chain = null;
    let count = 0;
    (pocket?.residues ?? []).forEach((r, i) => {  /* numbers along a chain, from 1 */
      if (r[0] !== chain) { chain = r[0]; count = 0; }
      count += 1;
      numbers[i] = count;
    });
    (pocket?.residue ?? []).forEach((r, i) => {
      const [name, number, code, comp, polymer] = pocket.residues[r];
      const e = pocket.element[i];
      atoms.push([polymer ? 'ATOM' : 'HETATM', i + 1, e, quoted(pocket.name[i]), quoted(comp),
        polymer ? quoted(name || '_') : `H${r}`, polymer ? 1 : 2, polymer ? numbers[r] : '.',
        ...point(pocket.xyz, i), number, quoted(name || '_'), code || '?', 1].join(' '));
    });
    const names = ligand.element.map((e, i) => `${e}${i + 1}`);
    ligand.element.forEach((e, i) => atoms.push(['HETATM', atoms.length + 1, e.toUpperCase(), names[i],
      'LIG', 'LIG', 3, '.', ...pose[i], 1, 'LIG', '?', 1].join(' ')));
    const orders = { 1: 'sing', 2: 'doub', 3: 'trip' };
    const bonds = ligand.bonds.map(([a, b, order, aromatic]) => `LIG ${names[a]} ${names[b]} `
      + `${aromatic ? 'sing Y' : `${orders[order] ?? 'sing'} N`}`);
    const columns = ['group_PDB', 'id', 'type_symbol', 'label_atom_id', 'label_comp_id',
      'label_asym_id', 'label_entity_id', 'label_seq_id', 'Cartn_x', 'Cartn_y', 'Cartn_z',
      'auth_seq_id', 'auth_asym_id', 'pdbx_PDB_ins_code', 'pdbx_PDB_model_num'];
    return ['data_pose', 'loop_', '_entity.id', '_entity.type', '1 polymer', '2 non-polymer',
      '3 non-polymer', 'loop_', ...columns.map((c) => `_atom_site.${c}`), ...atoms,
      ...(bonds.length ? ['loop_', ...['comp_id', 'atom_id_1', 'atom_id_2', 'value_order',
        'pdbx_aromatic_flag'].map((c) => `_chem_comp_bond.${c}`), ...bonds] : []), ''].join('\n');
  }

  const node = (kind, params, children) => ({ kind, params, ...(children?.length ? { children } : {}) });
  const painted = (carbon) => [node('color', { color: carbon }),
    ...Object.entries({ N: 1, O: 1, S: 1, P: 1, F: 1, CL: 1, BR: 1, I: 1 }).map(([e]) => node('color',
      { color: ELEMENTS[e], selector: { type_symbol: e } }))];
  const sticks = (carbon, size) => node('representation',
    { type: 'ball_and_stick', size_factor: size }, painted(carbon));

  class Molstar {
    static async create(host) { return new Molstar(await stage.molstar(host, ['mvs'])); }

    constructor(viewer) {
      this.viewer = viewer;
      this.centre = null;
    }

    async show(pocket, ligand, k, look) {
      const pose = points(ligand.poses[k]);
      const contacts = ligand.contacts[k] ?? [];
      const { near } = around(pocket, pose, contacts, 4.5);
      const url = URL.createObjectURL(new Blob([cif(pocket, ligand, pose)], { type: 'text/plain' }));
      const middle = mean(pose);
      const moved = !this.centre || gap(this.centre, middle) > 8;
      const parts = [];
      if (pocket) parts.push(...this.protein(pocket, near, { ...look, pose }));
      parts.push(node('component', { selector: { label_asym_id: 'LIG' } }, [
        sticks(colour('--ligand'), 0.62),
        ...(moved ? [node('focus', { ...this.aim(pocket, middle), radius: 9.5 })] : []),
      ]));
      parts.push(node('primitives', { opacity: 1 }, this.lines(pocket, pose, contacts, look)));
      const root = node('root', {}, [
        node('download', { url }, [node('parse', { format: 'mmcif' }, [
          node('structure', { type: 'model' }, parts)])]),
        node('canvas', { background_color: colour('--card') }),
      ]);
      const scene = { root, metadata: { version: '1.4', timestamp: '2000-01-01T00:00:00Z' } };
      try {
        await this.viewer.loadMvsData(JSON.stringify(scene), 'mvsj',
          { replaceExisting: true, keepCamera: !moved, sanityChecks: false });
      } finally { URL.revokeObjectURL(url); }
      if (moved) this.centre = middle;
      this.viewer.paint();
      this.viewer.handleResize();
    }

    protein(pocket, near, look) {
      const side = (r) => (pocket.residues[r][4]
        ? { label_asym_id: pocket.residues[r][0] || '_', auth_seq_id: Number(pocket.residues[r][1]),
          ...(pocket.residues[r][2] ? { pdbx_PDB_ins_code: pocket.residues[r][2] } : {}) }
        : { label_asym_id: `H${r}` });
      const made = [node('component', { selector: 'polymer' }, [
        node('representation', { type: 'cartoon', size_factor: 0.7 },
          [node('color', { color: look.dark ? '#4a5a69' : '#e6ebef' }),
            node('opacity', { opacity: 0.75 })]),
      ])];
      if (look.surface) {
        made.push(node('component', { selector: [...around(pocket, look.pose, [], 7).near].map(side) }, [
          node('representation', { type: 'surface' }, [
            node('color', { color: look.dark ? '#8193a3' : '#c3ced8' }), node('opacity', { opacity: 0.42 }),
          ])]));
      }
      if (near.size) {
        made.push(node('component', { selector: [...near].map(side) },
          [sticks(look.dark ? '#9aa7b3' : colour('--pocket'), 0.3)]));
      }
      return made;
    }

    lines(pocket, pose, contacts, look) {
      const made = contacts.filter((c) => c[2] >= 0 && (look.greasy || c[0] !== 3)).map((c) => node(
        'primitive', { kind: 'tube', start: pose[c[1]], end: point(pocket.xyz, c[2]),
          radius: c[0] === 3 ? 0.035 : 0.075, dash_length: c[0] === 3 ? 0.1 : 0.18,
          color: colour(KINDS[c[0]]), tooltip: `${c[3].toFixed(2)} Å` }));
      if (pocket && look.labels) {
        const told = contacts.filter((c) => c[2] >= 0 && (look.greasy || c[0] !== 3));
        made.push(...labels(pocket, told).map(({ at, text }) => node('primitive', { kind: 'label',
          position: at, text, label_size: 0.95, label_color: colour('--ink'), label_offset: 4 })));
      }
      return made;
    }

    /* Look into the pocket from where there is least protein. */
    aim(pocket, middle) {
      if (!pocket) return {};
      const close = points(pocket.xyz).filter((p) => gap(p, middle) < 16);
      if (!close.length) return {};
      const inner = mean(close);
      const direction = inner.map((x, i) => x - middle[i]);
      const size = Math.hypot(...direction);
      if (size < 0.1) return {};
      const unit = direction.map((x) => x / size);
      const up = Math.abs(unit[1]) < 0.9 ? [0, 1, 0] : [1, 0, 0];
      return { direction: unit, up };
    }

    animate(on) { stage.spinning(this.viewer, on); }

    reset() { this.centre = null; }
  }

  /* ---------- flat canvas ---------- */
  function bonds(pocket) {
    const found = [];
    const radius = (e) => ({ H: 0.37, C: 0.77, N: 0.75, O: 0.73, P: 1.06, S: 1.02 }[e] ?? 0.8);
    const cells = new Map();
    const cell = (p, d = [0, 0, 0]) => p.map((x, k) => Math.floor(x / 2.2) + d[k]).join();
    points(pocket.xyz).forEach((p, i) => {
      for (let d = 0; d < 27; d += 1) {
        const key = cell(p, [d % 3 - 1, Math.floor(d / 3) % 3 - 1, Math.floor(d / 9) - 1]);
        for (const j of cells.get(key) ?? []) {
          const reach = 1.15 * (radius(pocket.element[i]) + radius(pocket.element[j]));
          if (gap(p, point(pocket.xyz, j)) < reach) found.push([i, j]);
        }
      }
      const own = cell(p);
      cells.set(own, [...(cells.get(own) ?? []), i]);
    });
    return found;
  }

  class Flat extends stage.Orbit {
    constructor(host) {
      super(host, 'flat');
      this.links = [];
    }

    async show(pocket, ligand, k, look) {
      if (this.pocket !== pocket) { this.pocket = pocket; this.links = pocket ? bonds(pocket) : []; }
      const pose = points(ligand.poses[k]);
      const contacts = (ligand.contacts[k] ?? []).filter((c) => c[2] >= 0 && (look.greasy || c[0] !== 3));
      const { near } = around(pocket, pose, contacts, 4.5);
      const middle = mean(pose);
      const at = (p) => p.map((x, i) => x - middle[i]);
      const receptor = (i) => at(point(pocket.xyz, i));
      this.parts = ligand.bonds.map(([a, b]) => ({ a: at(pose[a]), b: at(pose[b]), width: 0.42,
        colours: [a, b].map((i) => ELEMENTS[ligand.element[i]] ?? '--ligand') }));
      for (const [i, j] of this.links) {
        if (near.has(pocket.residue[i]) && near.has(pocket.residue[j])) {
          this.parts.push({ a: receptor(i), b: receptor(j), width: 0.2,
            colours: [i, j].map((n) => ELEMENTS[pocket.element[n]] ?? '--pocket') });
        }
      }
      for (const c of contacts) {
        this.parts.push({ a: at(pose[c[1]]), b: receptor(c[2]), dash: true,
          width: c[0] === 3 ? 0.07 : 0.14, colours: [KINDS[c[0]], KINDS[c[0]]] });
      }
      this.words = pocket && look.labels
        ? labels(pocket, contacts).map(({ at: p, text }) => ({ at: at(p), text })) : [];
      this.reach = Math.max(...pose.map((p) => gap(p, middle))) + 5;
      this.draw();
    }

    paint(pen, place, size) {
      const style = getComputedStyle(document.documentElement);
      const ink = (name) => (name[0] === '-' ? style.getPropertyValue(name) : name);
      const seen = this.parts.map((part) => ({ part, p: place(part.a), q: place(part.b) }));
      seen.sort((s, t) => s.p[2] + s.q[2] - t.p[2] - t.q[2]);
      pen.lineCap = 'round';
      for (const { part, p, q } of seen) {
        const near = Math.min(1, Math.max(0, ((p[2] + q[2]) / this.reach + 2) / 4));
        pen.globalAlpha = 0.3 + 0.7 * near;
        pen.lineWidth = size * part.width * (0.8 + 0.4 * near);
        pen.setLineDash(part.dash ? [size * 0.3, size * 0.3] : []);
        const half = [0, 1].map((k) => (p[k] + q[k]) / 2);
        for (const [start, end, name] of [[p, half, part.colours[0]], [half, q, part.colours[1]]]) {
          pen.strokeStyle = ink(name);
          pen.beginPath(); pen.moveTo(start[0], start[1]); pen.lineTo(end[0], end[1]); pen.stroke();
        }
      }
      pen.setLineDash([]);
      pen.globalAlpha = 1;
      pen.font = '12px system-ui, sans-serif';
      pen.textAlign = 'center';
      for (const { at, text } of this.words) {
        const [x, y] = place(at);
        pen.lineWidth = 3; pen.strokeStyle = style.getPropertyValue('--card');
        pen.strokeText(text, x, y);
        pen.fillStyle = style.getPropertyValue('--ink');
        pen.fillText(text, x, y);
      }
    }
  }

  return { Molstar, Flat, KINDS, title };
})();
