// Lets the keyboard do what unfold leaves to the mouse.
//
// unfold opens menus by text that can be clicked and takes no focus. Such text becomes a button here: Tab reaches it,
// Enter and Space press it, what it opens takes the focus, and Escape closes that and brings the focus back. What is
// only an icon, which is the icon's name in a font of its own, gets a name to be read out.
"use strict";

(() => {
  const NATIVE = "a[href], button, input, select, textarea, label, summary";
  const CLICKABLE = "[x-on\\:click]";
  const ICON = ".material-symbols-outlined";
  const BESIDE_THE_FILTERS = "#changelist-filter-close"; // a click there closes them; so does Escape
  const OPENS_IN_MS = 60; // Alpine shows what was clicked open by then
  const ICON_NAMES = { add: "Add", close: "Close the menu", more_horiz: "More actions", visibility: "Show or hide" };

  let opened = null; // what a press has opened, and what was pressed

  const isShown = (element) => element.getClientRects().length > 0;
  const shownBoxes = () => [...document.querySelectorAll("[x-show]")].filter(isShown);
  const firstStop = (box) => [...box.querySelectorAll(`${NATIVE}, [tabindex="0"]`)].find(isShown);

  const wordsOf = (element) => {
    const copy = element.cloneNode(true);
    copy.querySelectorAll(ICON).forEach((icon) => icon.remove());
    return element.matches(ICON) ? "" : copy.textContent.trim();
  };

  const giveName = (element) => {
    const icons = element.matches(ICON) ? [element] : [...element.querySelectorAll(ICON)];
    if (!icons.length) {
      return;
    }
    if (!wordsOf(element) && !element.hasAttribute("aria-label")) {
      const icon = icons[0].textContent.trim();
      element.setAttribute("aria-label", element.title || ICON_NAMES[icon] || icon.replaceAll("_", " "));
    }
    icons.filter((icon) => icon !== element).forEach((icon) => icon.setAttribute("aria-hidden", "true"));
  };

  const makeButton = (element) => {
    if (element.matches(`${NATIVE}, ${BESIDE_THE_FILTERS}`) || element.querySelector(NATIVE)) {
      return;
    }
    element.tabIndex = 0;
    element.setAttribute("role", "button");
  };

  const prepare = () => {
    document.querySelectorAll(`${CLICKABLE}:not([tabindex])`).forEach(makeButton);
    document.querySelectorAll("a[href], button, [role=button]").forEach(giveName);
  };

  const enter = (box, opener) => {
    opened = { box, opener };
    opener.setAttribute("aria-expanded", "true");
    firstStop(box)?.focus();
  };

  const leave = () => {
    const { box, opener } = opened;
    opened = null;
    opener.setAttribute("aria-expanded", "false");
    if (isShown(box)) {
      opener.click();
    }
    opener.focus();
  };

  const press = (opener) => {
    const before = new Set(shownBoxes());
    opener.click();
    setTimeout(() => {
      const box = shownBoxes().find((one) => !before.has(one));
      if (box) {
        enter(box, opener);
      }
    }, OPENS_IN_MS);
  };

  document.addEventListener("keydown", (event) => {
    const target = event.target;
    if (event.key === "Escape" && opened) {
      leave();
    } else if (["Enter", " "].includes(event.key) && target.matches?.(`${CLICKABLE}[role=button]`)) {
      event.preventDefault();
      press(target);
    }
  });

  // The menu of a narrow page lies before its button: who opens it by the keyboard goes on in it.
  document.addEventListener("click", ({ target, detail }) => {
    const button = target.closest?.("button[aria-controls]");
    if (button && detail === 0 && !opened) {
      setTimeout(() => {
        if (button.getAttribute("aria-expanded") === "true") {
          enter(document.getElementById(button.getAttribute("aria-controls")), button);
        }
      }, OPENS_IN_MS);
    }
  });

  window.addEventListener("load", () => {
    prepare();
    new MutationObserver(prepare).observe(document.body, { childList: true, subtree: true });
  });
})();
