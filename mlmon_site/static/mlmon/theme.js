// Sets the page's language, and the theme that was chosen on the other pages.
"use strict";

document.documentElement.lang = "en";

(() => {
  const systems = matchMedia("(prefers-color-scheme: dark)");
  const chosen = JSON.parse(localStorage.getItem("adminTheme") ?? '"auto"');
  const follow = () =>
    document.documentElement.classList.toggle("dark-mode", chosen === "dark" || (chosen === "auto" && systems.matches));
  systems.addEventListener("change", follow);
  follow();
})();
