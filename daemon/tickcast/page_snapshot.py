"""The page's document: everything that it shows at one moment, as plain JSON values.

Beside the way of a tick, in the process that serves. Numbers are None where they are not known; times of day are
milliseconds, durations seconds. A latency of `latency_over_s` lies somewhere beyond it.
"""

import json
from collections.abc import Callable
from typing import Any

from tickcast import __version__, page_errors
from tickcast.board_looks import LATENCY
from tickcast.clock import Clock
from tickcast.health import Health
from tickcast.metrics import BOUNDS_S
from tickcast.page_feed import Feed, Watch
from tickcast.page_state import State
from tickcast.page_symbol import symbol_of
from tickcast.page_table import row
from tickcast.page_view import View
from tickcast.rates import Interval, max_bound_s, quantile_s

END_TO_END = ("event_to_sent", "kafka_to_sent", "handed_to_acknowledged")


class Snapshots:
    """Makes documents. Thread-safe: each viewer's thread makes its own."""

    def __init__(self, feed: Feed, health: Health, name: str, clock: Clock) -> None:
        """`name` is the instance's."""
        self._feed = feed
        self._health = health
        self._name = name
        self._clock = clock

    def encoded(self, view: View) -> tuple[bytes, View]:
        """The document as JSON on one line, and the view with the symbol that was chosen where none was."""
        document = self.document(view)
        shown = document["symbol"]
        blob = json.dumps(document, separators=(",", ":"), allow_nan=False).encode()
        return blob, view if view.symbol or shown is None else view._replace(symbol=shown["symbol"])

    def document(self, view: View) -> dict[str, Any]:
        """Everything, as it is now."""
        watch = self._feed.watch()
        now_s, wall_ns = self._clock.monotonic_ns() / 1e9, self._clock.wall_ns()
        recent, far = watch.looks.recent, watch.looks.far
        _, answer = self._health.ready()
        state = State.of(answer)
        rows = watch.table.rows(watch.histories, view.sort, view.search, view.limit, now_s, wall_ns)
        chosen = view.symbol or _busiest(watch, now_s, wall_ns)
        return {
            "instance": self._instance(recent, wall_ns, answer, state),
            "model": watch.models[0] if watch.models else None,
            "models": watch.models,
            "totals": {**_totals(recent, state), "followed": len(watch.histories()), "lost": watch.lost},
            "paths": _shares(recent.increases("tickcast_forecasts_total", "path")) if recent else None,
            "latency": {**_latency(recent), "history": watch.looks.latencies},
            "latency_over_s": BOUNDS_S[-1],
            "end_to_end": {name: _quantiles(recent, f"tickcast_{name}_seconds") for name in END_TO_END},
            "errors": page_errors.errors(far) if far else [],
            "drift": page_errors.drift(far.after) if far else [],
            "symbols": [row(each, watch.model_of(each), wall_ns) for each in rows.shown],
            "symbols_matching": rows.matching,
            "symbol": symbol_of(watch, chosen, wall_ns) if chosen else None,
        }

    def _instance(self, recent: Interval | None, wall_ns: int, answer: dict[str, Any], state: State) -> dict[str, Any]:
        started_s = recent.after.total("tickcast_start_time_seconds") if recent else None
        return {
            "name": self._name,
            "version": __version__,
            "ready": answer["ready"],
            "live": answer["live"],
            "status": state.status,
            "remark": state.remark,
            "reason": state.reason,
            "uptime_s": None if started_s is None else round(wall_ns / 1e9 - started_s, 1),
            "now_ms": wall_ns // 1_000_000,
        }


def _busiest(watch: Watch, now_s: float, wall_ns: int) -> str:
    return next((each.symbol for each in watch.table.rows(watch.histories, "rate", "", 1, now_s, wall_ns).shown), "")


# name in the document -> how it is had from the last seconds.
_TOTALS: dict[str, Callable[[Interval], float | None]] = {
    "ticks_per_s": lambda recent: recent.per_s("tickcast_ticks_processed_total"),
    "forecasts_per_s": lambda recent: recent.per_s("tickcast_forecasts_total"),
    "lag": lambda recent: recent.after.total("tickcast_lag_records"),
    "symbols": lambda recent: recent.after.total("tickcast_symbols"),
    "partitions": lambda recent: len(recent.after.series("tickcast_position_offset")),
    "ticks": lambda recent: recent.after.total("tickcast_ticks_processed_total"),
    "forecasts": lambda recent: recent.after.total("tickcast_forecasts_total"),
    "warming": lambda recent: recent.after.total("tickcast_warming_ticks_total"),
    "skipped": lambda recent: recent.after.total("tickcast_skipped_ticks_total"),
    "dead_letters": lambda recent: recent.after.total("tickcast_dead_letters_total"),
    "expired": lambda recent: recent.after.total("tickcast_forecasts_expired_total"),
}


def _totals(recent: Interval | None, state: State) -> dict[str, float | None]:
    totals = {name: None if recent is None else have(recent) for name, have in _TOTALS.items()}
    return totals if state.knows_lag else totals | {"lag": None}


def _shares(counts: dict[str, float]) -> dict[str, float] | None:
    total = sum(counts.values())
    return {name: count / total for name, count in counts.items()} if total else None


def _latency(recent: Interval | None) -> dict[str, float | None]:
    counts = recent.counts(LATENCY) if recent else []
    return {
        "p50_s": quantile_s(counts, 0.5),
        "p99_s": quantile_s(counts, 0.99),
        "p999_s": quantile_s(counts, 0.999),
        "max_bucket_s": max_bound_s(counts),
    }


def _quantiles(recent: Interval | None, name: str) -> dict[str, float | None]:
    counts = recent.counts(name) if recent else []
    return {"p50_s": quantile_s(counts, 0.5), "p99_s": quantile_s(counts, 0.99)}
