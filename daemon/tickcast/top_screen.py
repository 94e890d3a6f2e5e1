"""The whole view of `tickcast top`, line by line: how the instance gets on, its symbols, the chosen one.

Beside the way of a tick: what a terminal shows of it. Fits 80 columns and 24 lines, and uses more where there is more.
"""

import textwrap
from collections.abc import Iterable, Sequence
from itertools import zip_longest

from rich.text import Text

from tickcast import top_symbol, top_table
from tickcast import top_words as words
from tickcast.top_chart import sparkline
from tickcast.top_choice import Choice
from tickcast.top_document import ColumnDrift, Document, HorizonError, Instance, Model, Paths, Quantiles, Totals
from tickcast.top_feed import Look

# From so many columns on the symbol stands beside the table, else below it.
WIDE = 120
TABLE_WIDTH_MAX = 84
GAP = 2
# Of what is left under the numbers, the chosen symbol has so much; the table the rest.
SYMBOL_PART = 0.58
# Where nothing limits the height, as in a pipe.
SYMBOL_LINES = 12
# Of why a reload was refused.
REFUSED_LINES_MAX = 2
# As the alerts have it.
BIAS_MAX, PSI_MAX = 0.1, 0.25
# News comes twice a second.
LATE_S = 2.0
KEYS = "q quit   arrows choose   s sort   / search"
DIM, GOOD, BAD, ALARM = "dim", "green", "yellow", "bold red"


def drawn(look: Look, choice: Choice, width: int, height: int | None = None) -> list[Text]:
    """At most `height` lines, of `width` columns each; without a limit all there is, without the line about keys."""
    document = look.document
    numbers = _numbers(look, width)
    if height is None:
        lines = [*numbers, *top_table.drawn(document, choice, width, None)]
        return lines + top_symbol.drawn(document, choice.symbol, width, SYMBOL_LINES)
    room = max(height - len(numbers) - 1, 0)
    body = _beside(document, choice, width, room) if width >= WIDE else _below(document, choice, width, room)
    lines = [*numbers, *body][: height - 1]
    lines += [Text()] * (height - 1 - len(lines))
    return [*lines, _keys(choice, width)]


def state(instance: Instance) -> tuple[str, str]:
    """How the instance is, in a word, and the word's style."""
    if not instance.live:
        return "HANGS", ALARM
    return ("ready", f"bold {GOOD}") if instance.ready else ("NOT READY", ALARM)


def _below(document: Document, choice: Choice, width: int, room: int) -> list[Text]:
    of_symbol = top_symbol.drawn(document, choice.symbol, width, round(room * SYMBOL_PART))
    return top_table.drawn(document, choice, width, room - len(of_symbol)) + of_symbol


def _beside(document: Document, choice: Choice, width: int, room: int) -> list[Text]:
    left_width = min(width // 2, TABLE_WIDTH_MAX)
    left = top_table.drawn(document, choice, left_width, room)
    right = top_symbol.drawn(document, choice.symbol, width - left_width - GAP, room)
    lines = []
    for table, symbol in zip_longest(left, right, fillvalue=Text()):
        line = table.copy()
        line.pad_right(max(left_width + GAP - line.cell_len, 0))
        lines.append(line.append_text(symbol))
    return lines


def _numbers(look: Look, width: int) -> list[Text]:
    document = look.document
    lines = [
        _title(document.instance, document.model, width),
        *_refused(document.instance, width),
        _status(look, width),
        _rates(document.totals, document.paths),
        *_latency(document, width),
        _others(document),
        _errors(document.errors, width),
        *_fit(document.errors, document.drift),
    ]
    for line in lines:
        line.truncate(width, overflow="ellipsis")
    return lines


def _title(instance: Instance, model: Model | None, width: int) -> Text:
    word, style = state(instance)
    line = Text.assemble((words.plain(instance.name, 24), "bold"), "  ", (word, style), "  ")
    if model is not None:
        said = [
            f"{words.plain(model.name, 24)} {words.plain(model.version, 16)}".strip(),
            words.plain(model.family, 16),
        ]
        said += [words.plain(model.provider, 8), f"window {words.number(model.window)}"]
        line.append(", ".join(filter(None, said)))
    up = f"up {words.age(instance.uptime_s)}  tickcast {words.plain(instance.version, 16)}"
    room = width - line.cell_len - len(up)
    return line.append(f"{' ' * room}{up}", DIM) if room >= 2 else line


def _status(look: Look, width: int) -> Text:
    if look.trouble:
        return Text(words.plain(f"{look.trouble}; trying again; this is {words.age(look.age_s)} old", width), ALARM)
    if look.age_s > LATE_S:
        return Text(f"nothing new for {words.age(look.age_s)}", ALARM)
    instance = look.document.instance
    if instance.reason:
        return Text(words.plain(instance.reason, width), BAD)
    said = [instance.status] if _is_refused(instance) else [instance.status, instance.remark]
    return Text(words.plain("; ".join(filter(None, said)), width), DIM)


def _is_refused(instance: Instance) -> bool:
    return (instance.remark or "").startswith("reload refused")


def _refused(instance: Instance, width: int) -> list[Text]:
    """Somebody waits for a model that will not answer: said before all else, in full where a few lines hold it."""
    if not _is_refused(instance):
        return []
    said = words.plain(words.without_hashes(instance.remark or ""))
    return [Text(line, BAD) for line in textwrap.wrap(said, width, max_lines=REFUSED_LINES_MAX, placeholder="…")]


def _rates(totals: Totals, paths: Paths | None) -> Text:
    shares = {"finish": paths.finish, "window": paths.window, "carried": paths.carried} if paths else {}
    troubles = {"dead letters": totals.dead_letters, "expired": totals.expired}
    return _named(  # what matters least comes last: a narrow terminal cuts it off
        ("ticks", words.per_second(totals.ticks_per_s), ""),
        ("forecasts", words.per_second(totals.forecasts_per_s), ""),
        ("lag", words.number(totals.lag), ""),
        *((name, words.number(value), BAD) for name, value in troubles.items() if value),
        *((name, words.share(value), "") for name, value in shares.items() if value),
        ("symbols", words.number(totals.symbols), ""),
    )


def _latency(document: Document, width: int) -> list[Text]:
    latency, over_s = document.latency, document.latency_over_s
    max_s = latency.max_bucket_s
    if max_s is None and latency.p50_s is not None:  # handed over, and no bound was above all of it
        max_s = over_s
    figures = _named(
        ("received to handed  p50", words.time(latency.p50_s, over_s), "bold"),
        ("p99", words.time(latency.p99_s, over_s), "bold"),
        ("p99.9", words.time(latency.p999_s, over_s), ""),
        ("max", words.time(max_s, over_s), ""),
    )
    room = max((width - len("p50   p99 ")) // 2, 0)
    history = latency.history
    median, tail = (sparkline([entry[at] for entry in history], room) for at in (1, 2))
    return [figures, Text.assemble(("p50 ", DIM), (f"{median:<{room}}", GOOD), ("  p99 ", DIM), (tail, BAD))]


def _others(document: Document) -> Text:
    ways, over_s = document.end_to_end, document.latency_over_s
    return _named(
        ("since event", _pair(ways.event_to_sent, over_s), ""),
        ("since kafka", _pair(ways.kafka_to_sent, over_s), ""),
        ("acked", _pair(ways.handed_to_acknowledged, over_s), ""),
    )


def _errors(errors: Sequence[HorizonError], width: int) -> Text:
    """For as many horizons as there is room for, the first and the last among them."""
    scored = [each for each in errors if each.relative is not None]
    line = Text("better than no change ", DIM)
    if not scored:
        return line.append("nothing scored yet", DIM)
    cells = [(f"+{each.horizon} {each.relative:+.1%}", (each.relative or 0.0) > 0) for each in scored]
    room = (width - line.cell_len) // (max(len(text) for text, _ in cells) + GAP)
    for at in _spread(len(cells), max(room, 1)):
        text, is_better = cells[at]
        line.append(f"{text}{' ' * GAP}", GOOD if is_better else BAD)
    return line


def _fit(errors: Sequence[HorizonError], drift: Sequence[ColumnDrift]) -> list[Text]:
    """What the forecasts err by to one side, at the horizon where it is most; which column drifted most."""
    known = [(each.bias, each.horizon) for each in errors if each.bias is not None]
    figures = []
    if known:
        bias, horizon = max(known, key=lambda each: abs(each[0]))
        figures.append(("bias up to", f"+{horizon} {bias:+.1%}", BAD if abs(bias) > BIAS_MAX else ""))
    if drift and drift[0].psi is not None:
        style = BAD if drift[0].psi > PSI_MAX else ""
        figures.append(("drift up to", f"{words.plain(drift[0].column, 24)} {drift[0].psi:.2f}", style))
    return [_named(*figures)] if figures else []


def _spread(count: int, room: int) -> list[int]:
    """At most `room` of `count` places, evenly, the last one always."""
    if count <= room:
        return list(range(count))
    if room == 1:
        return [count - 1]
    return [round(at * (count - 1) / (room - 1)) for at in range(room)]


def _keys(choice: Choice, width: int) -> Text:
    if choice.typed is not None:
        return Text(words.plain(f"search: {choice.typed}_   enter to search, escape to leave it", width), "reverse")
    searched = f" for {words.plain(choice.search, 20)!r}" if choice.search else ""
    line = Text(f"{KEYS}   sorted by {choice.sort}{searched}", DIM)
    line.truncate(width, overflow="ellipsis")
    return line


def _pair(quantiles: Quantiles, over_s: float | None) -> str:
    return f"{words.time(quantiles.p50_s, over_s)}/{words.time(quantiles.p99_s, over_s)}"


def _named(*figures: tuple[str, str, str]) -> Text:
    """Each name, its figure and the figure's style."""
    parts: Iterable[tuple[str, str]] = (
        part for name, text, style in figures for part in ((f"{name} ", DIM), (f"{text}  ", style))
    )
    return Text.assemble(*parts)
