// The page's drawings. Each is given what it shows, as the document has it, and knows nothing else of the page.

import { CalmRange, Drawing, Pool, element, line, linear, logarithmic, roundValues, set } from "./svg.js";
import { decimalsFor, duration, fixed, percent, signed, signedPercent, time } from "./numbers.js";

const RIGHT = 82; // for the values' labels
const LEFT = 6;
const PIXELS_PER_TICK = 7.5;
const WINDOWS = 1.2; // of the chart's ticks: attention over a window has its ticks above it
const TICKS_MIN = 60;

// The axis of ticks that the three drawings of a symbol share: the newest one is always at the same place.
export function tickAxis(symbol, model, width) {
  const ahead = Math.max(...model.horizons, 1);
  const fitting = Math.floor((width - LEFT - RIGHT) / PIXELS_PER_TICK) - ahead;
  const ticks = Math.max(TICKS_MIN, Math.ceil(model.window * WINDOWS), fitting);
  const newest = symbol.path.at(-1)?.[1] ?? 0;
  const first = newest - ticks + 1;
  return { ahead, newest, first, ticks, x: linear(first, newest + ahead, LEFT, width - RIGHT) };
}

// Mid, forecasts, and what then happened.
export class PathChart extends Drawing {
  constructor(host) {
    super(host, "Mid and forecasts");
    this.range = new CalmRange();
    this.future = element("rect", "future", this.root);
    this.grid = new Pool(this.root, "path", "grid");
    this.values = new Pool(this.root, "text", "value-label");
    this.marks = new Pool(this.root, "text", "axis-label");
    this.band = element("path", "band", this.root);
    this.past = new Pool(this.root, "path", "past");
    this.mid = element("path", "mid", this.root);
    this.now = element("path", "now", this.root);
    this.fan = element("path", "fan", this.root);
    this.dots = new Pool(this.root, "circle", "dot");
    this.at = element("circle", "at", this.root);
    this.tag = element("rect", "tag", this.root);
    this.tagText = element("text", "tag-text", this.root);
    this.empty = element("text", "empty-label", this.root);
  }

  draw({ symbol, model, decimals, message }) {
    const isEmpty = !symbol?.path.length;
    this.empty.textContent = isEmpty ? message : "";
    set(this.empty, { x: this.width / 2, y: this.height / 2 });
    for (const child of this.root.children) set(child, { visibility: isEmpty ? "hidden" : "visible" });
    set(this.empty, { visibility: "visible" });
    if (isEmpty) return;
    if (symbol.symbol !== this.of) this.range.forget();
    this.of = symbol.symbol;
    const axis = tickAxis(symbol, model, this.width);
    const path = symbol.path.filter(([, position]) => position >= axis.first);
    const fans = symbol.fans.filter((fan) => fan.position >= axis.first);
    const last = fans.at(-1);
    const newest = last && last.position === axis.newest ? last : null;
    const bottom = this.height - 22;
    const y = this.scale(path, fans, newest, symbol.rms, bottom);
    this.drawFrame(axis, y, bottom, decimals, path);
    this.drawTag(y, path.at(-1)[2], decimals);
    this.drawForecasts(axis, y, model, fans, newest, symbol.rms);
    this.drawMid(axis, y, path);
  }

  scale(path, fans, newest, rms, bottom) {
    const values = path.map(([, , mid]) => mid).filter((mid) => mid !== null);
    for (const fan of fans) for (const change of fan.forecast) values.push(fan.mid + change);
    if (newest) newest.forecast.forEach((change, index) => spread(values, newest.mid + change, rms[index] ?? 0));
    const range = this.range.around(Math.min(...values), Math.max(...values));
    return linear(range.low, range.high, bottom, 8);
  }

  drawFrame({ x, newest, first, ahead }, y, bottom, decimals, path) {
    const { values, step } = roundValues(this.range.low, this.range.high, Math.max(2, this.height / 62));
    const shown = Math.max(decimals, Math.min(8, Math.ceil(-Math.log10(step) - 1e-9)));
    this.grid.each(values, (node, value) => set(node, { d: `M${LEFT} ${y(value).toFixed(1)}H${this.width - RIGHT}` }));
    this.values.each(values, (node, value) => {
      set(node, { x: this.width - RIGHT + 8, y: y(value) + 4 });
      node.textContent = fixed(value, shown);
    });
    set(this.future, { x: x(newest), y: 0, width: this.width - RIGHT - x(newest), height: bottom });
    set(this.now, { d: `M${x(newest).toFixed(1)} 0V${bottom}` });
    const marks = this.tickMarks(first, newest);
    this.marks.each([...marks, newest, newest + ahead], (node, position) => {
      set(node, { x: x(position), y: this.height - 6, "text-anchor": position > newest ? "start" : "middle" });
      node.textContent = this.markOf(position, newest, path);
    });
  }

  tickMarks(first, newest) {
    const { step } = roundValues(0, newest - first, Math.max(3, this.width / 150));
    const marks = [];
    for (let back = step; back < (newest - first) * 0.96; back += step) marks.push(newest - back);
    return marks;
  }

  markOf(position, newest, path) {
    if (position > newest) return `+${position - newest}`;
    if (position < newest) return `${position - newest}`.replace("-", "\u2212");
    return time(path.at(-1)[0], this.width > 500);
  }

  drawForecasts({ x }, y, model, fans, newest, rms) {
    const points = (fan) => [
      [x(fan.position), y(fan.mid)],
      ...fan.forecast.map((change, index) => [x(fan.position + model.horizons[index]), y(fan.mid + change)]),
    ];
    this.past.each(fans.filter((fan) => fan !== newest), (node, fan) => set(node, { d: line(points(fan)) }));
    const fan = newest ? points(newest) : [];
    set(this.fan, { d: line(fan) });
    this.dots.each(fan.slice(1), (node, [cx, cy]) => set(node, { cx, cy, r: 2.1 }));
    const edge = (sign) =>
      fan.map(([at], index) => [at, index ? y(newest.mid + newest.forecast[index - 1] + sign * (rms[index - 1] ?? 0)) : fan[0][1]]);
    set(this.band, { d: fan.length ? `${line([...edge(1), ...edge(-1).reverse()])}Z` : "" });
  }

  drawMid({ x }, y, path) {
    const points = [];
    path.forEach(([, position, mid], index) => {
      if (index && position !== path[index - 1][1] + 1) points.push(null);
      points.push(mid === null ? null : [x(position), y(mid)]);
    });
    set(this.mid, { d: line(points) });
    const [cx, cy] = points.at(-1) ?? [-20, -20];
    set(this.at, { cx, cy, r: 3.2 });
  }

  // The newest mid on the values' axis, over whatever label is there.
  drawTag(y, mid, decimals) {
    const at = mid === null ? -50 : y(mid);
    set(this.tag, { x: this.width - RIGHT + 3, y: at - 10, width: RIGHT - 3, height: 20, rx: 4 });
    set(this.tagText, { x: this.width - RIGHT + 8, y: at + 4.2 });
    this.tagText.textContent = fixed(mid, decimals);
    for (const label of this.values.nodes) {
      const isCovered = Math.abs(Number(label.getAttribute("y")) - 4 - at) < 17;
      set(label, { opacity: isCovered ? "0" : "1" });
    }
  }
}

function spread(values, middle, half) {
  values.push(middle - half, middle + half);
}

// How much of the newest forecast rests on each tick of the window.
export class AttentionChart extends Drawing {
  constructor(host) {
    super(host, "Attention over the window");
    this.frame = element("path", "axis", this.root);
    this.bars = new Pool(this.root, "rect", "weight");
    this.even = element("path", "even", this.root);
    this.top = element("text", "value-label", this.root);
    this.evenText = element("text", "value-label", this.root);
    this.empty = element("text", "empty-label", this.root);
  }

  draw({ symbol, model, message }) {
    const weights = message ? [] : symbol.attention.weights;
    this.empty.textContent = message;
    set(this.empty, { x: this.width / 2, y: this.height / 2 + 4 });
    for (const node of [this.frame, this.even, this.top, this.evenText]) {
      set(node, { visibility: message ? "hidden" : "visible" });
    }
    if (message) return this.bars.each([], () => {});
    const axis = tickAxis(symbol, model, this.width);
    const first = symbol.attention.position - weights.length + 1;
    const bottom = this.height - 1;
    const most = Math.max(...weights, 2 / weights.length);
    const y = linear(0, most, bottom, 4);
    const width = Math.max(1, axis.x(1) - axis.x(0) - 1);
    this.bars.each(weights, (node, weight, index) => {
      const at = axis.x(first + index);
      const isShown = at >= LEFT - width;
      set(node, { x: at - width / 2, y: y(weight), width, height: isShown ? bottom - y(weight) : 0 });
    });
    set(this.frame, { d: `M${LEFT} ${bottom}H${this.width - RIGHT}` });
    const even = y(1 / weights.length);
    set(this.even, { d: `M${axis.x(first).toFixed(1)} ${even.toFixed(1)}H${axis.x(first + weights.length - 1).toFixed(1)}` });
    set(this.top, { x: this.width - RIGHT + 8, y: 13 });
    this.top.textContent = percent(most);
    set(this.evenText, { x: this.width - RIGHT + 8, y: Math.min(Math.max(even + 4, 28), this.height - 2) });
    this.evenText.textContent = `even ${percent(1 / weights.length)}`;
  }
}

// What was forecast for the longest horizon, and what happened.
export class OutcomeChart extends Drawing {
  constructor(host) {
    super(host, "Forecasts and what happened");
    this.range = new CalmRange();
    this.bars = new Pool(this.root, "rect", "happened");
    this.zero = element("path", "axis", this.root);
    this.forecast = element("path", "fan", this.root);
    this.values = new Pool(this.root, "text", "value-label");
    this.empty = element("text", "empty-label", this.root);
  }

  draw({ symbol, model, message }) {
    const axis = message ? null : tickAxis(symbol, model, this.width);
    const points = message ? [] : symbol.scored.points.filter(([position]) => position >= axis.first);
    this.empty.textContent = message || (points.length ? "" : "nothing to compare on this chart yet");
    set(this.empty, { x: this.width / 2, y: this.height / 2 + 4 });
    if (!points.length) {
      set(this.forecast, { d: "" });
      set(this.zero, { d: "" });
      this.bars.each([], () => {});
      return this.values.each([], () => {});
    }
    if (symbol.symbol !== this.of) this.range.forget();
    this.of = symbol.symbol;
    const size = Math.max(...points.map(([, forecast, happened]) => Math.max(Math.abs(forecast), Math.abs(happened))), 1e-12);
    const { high } = this.range.around(-size, size);
    const y = linear(-high, high, this.height - 4, 4);
    const width = Math.max(1, axis.x(1) - axis.x(0) - 1);
    this.bars.each(points, (node, [position, , happened]) => {
      const top = Math.min(y(0), y(happened));
      set(node, { x: axis.x(position) - width / 2, y: top, width, height: Math.abs(y(happened) - y(0)) });
    });
    set(this.zero, { d: `M${LEFT} ${y(0).toFixed(1)}H${this.width - RIGHT}` });
    set(this.forecast, { d: line(withGaps(points).map((at) => at && [axis.x(at[0]), y(at[1])])) });
    const shown = (high / 1.24) * 0.9;
    this.values.each([shown, 0, -shown], (node, value) => {
      set(node, { x: this.width - RIGHT + 8, y: y(value) + 4 });
      node.textContent = signed(value, decimalsFor(high));
    });
  }
}

function withGaps(points) {
  return points.flatMap((point, index) => (index && point[0] !== points[index - 1][0] + 1 ? [null, point] : [point]));
}

// Quantiles over the last minutes, on a logarithmic scale.
export class LatencyChart extends Drawing {
  constructor(host) {
    super(host, "Latency over the last five minutes");
    this.grid = new Pool(this.root, "path", "grid");
    this.values = new Pool(this.root, "text", "value-label");
    this.marks = new Pool(this.root, "text", "axis-label");
    this.p50 = element("path", "p50", this.root);
    this.p99 = element("path", "p99", this.root);
    this.names = new Pool(this.root, "text", "line-label");
    this.empty = element("text", "empty-label", this.root);
  }

  draw({ history, now }) {
    const known = history.filter(([, p50]) => p50 !== null);
    this.empty.textContent = known.length ? "" : "nothing handed over";
    set(this.empty, { x: this.width / 2, y: this.height / 2 });
    const values = known.flatMap(([, p50, p99]) => [p50, p99]);
    const low = 10 ** Math.floor(Math.log10(Math.min(...values, 1e-4)));
    const high = 10 ** Math.ceil(Math.log10(Math.max(...values, 1e-3)));
    const right = 58;
    const bottom = this.height - 20;
    const y = logarithmic(low, high, bottom, 18); // room for a name above a line at the top
    const x = linear(now - 300e3, now, 4, this.width - right);
    const lines = [];
    const decades = Math.ceil((14 * Math.round(Math.log10(high / low))) / (bottom - 8)); // so that labels keep apart
    for (let value = high; value >= low * 0.999; value /= 10 ** decades) lines.push(value);
    this.grid.each(lines, (node, value) => set(node, { d: `M4 ${y(value).toFixed(1)}H${this.width - right}` }));
    this.values.each(lines, (node, value) => {
      set(node, { x: this.width - right + 8, y: y(value) + 4 });
      node.textContent = duration(value).replace(/\.0+(?= )/, "");
    });
    this.marks.each([-4, -2, 0], (node, minutes) => {
      set(node, { x: x(now + minutes * 60e3), y: this.height - 4, "text-anchor": minutes ? "middle" : "end" });
      node.textContent = minutes ? `\u2212${-minutes} min` : "now";
    });
    for (const [node, column] of [[this.p50, 1], [this.p99, 2]]) {
      set(node, { d: line(history.map((point) => (point[column] === null ? null : [x(point[0]), y(point[column])]))) });
    }
    const last = known.at(-1);
    this.names.each(last ? namesAt(y(last[1]), y(last[2]), bottom) : [], (node, [name, at]) => {
      set(node, { x: x(last[0]) - 4, y: at, "text-anchor": "end" });
      node.textContent = name;
    });
  }
}

// The lines' names with their baselines: p50 below its line where there is room, and p99 above all.
function namesAt(p50, p99, bottom) {
  const low = p50 + 15 < bottom ? p50 + 15 : p50 - 6;
  return [["p50", low], ["p99", Math.min(p99 - 6, low - 12)]];
}

// How much better than the guess of no change, by horizon.
export class ErrorsChart extends Drawing {
  constructor(host) {
    super(host, "Squared error taken off that of no change, by horizon");
    this.range = new CalmRange();
    this.bars = new Pool(this.root, "rect", "bar");
    this.since = new Pool(this.root, "path", "since");
    this.zero = element("path", "axis", this.root);
    this.values = new Pool(this.root, "text", "bar-label");
    this.marks = new Pool(this.root, "text", "axis-label");
    this.empty = element("text", "empty-label", this.root);
  }

  draw({ errors }) {
    const known = errors.filter(({ relative }) => relative !== null);
    this.empty.textContent = known.length ? "" : "no forecast's tick has come yet";
    set(this.empty, { x: this.width / 2, y: this.height / 2 });
    const shares = known.flatMap(({ relative, since_start }) => [relative, since_start ?? relative]);
    const range = this.range.around(Math.min(...shares, 0), Math.max(...shares, 0.01));
    const low = Math.min(...shares) < 0 ? range.low : 0;
    const { high } = range;
    const bottom = this.height - 20;
    const y = linear(low, high, bottom - (low < 0 ? 14 : 1), 18);
    const step = this.width / Math.max(known.length, 1);
    const width = Math.min(26, step * 0.6);
    const middle = (index) => (index + 0.5) * step;
    this.bars.each(known, (node, { relative }, index) => {
      const top = Math.min(y(0), y(relative));
      set(node, { x: middle(index) - width / 2, y: top, width, height: Math.max(1, Math.abs(y(relative) - y(0))) });
      set(node, { class: relative < 0 ? "bar worse" : "bar" });
    });
    this.since.each(known, (node, { since_start }, index) => {
      const at = since_start === null ? -9 : y(since_start);
      set(node, { d: `M${(middle(index) - width / 2 - 3).toFixed(1)} ${at.toFixed(1)}h${(width + 6).toFixed(1)}` });
    });
    set(this.zero, { d: known.length ? `M0 ${y(0).toFixed(1)}H${this.width}` : "" });
    this.values.each(known, (node, { relative, since_start }, index) => {
      const mark = since_start === null ? null : y(since_start);
      set(node, { x: middle(index), y: labelAt(y(relative), mark, relative < 0), "text-anchor": "middle" });
      node.textContent = fixed(relative * 100, Math.abs(relative) < 0.0995 && step > 30 ? 1 : 0);
    });
    this.marks.each(known, (node, { horizon }, index) => {
      set(node, { x: middle(index), y: this.height - 4, "text-anchor": "middle" });
      node.textContent = `+${horizon}`;
    });
    this.label(`Squared error taken off that of no change: ${known
      .map(({ horizon, relative }) => `${horizon} ahead ${signedPercent(relative)}`)
      .join(", ")}`);
  }
}

// The baseline of a bar's number, at the bar's end, or beyond the mark where that would strike through it.
function labelAt(end, mark, isBelow) {
  const at = isBelow ? end + 14 : end - 6;
  const isStruck = mark !== null && mark > at - 12 && mark < at + 3;
  if (!isStruck) return at;
  return isBelow ? mark + 14 : mark - 6;
}
