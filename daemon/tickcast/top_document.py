"""What a running instance tells of itself at `/snapshot` and `/stream`, as `tickcast top` reads it.

Beside the way of a tick. Another version may leave things out, or tell more: what is absent is not known.
"""

import msgspec

from tickcast.errors import TickcastError


class Instance(msgspec.Struct):
    """The process."""

    name: str | None = None
    version: str | None = None
    ready: bool = False
    live: bool = False
    status: str | None = None
    remark: str | None = None  # what became of the last reload
    reason: str | None = None  # why it is not ready
    uptime_s: float | None = None


class Model(msgspec.Struct):
    """What answers."""

    name: str | None = None
    version: str | None = None
    family: str | None = None
    provider: str | None = None
    window: float | None = None
    horizons: list[int] = []
    unit: str | None = None


class Totals(msgspec.Struct):
    """Rates of the last moments, and counts since the process started."""

    ticks_per_s: float | None = None
    forecasts_per_s: float | None = None
    lag: float | None = None
    symbols: float | None = None
    partitions: float | None = None
    warming: float | None = None
    skipped: float | None = None
    dead_letters: float | None = None
    expired: float | None = None


class Paths(msgspec.Struct):
    """Which share of the forecasts came by which path."""

    finish: float | None = None
    window: float | None = None
    carried: float | None = None


class Latency(msgspec.Struct):
    """Received -> handed to the producer, of the last moments and before."""

    p50_s: float | None = None
    p99_s: float | None = None
    p999_s: float | None = None
    max_bucket_s: float | None = None
    history: list[tuple[float, float | None, float | None]] = []  # (time_ms, p50_s, p99_s), oldest first


class Quantiles(msgspec.Struct):
    """Of one of the other latencies."""

    p50_s: float | None = None
    p99_s: float | None = None


class EndToEnd(msgspec.Struct):
    """The latencies that reach over other processes."""

    event_to_sent: Quantiles = msgspec.field(default_factory=Quantiles)
    kafka_to_sent: Quantiles = msgspec.field(default_factory=Quantiles)
    handed_to_acknowledged: Quantiles = msgspec.field(default_factory=Quantiles)


class HorizonError(msgspec.Struct):
    """How much smaller than "nothing changes" a horizon's squared error is, of 1; below 0 it is larger."""

    horizon: int
    scored: float | None = None
    relative: float | None = None
    bias: float | None = None  # mean error, as a share of how far the mid moves; above 0 forecasts are too high


class ColumnDrift(msgspec.Struct):
    """How far a raw column is from the training's: its population stability index."""

    column: str
    psi: float | None = None


class SymbolRow(msgspec.Struct):
    """One symbol among many."""

    symbol: str
    mid: float | None = None
    change_share: float | None = None  # of the mid, over the last minute
    forecast: float | None = None  # of the longest horizon
    error: float | None = None  # root mean square, in the model's `target_scale`
    rate: float | None = None  # ticks a second
    age_s: float | None = None


class Fan(msgspec.Struct):
    """A forecast as it was made at a position of the path: changes of the mid, one for each horizon."""

    position: int
    mid: float | None = None
    forecast: list[float | None] = []


class Attention(msgspec.Struct):
    """What the newest forecast leaned on, or why that is not known."""

    weights: list[float] | None = None  # oldest row of the window first
    reason: str | None = None


class Chosen(msgspec.Struct):
    """The symbol that was asked for."""

    symbol: str
    model: int | None = None  # which of `models` answers it
    path: list[tuple[float | None, int, float | None]] = []  # (event_ms, position, mid), oldest first
    fans: list[Fan] = []
    attention: Attention | None = None


class Document(msgspec.Struct):
    """All of it, as of one moment."""

    instance: Instance
    model: Model | None = None  # the first that answers, and
    models: list[Model] = []  # all of them
    totals: Totals = msgspec.field(default_factory=Totals)
    paths: Paths | None = None
    latency: Latency = msgspec.field(default_factory=Latency)
    latency_over_s: float | None = None  # one of these lies somewhere beyond
    end_to_end: EndToEnd = msgspec.field(default_factory=EndToEnd)
    errors: list[HorizonError] = []
    drift: list[ColumnDrift] = []  # the largest first
    symbols: list[SymbolRow] = []
    symbols_matching: int | None = None
    symbol: Chosen | None = None


_DECODER = msgspec.json.Decoder(Document)


def read(text: bytes) -> Document:
    """The document that `text` is. Raises TickcastError where it is none."""
    try:
        return _DECODER.decode(text)
    except (msgspec.DecodeError, RecursionError) as error:
        raise TickcastError(f"what it tells cannot be understood: {error}") from error
