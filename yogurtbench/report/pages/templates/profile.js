"use strict";
// The flame graph: bars from the top, each as wide as its instructions, to click, search and zoom.
const { tree, against } = JSON.parse(document.getElementById("data").textContent);
const ROW = 20, LEAST = 0.05; // pixels a row; percent of the width below which a bar is left out
const KIND = { kernel: 212, bpf: 30, user: 140, irq: 280 };

class Node {
  constructor([name, kind, own, other, callees], parent) {
    Object.assign(this, { name, kind, parent, own: [own, other], depth: parent ? parent.depth + 1 : 0 });
    this.callees = callees.map(each => new Node(each, this));
    this.counts = this.own.map((count, side) => this.callees.reduce((sum, each) => sum + each.counts[side], count));
  }
  get ancestors() { return this.parent ? [...this.parent.ancestors, this.parent] : []; }
  *all() { yield this; for (const each of this.callees) yield* each.all(); }
}

class Flames {
  constructor(root) {
    this.box = document.querySelector(".flames");
    this.detail = document.querySelector(".detail");
    this.search = document.querySelector("input[type=search]");
    this.found = document.querySelector(".found");
    this.reset = document.querySelector(".reset");
    this.root = this.top = root;
    this.side = 0;
    this.most = Math.max(1, ...[...root.all()].map(each => Math.abs(each.own[0] - each.own[1])));
    this.search.addEventListener("input", () => this.mark());
    this.reset.addEventListener("click", () => this.zoom(this.root));
    const side = document.querySelector(".side");
    if (side) side.addEventListener("click", () => {
      this.side = 1 - this.side;
      side.setAttribute("aria-pressed", String(this.side === 1));
      this.show();
    });
    this.box.addEventListener("click", event => { const bar = event.target.closest("button"); if (bar) this.zoom(bar.node); });
    for (const type of ["mouseover", "focusin"])
      this.box.addEventListener(type, event => { const bar = event.target.closest("button"); if (bar) this.describe(bar.node); });
    this.show();
  }

  zoom(node) {
    this.top = node;
    this.reset.hidden = node === this.root;
    this.show();
    this.describe(node);
  }

  show() {
    this.bars = [];
    this.deepest = 0;
    for (const each of this.top.ancestors) this.bar(each, 0, 100, true);
    this.place(this.top, 0, 100);
    this.box.style.height = `${(this.deepest + 1) * ROW}px`;
    this.box.replaceChildren(...this.bars);
    this.mark();
  }

  place(node, left, width) {
    if (width < LEAST) return;
    this.bar(node, left, width, false);
    const whole = node.counts[this.side];
    for (const each of node.callees) {
      const share = whole ? width * each.counts[this.side] / whole : 0;
      this.place(each, left, share);
      left += share;
    }
  }

  bar(node, left, width, faded) {
    const bar = document.createElement("button");
    bar.type = "button";
    bar.node = node;
    bar.textContent = width > 1.5 ? node.name : "";
    bar.setAttribute("role", "treeitem");
    bar.setAttribute("aria-label", this.words(node));
    bar.classList.toggle("faded", faded);
    Object.assign(bar.style, { left: `${left}%`, width: `${width}%`, top: `${node.depth * ROW}px`, background: this.colour(node) });
    this.deepest = Math.max(this.deepest, node.depth);
    this.bars.push(bar);
  }

  colour(node) {
    if (!against) return node.kind ? `hsl(${KIND[node.kind]} 60% var(--light))` : "var(--band)";
    const more = node.own[0] - node.own[1];
    if (!more) return "var(--band)";
    const depth = 20 + 80 * Math.sqrt(Math.abs(more) / this.most);
    return `color-mix(in srgb, ${more > 0 ? "#d9443a" : "#3b7ddd"} ${depth}%, var(--band))`;
  }

  words(node) {
    const grouped = number => String(number).replace(/\B(?=(\d{3})+$)/g, "\u202f");
    const signed = number => (number > 0 ? "+" : number < 0 ? "\u2212" : "\u00b1") + grouped(Math.abs(number));
    const [here, there] = node.counts, share = (100 * node.counts[this.side] / this.root.counts[this.side]).toFixed(1);
    const text = `${node.name}: ${grouped(here)} instructions, ${grouped(node.own[0])} of them by itself; ${share} %`;
    return against ? `${text}; against the other ${signed(here - there)}, by itself ${signed(node.own[0] - node.own[1])}` : text;
  }

  describe(node) { this.detail.textContent = this.words(node); }

  mark() {
    const wanted = this.search.value.trim().toLowerCase();
    const hit = node => wanted && node.name.toLowerCase().includes(wanted);
    for (const bar of this.bars) bar.classList.toggle("hit", Boolean(hit(bar.node)));
    if (!wanted) { this.found.textContent = ""; return; }
    let sum = 0;
    const add = node => { if (hit(node)) sum += node.counts[this.side]; else node.callees.forEach(add); };
    add(this.root);
    this.found.textContent = `${(100 * sum / this.root.counts[this.side]).toFixed(1)} % of the instructions`;
  }
}

new Flames(new Node(tree, null));
