// Drawing with SVG elements that are made once and then only changed: scales, shapes, labels.

const NAMESPACE = "http://www.w3.org/2000/svg";
const STEPS = [1, 2, 5, 10];

export function element(name, className, parent) {
  const made = document.createElementNS(NAMESPACE, name);
  if (className) made.setAttribute("class", className);
  parent?.append(made);
  return made;
}

export function set(node, attributes) {
  for (const [name, value] of Object.entries(attributes)) {
    const text = typeof value === "number" ? value.toFixed(1) : value;
    if (node.getAttribute(name) !== text) node.setAttribute(name, text);
  }
}

// A drawing that fills `host`, drawn again by `draw(width, height)` when the host changes its size.
export class Drawing {
  constructor(host, label) {
    this.root = element("svg", null, host);
    this.width = 0;
    this.height = 0;
    set(this.root, { role: "img", "aria-label": label });
    new ResizeObserver(([entry]) => {
      this.width = entry.contentRect.width;
      this.height = entry.contentRect.height;
      set(this.root, { width: this.width, height: this.height });
      this.redraw();
    }).observe(host);
  }

  redraw() {
    if (this.width > 0 && this.height > 0 && this.shown !== undefined) this.draw(this.shown);
  }

  show(what) {
    this.shown = what;
    this.redraw();
  }

  // What a screen reader says of it; said again only when asked for.
  label(text) {
    set(this.root, { "aria-label": text });
  }
}

// As many nodes as there are items: made, changed and hidden, never made anew.
export class Pool {
  constructor(parent, name, className) {
    this.parent = parent;
    this.name = name;
    this.className = className;
    this.nodes = [];
  }

  each(items, change) {
    while (this.nodes.length < items.length) this.nodes.push(element(this.name, this.className, this.parent));
    this.nodes.forEach((node, index) => {
      set(node, { display: index < items.length ? "inline" : "none" });
      if (index < items.length) change(node, items[index], index);
    });
  }
}

export const linear = (low, high, start, end) => (value) => start + ((value - low) / (high - low)) * (end - start);

export const logarithmic = (low, high, start, end) => {
  const scale = linear(Math.log10(low), Math.log10(high), start, end);
  return (value) => scale(Math.log10(value));
};

// Round values from low to high, about so many.
export function roundValues(low, high, about) {
  const rough = (high - low) / about;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = power * STEPS.find((each) => each * power >= rough * 0.999);
  const values = [];
  for (let value = Math.ceil(low / step - 1e-9) * step; value <= high + step * 1e-9; value += step) values.push(value);
  return { values, step };
}

// A line through points; where one is null the pen is lifted. A point by itself is a dot, with round caps.
export function line(points) {
  let path = "";
  points.forEach((point, index) => {
    if (!point) return;
    const [x, y] = point.map((value) => value.toFixed(1));
    const begins = !points[index - 1];
    path += begins ? `M${x} ${y}` : `L${x} ${y}`;
    if (begins && !points[index + 1]) path += "h0";
  });
  return path;
}

// A range that stays as it is while it fits, so that the picture does not breathe with every value.
export class CalmRange {
  constructor() {
    this.forget();
  }

  forget() {
    this.low = Infinity;
    this.high = -Infinity;
  }

  around(low, high) {
    const size = Math.max(high - low, Math.abs(high) * 1e-7, 1e-12);
    const tooTight = low < this.low || high > this.high;
    const tooWide = this.high - this.low > 2.2 * size;
    if (tooTight || tooWide) {
      this.low = low - 0.12 * size;
      this.high = high + 0.12 * size;
    }
    return this;
  }
}
