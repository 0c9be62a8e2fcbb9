/* The stage of a page: Mol* out of the page's own data, or a flat canvas that turns. */
const stage = (() => {
  'use strict';

  /* Start Mol* in a new element; throws where the browser cannot run it. */
  async function molstar(host, extensions) {
    const style = document.createElement('style');
    style.textContent = await page.unpack('molstar-style');
    document.head.append(style);
    const script = document.createElement('script');
    script.textContent = await page.unpack('molstar-script');
    document.head.append(script);
    script.remove();
    if (!window.molstarLibrary) throw new Error('the viewer script did not start');
    const div = document.createElement('div');
    host.append(div);
    try {
      const viewer = await window.molstarLibrary.Viewer.create(div, {
        extensions,  /* named one by one: some ask a server for their contents at start */
        layoutIsExpanded: false, layoutShowControls: false, layoutShowRemoteState: false,
        layoutShowSequence: false, layoutShowLog: false, layoutShowLeftPanel: false,
        viewportShowExpand: true, viewportShowSelectionMode: false, viewportShowAnimation: false,
        collapseLeftPanel: true, collapseRightPanel: true, pdbProvider: 'rcsb',
      });
      if (!viewer.plugin.canvas3d) throw new Error('this browser has no WebGL');
      const dark = window.matchMedia('(prefers-color-scheme: dark)');
      viewer.paint = () => viewer.plugin.canvas3d.setProps({
        renderer: { backgroundColor: dark.matches ? 0x18212b : 0xffffff },
        camera: { helper: { axes: { name: 'off', params: {} } } } });
      dark.addEventListener('change', viewer.paint);
      viewer.paint();
      return viewer;
    } catch (error) {
      div.remove();
      throw error;
    }
  }

  const spinning = (viewer, on) => viewer.plugin.canvas3d.setProps({ trackball: { animate: on
    ? { name: 'spin', params: { speed: 0.12 } } : { name: 'off', params: {} } } });

  /* A canvas turned and zoomed by the pointer; `paint(pen, place, size, box)` draws on it. */
  class Orbit {
    constructor(host, name) {
      this.canvas = document.createElement('canvas');
      this.canvas.className = name;
      host.append(this.canvas);
      this.reach = 0;
      this.turn = [1, 0, 0, 0, 1, 0, 0, 0, 1];
      this.zoom = 1;
      this.spin = false;
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

    animate(on) {
      this.spin = on;
      const step = () => { if (this.spin) { this.rotate(0.012, 0); requestAnimationFrame(step); } };
      if (on) requestAnimationFrame(step);
    }

    reset() { this.turn = [1, 0, 0, 0, 1, 0, 0, 0, 1]; this.zoom = 1; this.draw(); }

    draw() {
      const box = this.canvas.getBoundingClientRect();
      if (!box.width || !this.reach) return;
      const ratio = window.devicePixelRatio || 1;
      this.canvas.width = box.width * ratio;
      this.canvas.height = box.height * ratio;
      const pen = this.canvas.getContext('2d');
      pen.scale(ratio, ratio);
      const size = (Math.min(box.width, box.height) / 2 / this.reach) * this.zoom;
      const r = this.turn;
      const place = (p) => [
        box.width / 2 + size * (r[0] * p[0] + r[1] * p[1] + r[2] * p[2]),
        box.height / 2 - size * (r[3] * p[0] + r[4] * p[1] + r[5] * p[2]),
        r[6] * p[0] + r[7] * p[1] + r[8] * p[2]];
      this.paint(pen, place, size, box);
      pen.globalAlpha = 1;
    }
  }

  /* A message over the stage; empty takes it away. */
  function say(host, message) {
    let box = host.querySelector('.wait');
    if (!box) { box = document.createElement('p'); box.className = 'wait'; host.append(box); }
    box.textContent = message;
    box.hidden = message === '';
    box.style.display = message === '' ? 'none' : '';
  }

  return { molstar, spinning, Orbit, say };
})();
