// Numbers as people read them: fixed digits, so that they do not jump, and always with their unit.

const WHOLE = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });
const MINUS = "\u2212";
const DECIMALS_MAX = 8;
export const NONE = "–";

const isKnown = (value) => value !== null && value !== undefined;

export function count(value) {
  return isKnown(value) ? WHOLE.format(value) : NONE;
}

// A rate: with decimals only where it is small.
export function rate(value) {
  if (!isKnown(value)) return NONE;
  return value >= 100 ? WHOLE.format(value) : value.toFixed(1);
}

// Seconds, to three digits and in the unit that suits; of what lies at `over` only that it lies beyond is known.
export function duration(seconds, over = Infinity) {
  if (!isKnown(seconds)) return NONE;
  if (seconds >= over) return `> ${over} s`;
  if (seconds < 0.9995e-3) return `${digits(seconds * 1e6)} µs`;
  if (seconds < 0.9995) return `${digits(seconds * 1e3)} ms`;
  return `${digits(seconds)} s`;
}

function digits(value) {
  return value >= 99.95 ? value.toFixed(0) : value >= 9.995 ? value.toFixed(1) : value.toFixed(2);
}

// How long ago or for how long, coarsely.
export function span(seconds) {
  if (!isKnown(seconds)) return NONE;
  if (seconds < 60) return `${Math.floor(seconds)} s`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min`;
  if (seconds < 86400) return `${Math.floor(seconds / 3600)} h ${Math.floor((seconds % 3600) / 60)} min`;
  return `${Math.floor(seconds / 86400)} d ${Math.floor((seconds % 86400) / 3600)} h`;
}

export function percent(share, decimals = 1) {
  return isKnown(share) ? `${signless(share * 100, decimals)} %` : NONE;
}

export function signedPercent(share, decimals = 1) {
  return isKnown(share) ? `${signed(share * 100, decimals)} %` : NONE;
}

export function fixed(value, decimals) {
  return isKnown(value) ? signless(value, decimals) : NONE;
}

export function signed(value, decimals) {
  if (!isKnown(value)) return NONE;
  const text = Math.abs(value).toFixed(decimals);
  if (Number(text) === 0) return text;
  return (value < 0 ? MINUS : "+") + text;
}

function signless(value, decimals) {
  const text = Math.abs(value).toFixed(decimals);
  return value < 0 && Number(text) !== 0 ? MINUS + text : text;
}

// As many decimals as the values have; what binary fractions add at the end is not counted.
export function decimalsOf(values) {
  let decimals = 0;
  for (const value of values) {
    while (decimals < DECIMALS_MAX && !isWhole(value * 10 ** decimals)) decimals += 1;
  }
  return decimals;
}

function isWhole(value) {
  return Math.abs(value - Math.round(value)) < 1e-6 * Math.max(1, Math.abs(value) * 1e-6);
}

// As many decimals as show two digits of something so large.
export function decimalsFor(size) {
  return size > 0 ? Math.min(DECIMALS_MAX, Math.max(0, 2 - Math.ceil(Math.log10(size)))) : 2;
}

// Time of day, UTC, with milliseconds where asked for.
export function time(milliseconds, withMilliseconds = false) {
  return new Date(milliseconds).toISOString().slice(11, withMilliseconds ? 23 : 19);
}
