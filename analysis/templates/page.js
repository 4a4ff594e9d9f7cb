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

/* Text by the alphabet, and numbers in it by their size: lr=0.009 before lr=0.01. */
const NUMBER = /(\d+(?:\.\d+)?(?:e[+-]?\d+)?)/;
function byName(a, b) {
  const [one, other] = [a.split(NUMBER), b.split(NUMBER)];
  for (let place = 0; place < Math.min(one.length, other.length); place++) {
    const found = place % 2 ? Number(one[place]) - Number(other[place]) : one[place].localeCompare(other[place]);
    if (found) return found;
  }
  return one.length - other.length;
}

/* Numbers by size, text by `byName`, what is missing at the end either way; equals keep their order. */
function sortBy(header) {
  const sign = header.getAttribute("aria-sort") === "ascending" ? -1 : 1;
  for (const other of header.parentElement.children) other.removeAttribute("aria-sort");
  header.setAttribute("aria-sort", sign === 1 ? "ascending" : "descending");
  arrange(header.closest("table"));
}

/* As its heading says, each group of rows by itself. */
function arrange(table) {
  const header = table.querySelector("[aria-sort]");
  if (!header) return;
  const place = [...header.parentElement.children].indexOf(header);
  const numeric = header.classList.contains("number");
  const sign = header.getAttribute("aria-sort") === "ascending" ? 1 : -1;
  const key = (row) => row.children[place].dataset.sort;
  const compare = (a, b) => (numeric ? (Number(a) > Number(b)) - (Number(a) < Number(b)) : byName(a, b));
  for (const body of table.tBodies) {
    const rows = [...body.rows].filter((row) => !row.classList.contains("group"));
    rows.sort((a, b) => (key(a) === "") - (key(b) === "") || (key(a) === "" ? 0 : sign * compare(key(a), key(b))));
    body.append(...rows);
  }
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

/* A button a variant: a click hides it in every chart or shows it again, a double click shows it alone; what the pointer
   is on, or the button that has the focus, is set off in all charts at once. */
const hidden = new Set();
function variantButtons(main) {
  const drawn = [...document.querySelectorAll("svg [data-variant]")].filter((element) => !element.closest("#claims ~ *")); // those name places
  const charts = (name) => new Set(drawn.filter((element) => element.dataset.variant === name).map((element) => element.closest("svg"))).size;
  const names = [...new Set(drawn.map((element) => element.dataset.variant))].filter((name) => charts(name) > 1);
  if (names.length < 2 || names.length > 12) return; // more cannot be told apart, and would fill the screen
  const bar = document.createElement("div");
  bar.className = "variants";
  bar.setAttribute("role", "group");
  bar.setAttribute("aria-label", "Variants shown in the charts");
  const draw = () => {
    for (const element of drawn) element.classList.toggle("hidden", hidden.has(element.dataset.variant));
    for (const button of bar.children) button.setAttribute("aria-pressed", String(!hidden.has(button.textContent)));
  };
  const setOff = (name) => {
    for (const svg of document.querySelectorAll("svg")) svg.classList.toggle("set-off", name !== null && svg.querySelector(`[data-variant="${CSS.escape(name)}"]`) !== null);
    for (const element of drawn) element.classList.toggle("shown", element.dataset.variant === name);
  };
  for (const name of names) {
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = name;
    button.title = "Click hides it or shows it again; a double click shows it alone";
    button.addEventListener("click", () => { hidden.has(name) ? hidden.delete(name) : hidden.add(name); draw(); });
    button.addEventListener("dblclick", () => {
      const alone = names.every((other) => hidden.has(other) === (other !== name));
      hidden.clear();
      if (!alone) for (const other of names) if (other !== name) hidden.add(other);
      draw();
    });
    for (const event of ["pointerenter", "focus"]) button.addEventListener(event, () => setOff(name));
    for (const event of ["pointerleave", "blur"]) button.addEventListener(event, () => setOff(null));
    bar.append(button);
  }
  for (const element of drawn) {
    element.addEventListener("pointerenter", () => setOff(element.dataset.variant));
    element.addEventListener("pointerleave", () => setOff(null));
  }
  main.querySelector(".glance, section").before(bar);
  draw();
}

document.addEventListener("DOMContentLoaded", () => {
  variantButtons(document.querySelector("main"));
  switchTheme(document.getElementById("theme"));
  for (const button of document.querySelectorAll("thead button")) button.addEventListener("click", () => sortBy(button.parentElement));
  for (const button of document.querySelectorAll(".copy")) button.addEventListener("click", () => copy(button));
  if (matchMedia("(width < 68rem)").matches) document.querySelector("nav details").open = false; // it would stand above the answer
});
