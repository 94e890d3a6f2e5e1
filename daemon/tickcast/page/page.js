// The page: takes documents from the stream, shows them, and asks for others as the reader wants.

import { AttentionChart, ErrorsChart, LatencyChart, OutcomeChart, PathChart } from "./charts.js";
import { NONE, count, decimalsFor, decimalsOf, duration, fixed, percent, rate, signed, signedPercent, span, time } from "./numbers.js";
import { Stream } from "./stream.js";
import { SymbolTable } from "./table.js";

const STALE_MS = 3000; // a document comes twice a second
const HIDDEN_MS = 30000; // a page that nobody sees gives its place to others after so long
const TYPING_MS = 200;
const SORTS = ["movers", "errors", "rate", "name"];

const at = (id) => document.getElementById(id);
const say = (id, text) => {
  const node = at(id);
  if (node.textContent !== text) node.textContent = text;
};

const view = readView();
let shown = null; // the newest document
let shownAt = 0;
let lost = "";
let decimals = { symbol: null, count: 0 };

const charts = {
  path: new PathChart(at("path-chart")),
  attention: new AttentionChart(at("attention-chart")),
  outcome: new OutcomeChart(at("outcome-chart")),
  latency: new LatencyChart(at("latency-chart")),
  errors: new ErrorsChart(at("errors-chart")),
};
const table = new SymbolTable(at("table"), at("rows"), choose, sortBy);
const stream = new Stream(take, (reason) => {
  lost = reason;
  sayWhetherFresh();
});

// -- what the reader wants

function readView() {
  const query = new URLSearchParams(location.search);
  const sort = query.get("sort");
  return {
    symbol: (query.get("symbol") ?? "").slice(0, 250),
    sort: SORTS.includes(sort) ? sort : "movers",
    search: (query.get("search") ?? "").slice(0, 100),
  };
}

function want(change) {
  Object.assign(view, change);
  history.replaceState(null, "", `?${query()}`);
  stream.open(query);
}

function query() {
  return new URLSearchParams(Object.entries(view).filter(([, value]) => value));
}

function choose(symbol) {
  if (symbol !== view.symbol) want({ symbol });
  table.mark(symbol);
}

function sortBy(sort) {
  want({ sort });
}

let typing = 0;
at("search").value = view.search;
at("search").addEventListener("input", () => {
  clearTimeout(typing);
  typing = setTimeout(() => want({ search: at("search").value }), TYPING_MS);
});

document.addEventListener("keydown", (event) => {
  const isTyping = event.target === at("search");
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.key === "/" && !isTyping) {
    at("search").focus();
    event.preventDefault();
  } else if (event.key === "Escape" && isTyping) {
    if (at("search").value) {
      at("search").value = "";
      want({ search: "" });
    } else {
      at("search").blur();
    }
  } else if (event.key === "ArrowDown" || event.key === "ArrowUp") {
    const symbol = table.beside(view.symbol || shown?.symbol?.symbol, event.key === "ArrowDown" ? 1 : -1);
    if (symbol !== undefined) {
      choose(symbol);
      event.preventDefault();
    }
  } else if (event.key === "Enter" && isTyping) {
    const first = table.first();
    if (first !== undefined) choose(first);
  }
});

let hiding = 0;
document.addEventListener("visibilitychange", () => {
  clearTimeout(hiding);
  if (document.hidden) hiding = setTimeout(() => stream.close(), HIDDEN_MS);
  else if (performance.now() - shownAt > STALE_MS) want({});
});

// -- what is shown

function take(document_) {
  shown = document_;
  shownAt = performance.now();
  lost = "";
  if (!view.symbol && shown.symbol) view.symbol = shown.symbol.symbol; // stays, whatever becomes the busiest
  requestAnimationFrame(show);
}

function show() {
  if (shown === null) return;
  sayWhetherFresh();
  showState(shown);
  showReadouts(shown);
  showSymbol(shown);
  showFates(shown);
  showFit(shown);
  charts.latency.show({ history: shown.latency.history, now: shown.instance.now_ms });
  charts.errors.show({ errors: shown.errors });
  table.show(shown, view);
}

function sayWhetherFresh() {
  const age = (performance.now() - shownAt) / 1000;
  const isStale = lost !== "" || (shown !== null && age * 1000 > STALE_MS);
  const was = shown === null ? "Nothing has been shown yet." : `What is shown is of ${time(shown.instance.now_ms)} UTC.`;
  at("notice").hidden = !isStale;
  at("main").classList.toggle("stale", isStale);
  if (isStale) {
    say("notice", `Not live: ${lost || "nothing comes"}. ${was} Trying again.`);
    at("state").dataset.is = "unknown";
    say("state-word", "not connected");
    say("state-remark", "");
    say("state-reason", shown === null ? "" : `for ${span(age)}`);
  }
}

function showState({ instance, models }) {
  if (lost) return;
  at("state").dataset.is = instance.ready ? "ready" : "hindered";
  say("state-word", instance.ready ? "ready" : instance.live ? "not ready" : "not live");
  const reason = instance.ready ? instance.status : instance.reason || instance.status;
  const isRefused = instance.remark.startsWith("reload refused");
  at("state").classList.toggle("refused", isRefused);
  at("state").title = [reason, instance.remark].filter(Boolean).join("; ");
  say("state-remark", isRefused ? withoutHashes(instance.remark) : "");
  say("state-reason", isRefused ? reason : [reason, instance.remark].filter(Boolean).join("; "));
  say("instance", instance.name);
  const [model] = models;
  say("model", model ? (models.length > 1 ? `${count(models.length)} bundles` : nameOf(model)) : "none answers yet");
  at("model").title = models.map((each) => `${nameOf(each)}: ${each.family}, window ${each.window}, sha256 ${each.sha256}`).join("\n");
  say("provider", model ? model.provider.replace("ExecutionProvider", "") : NONE);
  say("uptime", span(instance.uptime_s));
  const title = `${instance.ready ? "" : "! "}${instance.name || "tickcast"}${instance.name ? " · tickcast" : ""}`;
  if (document.title !== title) document.title = title;
}

function nameOf(model) {
  return `${model.name} ${model.version} · ${model.sha256.slice(0, 8)}`;
}

function withoutHashes(text) {
  return text.replace(/\b[0-9a-f]{32,}\b/g, (hash) => `${hash.slice(0, 8)}…`);
}

function showReadouts({ totals, latency, latency_over_s: over, end_to_end }) {
  say("ticks-rate", rate(totals.ticks_per_s));
  say("forecasts-rate", rate(totals.forecasts_per_s));
  say("lag", count(totals.lag));
  say("p50", duration(latency.p50_s, over));
  say("p99", duration(latency.p99_s, over));
  say("p999", duration(latency.p999_s, over));
  say("symbols-count", count(totals.symbols));
  say("partitions", count(totals.partitions));
  for (const [name, quantiles] of Object.entries({ handed: latency, ...end_to_end })) {
    say(`${name}-p50`, duration(quantiles.p50_s, over));
    say(`${name}-p99`, duration(quantiles.p99_s, over));
  }
}

// What the forecasts err by to one side, at the horizon where it is most; which raw column is farthest from the training's.
function showFit({ errors, drift }) {
  const biased = errors.filter(({ bias }) => bias !== null).sort((one, other) => Math.abs(other.bias) - Math.abs(one.bias))[0];
  const bias = biased && `bias up to ${signedPercent(biased.bias)} of a typical move, ${biased.horizon} ahead`;
  const drifted = drift[0] && `drift up to ${fixed(drift[0].psi, 2)}, ${drift[0].column}`;
  say("fit", [bias, drifted].filter(Boolean).join("; "));
}

function showFates({ totals, paths }) {
  for (const name of ["ticks", "forecasts", "warming", "skipped", "expired"]) say(name, count(totals[name]));
  say("dead-letters", count(totals.dead_letters));
  const used = Object.entries(paths ?? {}).filter(([, share]) => share > 0);
  const answered = used.length ? `By ${used.map(([path, share]) => `${path} ${percent(share, 0)}`).join(", ")}.` : "";
  say("paths", totals.lost ? `${answered} This page missed ${count(totals.lost)} ticks: more came than it could read.` : answered);
}

function showSymbol({ symbol, models, totals, symbols, instance }) {
  const model = models[symbol?.model ?? 0];
  const last = symbol?.last;
  const message = emptyMessage(symbol, model, totals);
  const places = decimalsOfPath(symbol);
  const row = symbols.find((each) => each.symbol === symbol?.symbol);
  const ahead = model ? model.horizons.at(-1) : 0;
  const unit = model?.unit === "price" ? "" : ` ${model?.unit ?? ""}`;
  say("symbol-name", symbol?.symbol ?? NONE);
  at("symbol-model").parentElement.hidden = models.length < 2;
  say("symbol-model", last && model ? nameOf(model) : NONE);
  say("symbol-mid", last ? fixed(last.mid, places) : NONE);
  say("symbol-ahead-name", `forecast, ${ahead} ticks on`);
  say("symbol-ahead", last?.forecast.length ? signed(last.forecast.at(-1), decimalsFor(model.target_scale)) + unit : NONE);
  const isSame = models.every((each) => each.horizons.at(-1) === ahead);
  say("table-ahead", isSame ? `+${ahead} ticks` : "longest");
  say("symbol-age", last ? `${span(Math.max(0, (instance.now_ms - last.received_ms) / 1000))} ago` : NONE);
  say("symbol-relative", relativeOf(symbol, row));
  say("path-text", spoken(symbol, model, places, ahead));
  charts.path.show({ symbol, model, decimals: places, message });
  showAttention(symbol, model);
  const scored = symbol?.scored;
  say("outcome-title", scored ? `Change over ${scored.horizon} ticks` : "Forecast and what happened");
  charts.outcome.show({ symbol, model, message: last ? (scored ? "" : outcomeMessage(model)) : NONE });
  table.mark(symbol?.symbol);
}

function emptyMessage(symbol, model, totals) {
  if (symbol?.last) return "";
  if (!model) return "No model answers yet: the daemon is starting.";
  if (symbol) return "No tick of this symbol has filled its window here.";
  if (!totals.ticks) return "No ticks yet.";
  if (!totals.forecasts) return `Warming: ${count(totals.ticks)} ticks so far; a forecast needs ${model.window} of one symbol.`;
  return "No tick has come since this page's memory began.";
}

function outcomeMessage(model) {
  return `Not compared: no horizon is shorter than the window (${model.window}).`;
}

// How the forecasts on the chart turned out.
function relativeOf(symbol, row) {
  const points = symbol?.scored?.points ?? [];
  let squared = 0;
  let persistence = 0;
  for (const [, forecast, happened] of points) {
    squared += (forecast - happened) ** 2;
    persistence += happened ** 2;
  }
  const relative = persistence > 0 ? 1 - squared / persistence : (row?.relative ?? null);
  if (relative === null) return NONE;
  return `${signedPercent(relative, 0)} ${relative < 0 ? "worse" : "better"}`.replace(/^[+\u2212]/, "") + " than no change";
}

function showAttention(symbol, model) {
  const told = symbol?.attention;
  let message = "";
  if (!symbol?.last) message = NONE;
  else if (!model.attention) message = "This model has no attention.";
  else if (!told) message = "asked for, not answered yet";
  else if (!told.weights) message = told.reason;
  charts.attention.show({ symbol, model, message });
  if (message) {
    say("attention-text", "");
    charts.attention.label(message);
    return;
  }
  const most = told.weights.indexOf(Math.max(...told.weights));
  const back = told.weights.length - 1 - most;
  const text = `most on ${back ? `the tick ${back} before its newest` : "its newest tick"}: ${percent(told.weights[most])}`;
  say("attention-text", text);
  charts.attention.label(`Attention over ${told.weights.length} ticks; ${text}`);
}

// They only grow while a symbol is shown.
function decimalsOfPath(symbol) {
  if (symbol?.symbol !== decimals.symbol) decimals = { symbol: symbol?.symbol, count: 0 };
  const mids = (symbol?.path ?? []).slice(-80).map(([, , mid]) => mid).filter((mid) => mid !== null);
  decimals.count = Math.max(decimals.count, decimalsOf(mids));
  return decimals.count;
}

function spoken(symbol, model, places, ahead) {
  const last = symbol?.last;
  if (!last) return "";
  const forecast = last.forecast.length ? signed(last.forecast.at(-1), decimalsFor(model.target_scale)) : "none";
  const text = `${symbol.symbol}: last mid ${fixed(last.mid, places)}, forecast for ${ahead} ticks ahead ${forecast}.`;
  charts.path.label(text);
  return text;
}

setInterval(sayWhetherFresh, 1000);
want({});
