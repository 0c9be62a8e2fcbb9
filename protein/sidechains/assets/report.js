(() => {
  'use strict';
  for (const name of ['structures', 'residues']) {
    const table = document.getElementById(name);
    if (!table) continue;
    page.sortable(table);
    page.filterable(document.getElementById(`${name}-filter`), table);
  }
})();
