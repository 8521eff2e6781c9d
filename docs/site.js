// The theme leaves the search and the landmark beside each block of code without a name, and tables
// and code that are scrolled within themselves out of the keyboard's reach. It makes some of these
// when a block comes into view.
const LISTED = 8; // columns of a row that is still read well as a list
function fit(table) {
  const head = [...table.querySelectorAll("th")].map(cell => cell.textContent);
  table.querySelectorAll("tbody tr").forEach(row => {
    [...row.cells].forEach((cell, place) => { cell.dataset.column = head[place]; });
  });
  const frame = table.closest(".md-typeset__scrollwrap");
  const wide = frame.scrollWidth > frame.clientWidth;
  frame.classList.toggle("wide", wide);
  frame.classList.toggle("listed", wide && head.length <= LISTED);
}
function mend() {
  document.querySelectorAll(".md-typeset__table > table:not([data-fit])").forEach(table => {
    table.dataset.fit = "";
    fit(table);
  });
  document.querySelectorAll("pre > code, .md-typeset__scrollwrap").forEach(block => {
    block.tabIndex = 0;
  });
  document.querySelectorAll(".md-code__nav").forEach((nav, place) => {
    nav.setAttribute("aria-label", `Code ${place + 1}`);
  });
  document.querySelector(".md-search")?.setAttribute("aria-label", "Search");
}
new MutationObserver(mend).observe(document.body, {childList: true, subtree: true});
// What is folded away has no width before it is shown.
document.addEventListener("toggle", event => {
  event.target.querySelectorAll("table[data-fit]").forEach(fit);
}, true);
mend();
