// The theme leaves the search and the landmark beside each block of code without a name, and tables
// and code that are scrolled within themselves out of the keyboard's reach. It makes some of these
// when a block comes into view.
function mend() {
  document.querySelectorAll("pre > code, .md-typeset__scrollwrap").forEach(block => {
    block.tabIndex = 0;
  });
  document.querySelectorAll(".md-code__nav").forEach((nav, place) => {
    nav.setAttribute("aria-label", `Code ${place + 1}`);
  });
  document.querySelector(".md-search")?.setAttribute("aria-label", "Search");
}
new MutationObserver(mend).observe(document.body, {childList: true, subtree: true});
mend();
