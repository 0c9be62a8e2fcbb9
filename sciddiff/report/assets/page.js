/* What the pages share: unpacking of data, tables that sort and filter. */
const page = (() => {
  'use strict';
  const one = (selector) => document.querySelector(selector);
  const text = (id) => document.getElementById(id)?.textContent.trim() ?? '';

  async function unpack(id) {
    const bytes = Uint8Array.from(atob(text(id)), (c) => c.charCodeAt(0));
    const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream('gzip'));
    return new Response(stream).text();
  }

  const value = (row, column) => {
    const cell = row.cells[column];
    const raw = cell.dataset.value ?? cell.textContent;
    if (raw === '') return null;
    const number = Number(raw);
    return Number.isNaN(number) ? raw.toLowerCase() : number;
  };
  const compare = (a, b) => (typeof a === typeof b
    ? (a < b ? -1 : a > b ? 1 : 0) : (typeof a === 'number' ? -1 : 1));

  /* Headings with a button sort their column; `data-value` of a cell goes before its text. */
  function sortable(table) {
    const body = table.tBodies[0];
    const headings = [...table.tHead.rows[0].cells];
    const sortBy = (column) => {
      const heading = headings[column];
      const rising = heading.getAttribute('aria-sort') !== 'ascending';
      for (const cell of headings) cell.removeAttribute('aria-sort');
      heading.setAttribute('aria-sort', rising ? 'ascending' : 'descending');
      const rows = [...body.rows].map((row, i) => [value(row, column), i, row]);
      rows.sort((p, q) => {
        if (p[0] === null || q[0] === null) {  /* absent values stay last either way */
          return p[0] === q[0] ? p[1] - q[1] : (p[0] === null ? 1 : -1);
        }
        return (rising ? 1 : -1) * compare(p[0], q[0]) || p[1] - q[1];
      });
      body.append(...rows.map((r) => r[2]));
    };
    headings.forEach((cell, i) => {
      cell.querySelector('button')?.addEventListener('click', () => sortBy(i));
    });
  }

  /* Rows without the text of the input, or not allowed, are hidden; `data-find` of a row goes
     before its text. Returns what looks again. */
  function filterable(input, table, allowed, told) {
    const body = table.tBodies[0];
    const words = new Map();
    const found = (row) => {
      if (!words.has(row)) words.set(row, (row.dataset.find ?? row.textContent).toLowerCase());
      return words.get(row);
    };
    const refresh = () => {
      const wanted = input.value.trim().toLowerCase();
      let shown = 0;
      for (const row of body.rows) {
        row.hidden = (wanted !== '' && !found(row).includes(wanted)) || !(allowed?.(row) ?? true);
        shown += row.hidden ? 0 : 1;
      }
      told?.(shown, body.rows.length);
    };
    input.addEventListener('input', refresh);
    return refresh;
  }

  return { one, text, unpack, sortable, filterable };
})();
