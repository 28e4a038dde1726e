// Gives the fields that select2 draws the accessible names of their selects.
"use strict";

(() => {
  const nameOf = (select) => document.querySelector(`label[for="${CSS.escape(select.id)}"]`)?.textContent.trim();

  const nameFields = () => {
    for (const select of document.querySelectorAll("select.select2-hidden-accessible[id]")) {
      const name = nameOf(select);
      const drawn = select.nextElementSibling;
      if (name && drawn?.matches(".select2")) {
        for (const field of drawn.querySelectorAll("[role=combobox], [role=textbox], [role=searchbox]")) {
          field.setAttribute("aria-label", name);
          field.removeAttribute("aria-labelledby");
        }
      }
    }
    for (const field of document.querySelectorAll(".select2-dropdown .select2-search__field:not([aria-label])")) {
      field.setAttribute("aria-label", "Search");
    }
  };

  window.addEventListener("load", () => {
    nameFields();
    new MutationObserver(nameFields).observe(document.body, { childList: true, subtree: true });
  });
})();
