/* Figures to ask: what is under the pointer, or where the arrow keys are, in numbers with their intervals; one of several
   axes at a time; each seed, or the band; larger. */
const digits = (x) => {
  const size = Math.abs(x);
  const text = size >= 1e7 || (size > 0 && size < 1e-3) ? x.toExponential(2) : size >= 1000 ? Math.round(x).toLocaleString("en-US") : String(Number(x.toPrecision(4)));
  return text.replace("-", "−");
};
const interval = (low, high) => (low === null ? "" : ` [${digits(low)}, ${digits(high)}]`);
const nearest = (points, far) => points.reduce((best, point) => (far(point) < far(best) ? point : best));
const isCurve = (panel) => !panel.rows && Object.values(panel.series).some((points) => points.length > 2);
const seen = (panel) => Object.entries(panel.series).filter(([name]) => !hidden.has(name));

/* The points of a panel near a place, and what they say: of curves all at one x, else the one that is nearest. */
function reading(panel, across, down) {
  if (!seen(panel).length) return null;
  if (isCurve(panel)) {
    const far = (point) => Math.abs(point[0] - across);
    const found = seen(panel).map(([name, points]) => [name, nearest(points, far)]).filter(([, point]) => far(point) < 0.03 * (panel.box[2] - panel.box[0]));
    if (!found.length) return null;
    found.sort(([, a], [, b]) => b[3] - a[3]);
    const words = found.map(([name, [, , , y, low, high]]) => `${name}: ${digits(y)}${interval(low, high)}`);
    return { points: found.map(([, point]) => point), words: [`${digits(found[0][1][2])} ${panel.x}`, ...words] };
  }
  const all = seen(panel).flatMap(([name, points]) => points.map((point) => [name, point]));
  const [name, point] = nearest(all, ([, [x, y]]) => Math.hypot(x - across, y - down));
  const [, , x, y, low, high] = point;
  const words = panel.rows ? [`${digits(x)}${interval(low, high)}`, panel.x] : [`${panel.x}: ${digits(x)}`, `${panel.y}: ${digits(y)}${interval(low, high)}`];
  return { points: [point], words: [name, ...words] };
}

/* Where the arrow keys stop: at some forty places of a curve, or at every point. */
const stops = (panels) => panels.flatMap((panel) => {
  const points = isCurve(panel) ? seen(panel).map(([, own]) => own).reduce((a, b) => (b.length > a.length ? b : a), []) : seen(panel).flatMap(([, own]) => own);
  const step = isCurve(panel) ? Math.ceil(points.length / 40) : 1;
  return points.filter((_, place) => place % step === 0 || place === points.length - 1).map(([x, y]) => [panel, x, y]);
});

const tip = Object.assign(document.createElement("div"), { className: "tip", hidden: true });
tip.setAttribute("role", "status");

function readable(picture) {
  const svg = picture.querySelector("svg"), frame = picture.closest(".scroll");
  const panels = JSON.parse(picture.dataset.readings);
  if (!panels.length) return;
  const marks = document.createElementNS("http://www.w3.org/2000/svg", "g");
  marks.setAttribute("class", "marks");
  svg.append(marks);
  const clear = () => { marks.replaceChildren(); tip.hidden = true; };
  const show = (found, at) => {
    if (!found) return clear();
    marks.replaceChildren(...found.points.map(([x, y]) => {
      const mark = document.createElementNS("http://www.w3.org/2000/svg", "circle");
      for (const [name, value] of Object.entries({ cx: x, cy: y, r: 3 })) mark.setAttribute(name, value);
      return mark;
    }));
    tip.replaceChildren(...found.words.map((text) => Object.assign(document.createElement("div"), { textContent: text })));
    (svg.closest("dialog") ?? document.body).append(tip);
    tip.hidden = false;
    const box = tip.getBoundingClientRect();
    tip.style.left = `${Math.max(4, Math.min(at.x + 14, innerWidth - box.width - 4))}px`;
    tip.style.top = `${Math.max(4, at.y - box.height - 14)}px`;
  };
  const onScreen = (x, y) => new DOMPoint(x, y).matrixTransform(svg.getScreenCTM());
  svg.addEventListener("pointermove", (event) => {
    const { x, y } = new DOMPoint(event.clientX, event.clientY).matrixTransform(svg.getScreenCTM().inverse());
    const panel = panels.find(({ box }) => x >= box[0] - 4 && x <= box[2] + 4 && y >= box[1] && y <= box[3]);
    show(panel ? reading(panel, x, y) : null, { x: event.clientX, y: event.clientY });
  });
  svg.addEventListener("pointerleave", clear);
  let place = -1;
  frame.setAttribute("aria-description", "The arrow keys read its values");
  frame.addEventListener("keydown", (event) => {
    const all = stops(panels);
    const next = { ArrowRight: place + 1, ArrowLeft: place - 1, Home: 0, End: all.length - 1 }[event.key];
    if (next === undefined || !all.length) return;
    event.preventDefault();
    place = Math.max(0, Math.min(next, all.length - 1));
    const [panel, x, y] = all[place];
    show(reading(panel, x, y), onScreen(x, y));
  });
  frame.addEventListener("blur", clear);
}

function button(text, pressed, act) {
  const made = Object.assign(document.createElement("button"), { type: "button", textContent: text });
  if (pressed !== null) made.setAttribute("aria-pressed", String(pressed));
  made.addEventListener("click", () => act(made));
  return made;
}

function tools(label, ...buttons) {
  const bar = Object.assign(document.createElement("div"), { className: "tools" });
  bar.setAttribute("role", "group");
  bar.setAttribute("aria-label", label);
  bar.append(...buttons);
  return bar;
}

/* By a name for each, one picture at a time; where it has each seed's curve, that or the band. */
function choose(views) {
  const all = [...views.children];
  const axes = all.map((view) => button(view.dataset.name, view === all[0], (pressed) => {
    for (const other of all) other.hidden = other !== view;
    for (const other of axes) other.setAttribute("aria-pressed", String(other === pressed));
  }));
  const svgs = [...views.querySelectorAll("svg:has([data-kind=seed])")];
  const seeds = svgs.length ? [button("each seed", false, (pressed) => {
    const on = pressed.getAttribute("aria-pressed") !== "true";
    pressed.setAttribute("aria-pressed", String(on));
    for (const svg of svgs) svg.classList.toggle("seeds", on);
  })] : [];
  views.after(tools("What the curves show", ...(axes.length > 1 ? axes : []), ...seeds));
}

function enlarge(figure) {
  const dialog = document.createElement("dialog"), place = document.createComment("");
  dialog.setAttribute("aria-label", figure.querySelector("svg").getAttribute("aria-label"));
  const opener = button("larger", null, () => {
    figure.replaceWith(place);
    opener.hidden = true;
    dialog.append(button("Close", null, () => dialog.close()), figure);
    document.body.append(dialog);
    dialog.showModal();
  });
  dialog.addEventListener("close", () => {
    place.replaceWith(figure);
    dialog.replaceChildren();
    dialog.remove();
    opener.hidden = false;
    opener.focus();
  });
  figure.append(tools("The figure", opener));
}

/* The columns that matter, or all of them. */
function lesser(table) {
  const more = button("all columns", false, () => {
    const on = table.classList.toggle("whole");
    more.setAttribute("aria-pressed", String(on));
  });
  table.closest(".scroll").before(tools("Columns", more));
}

/* Of many rows of a table, or folded parts of a section, those that have all the words that are typed. */
const MANY = 20;
function search(items, what, changed) {
  const input = Object.assign(document.createElement("input"), { type: "search", placeholder: `Search ${what}` });
  const count = document.createElement("span");
  input.setAttribute("aria-label", `Search ${what}`);
  count.setAttribute("role", "status");
  const texts = items.map((item) => (item.querySelector("summary") ?? item).textContent.toLowerCase());
  input.addEventListener("input", () => {
    const words = input.value.toLowerCase().split(/\s+/).filter(Boolean);
    items.forEach((item, place) => { item.hidden = !words.every((word) => texts[place].includes(word)); });
    count.textContent = words.length ? `${items.filter((item) => !item.hidden).length} of ${items.length}` : "";
    changed(words.length > 0);
  });
  return tools("Search", input, count);
}

/* The rows of a long table gathered by what its cells differ in: under each value, which folds and unfolds them. */
function grouping(table, rows) {
  const names = JSON.parse(table.dataset.groupings);
  const choice = document.createElement("select");
  choice.setAttribute("aria-label", "Group rows by");
  choice.append(...["no groups", ...names.map((name) => `by ${name}`)].map((text) => new Option(text)));
  choice.addEventListener("change", () => {
    const values = rows.map((row) => (choice.selectedIndex ? JSON.parse(row.dataset.groups)[choice.selectedIndex - 1] : null));
    const bodies = [...new Set(values)].map((value) => {
      const own = rows.filter((_, place) => values[place] === value);
      const body = document.createElement("tbody");
      if (value !== null) body.append(groupHead(body, `${value}: ${own.length} ${own.length > 1 ? "rows" : "row"}`));
      body.append(...own);
      return body;
    });
    for (const body of [...table.tBodies]) body.remove();
    table.append(...bodies);
    arrange(table);
  });
  return choice;
}

function groupHead(body, text) {
  const row = Object.assign(document.createElement("tr"), { className: "group" });
  const head = Object.assign(document.createElement("th"), { scope: "rowgroup", colSpan: 99 });
  const fold = button(text, null, () => {
    const folded = body.classList.toggle("folded");
    fold.setAttribute("aria-expanded", String(!folded));
  });
  fold.setAttribute("aria-expanded", "true");
  head.append(fold);
  row.append(head);
  return row;
}

document.addEventListener("DOMContentLoaded", () => {
  for (const picture of document.querySelectorAll("[data-readings]")) readable(picture);
  for (const views of document.querySelectorAll(".views")) choose(views);
  for (const figure of document.querySelectorAll("figure")) enlarge(figure);
  for (const table of document.querySelectorAll("table:has(.lesser)")) lesser(table);
  for (const table of document.querySelectorAll("main table")) {
    const rows = [...table.tBodies[0].rows];
    if (rows.length <= MANY) continue;
    const bar = search(rows, `${rows.length} rows`, (some) => table.classList.toggle("found", some));
    if (table.dataset.groupings) bar.append(grouping(table, rows));
    table.closest(".scroll").before(bar);
  }
  for (const section of document.querySelectorAll("main > section")) {
    const folded = [...section.querySelectorAll(":scope > details:not(.legend)")];
    if (folded.length > MANY) folded[0].before(search(folded, section.querySelector("h2").textContent.toLowerCase(), () => {}));
  }
});
