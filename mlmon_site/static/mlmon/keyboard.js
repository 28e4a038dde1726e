// Makes everything that unfold leaves to the mouse work with the keyboard.
//
// unfold opens menus by clickable text that cannot be focused. That text becomes a button: Tab reaches it, Enter and
// Space press it, the menu takes the focus, and Escape closes the menu and returns the focus. Buttons that show only an
// icon, which is a word in an icon font, get an accessible name.
"use strict";

(() => {
  const NATIVE = "a[href], button, input, select, textarea, label, summary";
  const FOCUSABLE =
    'a[href], button:enabled, input:enabled:not([type="hidden"]), select:enabled, textarea:enabled, summary, [tabindex="0"]';
  const CLICKABLE = "[x-on\\:click]";
  const ICON = ".material-symbols-outlined";
  const BESIDE_THE_FILTERS = "#changelist-filter-close"; // a click there closes the filters, and so does Escape
  const OPENS_MENU = "button[aria-controls][aria-haspopup]"; // the menu precedes it in the document, so Tab would skip it
  const OPENS_IN_MS = 60; // by then Alpine shows the opened menu
  const ICON_NAMES = { add: "Add", close: "Close", more_horiz: "More actions", visibility: "Show or hide" };

  let opened = []; // the opened menus and their openers, the innermost last

  const isShown = (element) => element.getClientRects().length > 0;
  const shownBoxes = () => [...document.querySelectorAll("[x-show]")].filter(isShown);

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

  let isDue = false;
  const prepareSoon = () => {
    if (!isDue) {
      isDue = true;
      requestAnimationFrame(() => {
        isDue = false;
        prepare();
      });
    }
  };

  // Forgets menus that were closed in another way; returns the opener of the outermost one.
  const forgetClosed = () => {
    const closed = opened.filter(({ box }) => !isShown(box));
    opened = opened.filter(({ box }) => isShown(box));
    closed.forEach(({ opener }) => opener.setAttribute("aria-expanded", "false"));
    return closed[0]?.opener;
  };

  const enter = (box, opener) => {
    opened.push({ box, opener });
    opener.setAttribute("aria-expanded", "true");
    [...box.querySelectorAll(FOCUSABLE)].find(isShown)?.focus();
  };

  const leave = () => {
    const { box, opener } = opened.pop();
    opener.setAttribute("aria-expanded", "false");
    if (!box.hasAttribute("x-on:keydown.escape")) {
      opener.click(); // the others close automatically
    }
    opener.focus();
  };

  const press = (opener) => {
    const before = new Set(shownBoxes());
    opener.click();
    setTimeout(() => {
      const box = shownBoxes().find((one) => !before.has(one));
      const left = forgetClosed();
      if (box) {
        enter(box, opener);
      } else if (!isShown(opener)) {
        left?.focus(); // the click closed the menu that contained it
      }
    }, OPENS_IN_MS);
  };

  document.addEventListener("keydown", (event) => {
    const { key, target, repeat, defaultPrevented } = event;
    if (defaultPrevented) {
      return;
    }
    forgetClosed();
    if (key === "Escape" && opened.length) {
      leave();
    } else if (["Enter", " "].includes(key) && target.matches?.(`${CLICKABLE}[role=button]`)) {
      event.preventDefault();
      if (!repeat) {
        press(target);
      }
    }
  });

  document.addEventListener("click", ({ target, detail }) => {
    const button = target.closest?.(OPENS_MENU);
    if (button && detail === 0) {
      setTimeout(() => {
        forgetClosed();
        const menu = document.getElementById(button.getAttribute("aria-controls"));
        if (isShown(menu) && !opened.some(({ opener }) => opener === button)) {
          enter(menu, button);
        }
      }, OPENS_IN_MS);
    }
  });

  window.addEventListener("load", () => {
    prepare();
    new MutationObserver(prepareSoon).observe(document.body, { childList: true, subtree: true });
    document.addEventListener("mlmon:refreshed", prepareSoon);
  });
})();
