// Refreshes the parts of a page whose content changes on the server.
//
// An element with an id and `data-live` (seconds between refreshes, by default 10) is replaced by the element with the
// same id on a new copy of the page. What a person has opened, scrolled to, focused or typed stays. A new copy without
// `data-live` ends the refreshes: the server has nothing more to show.
"use strict";

(() => {
  const DEFAULT_SECONDS = 10;
  const LONGEST_PAUSE_SECONDS = 60;
  const STALE_NOTE_ID = "live-stale";
  // State that people or scripts create: open details, and charts.
  const OWN_ATTRIBUTES = ["open"];
  const OWN_ELEMENTS = "[data-drawn]";

  const wait = (seconds) => new Promise((resolve) => setTimeout(resolve, seconds * 1000));
  const liveElements = () => [...document.querySelectorAll("[data-live][id]")];
  const pauseOf = (element) => Number(element.dataset.live) || DEFAULT_SECONDS;

  // With this option, idiomorph leaves the focused element and its text unchanged.
  const isTyping = () => document.activeElement?.matches("input, select, textarea") ?? false;

  const visible = () =>
    document.hidden
      ? new Promise((resolve) => document.addEventListener("visibilitychange", resolve, { once: true }))
      : Promise.resolve();

  const newCopy = async () => {
    const response = await fetch(location.href, { credentials: "same-origin", headers: { Accept: "text/html" } });
    if (response.redirected && new URL(response.url).pathname !== location.pathname) {
      location.reload(); // the session has ended: the server shows the login page
    }
    if (!response.ok) {
      throw new Error(`${response.url} answered ${response.status}`);
    }
    return new DOMParser().parseFromString(await response.text(), "text/html");
  };

  const callbacks = {
    beforeAttributeUpdated: (name) => !OWN_ATTRIBUTES.includes(name),
    beforeNodeRemoved: (node) => !(node instanceof Element && node.matches(OWN_ELEMENTS)),
  };

  const refresh = (copy) => {
    for (const element of liveElements()) {
      const fresh = copy.getElementById(element.id);
      if (fresh) {
        Idiomorph.morph(element, fresh, { ignoreActiveValue: isTyping(), callbacks });
      }
    }
    document.dispatchEvent(new Event("mlmon:refreshed"));
  };

  const showStale = (since) => {
    document.getElementById(STALE_NOTE_ID)?.remove();
    if (since) {
      const note = document.createElement("p");
      note.id = STALE_NOTE_ID;
      note.setAttribute("role", "status");
      note.textContent = `The server does not answer. This page is as of ${since.toLocaleTimeString()}.`;
      document.body.append(note);
    }
  };

  const keepFresh = async () => {
    let reached = new Date();
    let failures = 0;
    while (liveElements().length) {
      const pause = Math.min(...liveElements().map(pauseOf));
      await wait(Math.min(pause * 2 ** failures, Math.max(pause, LONGEST_PAUSE_SECONDS)));
      await visible();
      try {
        refresh(await newCopy());
        [reached, failures] = [new Date(), 0];
        showStale(null);
      } catch (error) {
        failures += 1;
        showStale(reached);
      }
    }
  };

  document.addEventListener("DOMContentLoaded", keepFresh);
})();
