// The page's own HTML names no language.
"use strict";

document.documentElement.lang = "en";
