// Arrow keys and Enter in the sidebar's search. unfold's own handlers expect another list of results.
"use strict";

document.addEventListener("alpine:init", () => {
  const unfolds = window.searchDropdown;
  const links = () => [...document.querySelectorAll("#search-results a")];

  window.searchDropdown = () => ({
    ...unfolds(),
    maxItem: () => links().length,
    selectItem() {
      links()[Math.max(0, this.currentIndex - 1)]?.click();
    },
  });
});
