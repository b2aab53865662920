"use strict";
// Long tables: sorted, filtered and filled bit by bit, so that ten thousand rows stay quick.
const data = JSON.parse(document.getElementById("data").textContent);
const STEP = matchMedia("(max-width: 40rem)").matches ? 10 : 25, MORE = 500;

// A cell by its column's kind: what to sort by, what to show.
const KINDS = {
  words: { key: cell => cell, text: cell => cell },
  number: { key: cell => cell[0], text: cell => cell[1] },
  wire: { key: cell => data.wires[cell][0], text: cell => data.wires[cell][0] },
  verdict: { key: cell => cell[0], text: cell => cell[1] },
};

function element(name, properties, ...children) {
  const made = Object.assign(document.createElement(name), properties);
  made.append(...children);
  return made;
}

class Grid {
  constructor(root) {
    const { columns, rows } = data.grids[root.dataset.grid];
    this.columns = columns.map(column => ({ ...column, ...KINDS[column.kind] }));
    this.all = rows.map(cells => ({ cells, words: this.columns.map((c, at) => c.text(cells[at])).join(" ").toLowerCase() }));
    this.found = this.all;
    this.limit = STEP;
    this.sorted = { at: -1, sign: 1 };
    this.picked = new Map();
    this.filter = root.querySelector("input");
    this.count = root.querySelector(".count");
    this.more = root.querySelector(".more");
    this.body = root.querySelector("tbody");
    root.querySelector("thead").append(element("tr", {}, ...this.columns.map((column, at) => this.head(column, at))));
    this.heads = [...root.querySelectorAll("th")];
    root.querySelector(".filter").append(...this.columns.flatMap((column, at) => this.choice(column, at)));
    this.filter.addEventListener("input", () => this.update());
    this.more.addEventListener("click", () => { this.limit += MORE; this.show(); });
    this.show();
  }

  head(column, at) {
    const button = element("button", { type: "button", textContent: column.name });
    button.addEventListener("click", () => this.sort(at));
    return element("th", { scope: "col", className: column.kind === "number" ? "n" : "" }, button);
  }

  choice(column, at) {
    const words = column.pick ? [...new Set(this.all.map(row => column.key(row.cells[at])))].sort() : [];
    if (words.length < 2) return [];
    const select = element("select", { ariaLabel: column.name }, element("option", { value: "", textContent: `any ${column.name}` }),
      ...words.map(word => element("option", { value: word, textContent: word })));
    select.addEventListener("change", () => {
      if (select.value) this.picked.set(at, select.value); else this.picked.delete(at);
      this.update();
    });
    return [select];
  }

  sort(at) {
    this.sorted = { at, sign: at === this.sorted.at ? -this.sorted.sign : 1 };
    this.heads.forEach((head, place) => {
      if (place === at) head.setAttribute("aria-sort", this.sorted.sign > 0 ? "ascending" : "descending");
      else head.removeAttribute("aria-sort");
    });
    this.update();
  }

  compare(a, b) {
    const { at, sign } = this.sorted, { key } = this.columns[at];
    const x = key(a.cells[at]), y = key(b.cells[at]);
    if (x === null || y === null) return (x === null) - (y === null);
    return sign * (typeof x === "number" ? x - y : x < y ? -1 : x > y ? 1 : 0);
  }

  update() {
    const words = this.filter.value.toLowerCase().split(/\s+/).filter(Boolean);
    const picked = [...this.picked].map(([at, word]) => [at, this.columns[at].key, word]);
    this.found = this.all.filter(row => words.every(word => row.words.includes(word))
      && picked.every(([at, key, word]) => key(row.cells[at]) === word));
    if (this.sorted.at >= 0) this.found.sort((a, b) => this.compare(a, b));
    this.limit = STEP;
    this.show();
  }

  show() {
    this.body.replaceChildren(...this.found.slice(0, this.limit).map(row => this.line(row)));
    this.count.textContent = `${Math.min(this.limit, this.found.length)} of ${this.found.length} shown`;
    this.more.hidden = this.limit >= this.found.length;
  }

  line({ cells }) {
    return element("tr", {}, ...this.columns.map((column, at) => this.cell(column, cells[at])));
  }

  cell(column, value) {
    const td = element("td", { className: column.kind, textContent: column.text(value) });
    td.dataset.head = column.name;
    if (column.kind === "number") { td.title = value[1]; td.classList.add(value[0] === null ? "none" : "n"); }
    if (column.kind === "verdict") { td.title = value[2]; td.classList.add(value[0].replaceAll(" ", "_")); }
    if (column.kind === "wire") {
      const swatch = element("i", { className: "swatch" });
      swatch.style.background = data.wires[value][1];
      td.prepend(swatch);
    }
    return td;
  }
}

document.querySelectorAll(".grid").forEach(root => new Grid(root));

// On paper nothing can be unfolded; of the wires of one way the first is drawn.
let folded = [];
addEventListener("beforeprint", () => {
  folded = [...document.querySelectorAll("details:not([open], .way + .way)")];
  folded.forEach(one => { one.open = true; });
});
addEventListener("afterprint", () => { folded.forEach(one => { one.open = false; }); });
