"use strict";
// The table of trials: sorted, filtered and filled a page at a time, so that ten thousand rows stay quick.
const data = JSON.parse(document.getElementById("data").textContent);
const STEP = 100, VALUE = 7, WIRE = 2;
const body = document.querySelector("#trial-table tbody");
const heads = [...document.querySelectorAll("#trial-table thead th")];
// A stored row: block, position, wire, role, load, traffic, metric, value, what to show, status.
const shown = row => [row[0], row[1], data.wires[row[2]][0], row[3], row[4], row[5], row[6], row[8], row[9]];
const all = data.rows.map(row => ({ row, cells: shown(row), text: shown(row).join(" ").toLowerCase() }));
let found = all, limit = STEP, column = -1, direction = 1;

function line({ row, cells }) {
  const tr = document.createElement("tr");
  cells.forEach((value, place) => {
    const td = tr.insertCell();
    td.textContent = value;
    if (place === VALUE) td.title = value;
    if (place < 2 || place === VALUE && row[7] !== null) td.className = "n";
    if (place === WIRE) {
      const swatch = document.createElement("i");
      swatch.className = "swatch";
      swatch.style.background = data.wires[row[2]][1];
      td.prepend(swatch);
    }
  });
  tr.lastChild.classList.add(row[9]);
  return tr;
}

function show() {
  body.replaceChildren(...found.slice(0, limit).map(line));
  document.getElementById("count").textContent = `${Math.min(limit, found.length)} of ${found.length} trials shown`;
  document.getElementById("more").hidden = limit >= found.length;
}

const key = one => column === VALUE ? one.row[7] : one.cells[column];

function compare(a, b) {
  const x = key(a), y = key(b);
  if (x === null || y === null) return (x === null) - (y === null);
  return direction * (typeof x === "number" ? x - y : x.localeCompare(y));
}

function update() {
  const words = document.getElementById("filter").value.toLowerCase().split(/\s+/).filter(Boolean);
  found = all.filter(one => words.every(word => one.text.includes(word)));
  if (column >= 0) found.sort(compare);
  show();
}

heads.forEach((head, place) => head.addEventListener("click", () => {
  direction = place === column ? -direction : 1;
  column = place;
  heads.forEach(other => other.removeAttribute("aria-sort"));
  head.setAttribute("aria-sort", direction > 0 ? "ascending" : "descending");
  update();
}));
document.getElementById("filter").addEventListener("input", () => { limit = STEP; update(); });
document.getElementById("more").addEventListener("click", () => { limit += 5 * STEP; show(); });
show();
