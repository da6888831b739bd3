// Light or dark: as the system has it, unless this browser was told otherwise. Before the first paint.
"use strict";
const remembered = localStorage.getItem("theme");
if (remembered) document.documentElement.dataset.theme = remembered;
addEventListener("DOMContentLoaded", () => {
  document.getElementById("theme").addEventListener("click", () => {
    const root = document.documentElement;
    const dark = root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
    root.dataset.theme = dark ? "light" : "dark";
    localStorage.setItem("theme", root.dataset.theme);
  });
});
