// The table of symbols. Rows are kept and changed; one that moves is moved, not made anew.

import { count, decimalsFor, decimalsOf, fixed, rate, signed } from "./numbers.js";

const BASIS_POINT = 1e-4;
const DIGITS_MAX = 7;

export class SymbolTable {
  constructor(table, body, choose, sort) {
    this.table = table;
    this.body = body;
    this.choose = choose;
    this.rows = new Map(); // symbol -> its row
    this.decimals = new Map(); // size of a mid, as a power of ten -> of all such; they only grow
    this.marked = "";
    for (const header of table.querySelectorAll("th[data-sort]")) {
      header.querySelector("button").addEventListener("click", () => sort(header.dataset.sort));
    }
  }

  show({ symbols, symbols_matching: matching, models, totals }, view) {
    const focused = document.activeElement;
    symbols.forEach((values, index) => {
      const row = this.rows.get(values.symbol) ?? this.add(values.symbol);
      if (this.body.children[index] !== row) this.body.insertBefore(row, this.body.children[index] ?? null);
      this.fill(row, values, models[values.model]?.target_scale ?? 0);
    });
    while (this.body.children.length > symbols.length) this.remove(this.body.lastElementChild);
    if (this.body.contains(focused) && document.activeElement !== focused) focused.focus({ preventScroll: true });
    this.mark(this.marked);
    for (const header of this.table.querySelectorAll("th[data-sort]")) {
      const isSorted = header.dataset.sort === view.sort;
      header.setAttribute("aria-sort", isSorted ? (view.sort === "name" ? "ascending" : "descending") : "none");
    }
    this.sayHowMany(symbols.length, matching, totals, view.search);
  }

  // The instance may have more symbols than this page has seen ticks of.
  sayHowMany(shown, matching, totals, search) {
    const all = totals.symbols > matching ? `${count(matching)} seen here of ${count(totals.symbols)}` : count(matching);
    const found = search ? `found ${count(matching)} of ${count(totals.followed)}` : all;
    const first = `first ${count(shown)}`;
    const cut = search ? `${found}, ${first}` : `${first} of ${all}`;
    document.getElementById("matching").textContent = matching > shown ? cut : found;
    const empty = document.getElementById("table-empty");
    empty.hidden = shown > 0;
    empty.textContent = search ? `No symbol contains “${search}”.` : "No symbol has a full window yet.";
  }

  add(symbol) {
    const row = document.createElement("tr");
    row.dataset.symbol = symbol;
    const name = document.createElement("th");
    name.scope = "row";
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = symbol;
    button.title = symbol;
    name.append(button);
    row.append(name);
    for (const kind of ["mid", "change", "forecast roomy", "error", "rate"]) {
      const cell = document.createElement("td");
      cell.className = kind;
      row.append(cell);
    }
    row.addEventListener("click", () => this.choose(symbol));
    this.rows.set(symbol, row);
    return row;
  }

  fill(row, values, scale) {
    const moved = values.change_share === null ? null : values.change_share / BASIS_POINT;
    const texts = [
      fixed(values.mid, this.places(values.mid)),
      signed(moved, moved !== null && Math.abs(moved) >= 99.95 ? 0 : 1),
      signed(values.forecast, decimalsFor(scale)),
      fixed(values.error, 2),
      rate(values.rate),
    ];
    texts.forEach((text, index) => {
      const cell = row.children[index + 1];
      if (cell.textContent !== text) cell.textContent = text;
    });
    row.children[2].dataset.is = moved > 0.05 ? "up" : moved < -0.05 ? "down" : "flat";
    row.classList.toggle("quiet", values.age_s > 60);
  }

  // Mids of about the same size stand beneath each other with the same decimals.
  places(mid) {
    if (!mid) return 0;
    const size = Math.floor(Math.log10(Math.abs(mid)));
    const most = Math.max(0, DIGITS_MAX - 1 - Math.max(0, size));
    const places = Math.max(this.decimals.get(size) ?? 0, Math.min(most, decimalsOf([mid])));
    this.decimals.set(size, places);
    return places;
  }

  remove(row) {
    this.rows.delete(row.dataset.symbol);
    row.remove();
  }

  // The row of `symbol` is the chosen one.
  mark(symbol) {
    this.marked = symbol;
    for (const row of this.body.children) {
      const isChosen = row.dataset.symbol === symbol;
      row.classList.toggle("chosen", isChosen);
      row.firstElementChild.firstElementChild.setAttribute("aria-pressed", String(isChosen));
    }
  }

  first() {
    return this.body.firstElementChild?.dataset.symbol;
  }

  // The symbol so many rows below that one; the first where it is not in the table.
  beside(symbol, step) {
    const rows = [...this.body.children];
    const index = rows.findIndex((row) => row.dataset.symbol === symbol);
    const row = index < 0 ? rows[0] : rows[index + step];
    row?.scrollIntoView({ block: "nearest" });
    return row?.dataset.symbol;
  }
}
