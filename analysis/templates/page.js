"use strict";
const root = document.documentElement;
root.classList.add("live");

const remember = (theme) => { try { localStorage.setItem("ablate-theme", theme); } catch { /* a file may have no storage */ } };
const remembered = () => { try { return localStorage.getItem("ablate-theme"); } catch { return null; } };
if (remembered()) root.dataset.theme = remembered();

const isDark = () => (root.dataset.theme ?? (matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light")) === "dark";

function switchTheme(button) {
  const label = () => { button.textContent = isDark() ? "Light" : "Dark"; };
  button.addEventListener("click", () => {
    root.dataset.theme = isDark() ? "light" : "dark";
    remember(root.dataset.theme);
    label();
  });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", label);
  label();
}

/* Numbers by size, text by the alphabet, what is missing at the end either way; equals keep their order. */
function sortBy(header) {
  const table = header.closest("table");
  const place = [...header.parentElement.children].indexOf(header);
  const numeric = header.classList.contains("number");
  const sign = header.getAttribute("aria-sort") === "ascending" ? -1 : 1;
  const key = (row) => row.children[place].dataset.sort;
  const compare = (a, b) => (numeric ? (Number(a) > Number(b)) - (Number(a) < Number(b)) : a.localeCompare(b, undefined, { numeric: true }));
  const rows = [...table.tBodies[0].rows];
  rows.sort((a, b) => (key(a) === "") - (key(b) === "") || (key(a) === "" ? 0 : sign * compare(key(a), key(b))));
  table.tBodies[0].append(...rows);
  for (const other of header.parentElement.children) other.removeAttribute("aria-sort");
  header.setAttribute("aria-sort", sign === 1 ? "ascending" : "descending");
}

async function copy(button) {
  const code = button.parentElement.querySelector("code");
  try {
    await navigator.clipboard.writeText(code.textContent);
    button.textContent = "Copied";
  } catch {
    getSelection().selectAllChildren(code);
    button.textContent = "Selected";
  }
  setTimeout(() => { button.textContent = "Copy"; }, 2000);
}

document.addEventListener("DOMContentLoaded", () => {
  switchTheme(document.getElementById("theme"));
  for (const button of document.querySelectorAll("thead button")) button.addEventListener("click", () => sortBy(button.parentElement));
  for (const button of document.querySelectorAll(".copy")) button.addEventListener("click", () => copy(button));
  if (innerWidth < 640) document.querySelector("nav details").open = false;
});

let folded = [];
addEventListener("beforeprint", () => {
  folded = [...document.querySelectorAll("main details:not([open])")];
  for (const details of folded) details.open = true;
});
addEventListener("afterprint", () => { for (const details of folded) details.open = false; });
