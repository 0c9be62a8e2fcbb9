(() => {
  'use strict';
  const table = document.getElementById('designs');
  page.sortable(table);
  page.filterable(document.getElementById('filter'), table);
})();
