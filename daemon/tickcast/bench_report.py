"""The report of `tickcast bench engine` for a person at a terminal.

Beside the way of a tick: what the benches say about it.
"""

from collections.abc import Iterator
from typing import Any

from rich.console import Console

from tickcast.bench_percentiles import HEADER, duration
from tickcast.bench_summary import OTHER, PATHS, STAGES, WAIT, Report
from tickcast.bench_table import rate, share, table

PERCENTILES = ("p50", "p90", "p99", "p999", "max")
# What each stage of a turn is, beside the name of its metric.
STAGE_TEXTS = {WAIT: "scheduled -> in hand", OTHER: "other"}


def show(console: Console, report: Report) -> None:
    """Print all of it."""
    for line in _opening(report):
        console.print(line, highlight=False, soft_wrap=True)
    for subject in report["subjects"]:
        console.print()
        console.print(f"{subject['name']}, provider {subject['provider']}", style="bold cyan", highlight=False)
        if subject["provider_reason"]:
            console.print(f"no better provider: {subject['provider_reason']}", style="dim", highlight=False)
        if "watched" in subject:
            console.print(_watched(subject, report["load"]))
            for line in _watched_lines(subject["watched"], report["load"]["rounds"]):
                console.print(line, highlight=False, soft_wrap=True)
            continue
        if "beside" in subject:
            for part in _beside(subject["beside"], report["load"]):
                console.print(part, highlight=False, soft_wrap=True)
            continue
        if "paced" in subject:
            console.print(_critical(subject, report["load"]))
            console.print(_stages(subject))
        for line in _lines(subject):
            console.print(line, highlight=False, soft_wrap=True)
    if len(report["subjects"]) > 1 and not {"watched", "beside"} & report["subjects"][0].keys():
        console.print()
        console.print(_compared(report["subjects"]))
    if report["warning"]:
        console.print(report["warning"], style="yellow", highlight=False, soft_wrap=True)


def _opening(report: Report) -> Iterator[str]:
    machine, load = report["machine"], report["load"]
    yield f"{machine['cpu']}, {machine['cores']} cores, load {machine['load_1m']:.2f} before"
    yield from machine["gpus"]
    threads = load["threads"]
    yield (
        f"tickcast {machine['tickcast']}, onnxruntime {machine['onnxruntime']}, Python {machine['python']}; "
        f"{threads} thread{'s' if threads > 1 else ''} for a graph's run"
    )
    yield f"ticks: {load['ticks']}"


def _critical(subject: Report, load: Report) -> Any:
    rows = list(_path_rows("", subject["paced"]))
    rows += [("window path alone", *_window_only(subject))]
    single, plain = subject["one_by_one"], subject["plain"]
    rows.append(("plain run, same arrivals", "", *_texts(plain["paced"])))
    finish = (share(single["share"]["finish"]), *_texts(single["critical"]["finish"]))
    rows.append(("finish path, back to back", *finish))
    rows.append(("plain run, back to back", "", *_texts(plain["at_once"])))
    if "keras_predict" in subject:
        rows.append(("Keras predict, the same", "", *_texts(subject["keras_predict"])))
    title = f"Scheduled arrival -> forecast at the producer; {load['arrivals']}"
    return table(title, ("", "share", "ticks", *HEADER), rows)


def _path_rows(prefix: str, paced: Report) -> Iterator[tuple[str, ...]]:
    critical = paced["critical"]
    yield (f"{prefix}all", share(1.0), *_texts(critical["all"]))
    for path in PATHS:
        yield (f"{prefix}  {path} path", share(paced["share"][path]), *_texts(critical[path]))


def _window_only(subject: Report) -> tuple[str, ...]:
    paced = subject["window_only"]
    return (share(paced["share"]["window"]), *_texts(paced["critical"]["window"]))


def _stages(subject: Report) -> Any:
    finish, window = subject["paced"]["stages"]["finish"], subject["window_only"]["stages"]["window"]
    single = subject["one_by_one"]["stages"]["finish"]
    rows = [
        (
            STAGE_TEXTS.get(stage, stage),
            _time(finish[stage], "p50"),
            _time(finish[stage], "p99"),
            _time(single[stage], "p50"),
            _time(window[stage], "p50"),
            _time(window[stage], "p99"),
        )
        for stage in (WAIT, *STAGES, OTHER)
    ]
    title = "Where it goes, by turns of the loop that took one path only"
    return table(title, ("stage", "finish p50", "p99", "back to back", "window p50", "p99"), rows)


def _watched(subject: Report, load: Report) -> Any:
    watched = subject["watched"]
    names = {"alone": "nobody watching", "watched": "scrapes and an open page"}
    rows = [(text, share(watched[key]["share_finish"]), *_texts(watched[key])) for key, text in names.items()]
    title = f"Scheduled arrival -> forecast at the producer; {load['arrivals']}"
    return table(title, ("", "finish", "ticks", *HEADER), rows)


def _watched_lines(watched: Report, rounds: int) -> Iterator[str]:
    scrapes, documents = (watched[key]["median"] for key in ("scrapes_per_s", "documents_per_s"))
    yield f"Watched: {scrapes:.1f} scrapes a second, and a page that is told {documents:.1f} times a second"
    for name in ("p50", "p99"):
        alone, seen = (watched[key][f"{name}_us_of_rounds"]["median"] / 1e6 for key in ("alone", "watched"))
        yield (
            f"{name}, median of {rounds} rounds: {duration(alone)} alone, {duration(seen)} watched; "
            f"watched to alone {_ratio(watched[f'{name}_ratio'])}{_interval(watched[f'{name}_ratio'])}"
        )
    yield f"p99 of a round alone to that of the one before: {_ratio(watched['p99_ratio_alone'])}"


def _beside(beside: Report, load: Report) -> Iterator[Any]:
    if "paced" in beside:
        paced = beside["paced"]
        names = {"alone": "alone", "beside": f"with {beside['what']}"}
        rows = [(text, share(paced[key]["share_finish"]), *_texts(paced[key])) for key, text in names.items()]
        yield table(
            f"Scheduled arrival -> forecast at the producer; {load['arrivals']}", ("", "finish", "ticks", *HEADER), rows
        )
        for name in ("p50", "p99"):
            ratio = paced[f"{name}_ratio"]
            yield f"{name} with {beside['what']} to alone, {load['rounds']} rounds: {_ratio(ratio)}{_interval(ratio)}"
        yield f"p99 of a round alone to that of the one before: {_ratio(paced['p99_ratio_alone'])}"
        if beside["shadow"]:
            yield f"the shadow answered {share(paced['shadow_answered'])} of these ticks"
    saturated = beside["saturated"]
    if saturated:
        alone, with_it = saturated["alone_ticks_per_s"], saturated["beside_ticks_per_s"]
        yield f"Saturated: {_rate(alone)} alone, {_rate(with_it)} with {beside['what']}"
        yield f"  ticks a second with it to alone: {_ratio(saturated['ratio'])}{_interval(saturated['ratio'])}"
        if beside["shadow"]:
            yield f"  the shadow answered {share(saturated['shadow_answered'])} of these ticks and dropped the others"


def _interval(ratio: Report) -> str:
    return f"; the median lies in {ratio['low']:.2f} to {ratio['high']:.2f} (95 %)" if ratio["low"] else ""


def _lines(subject: Report) -> Iterator[str]:
    saturated = subject["saturated"]
    if saturated:
        yield (
            f"Saturated: {_rate(saturated['ticks_per_s'])}, {saturated['us_per_tick']['median']:.1f} us a tick; of "
            f"{saturated['ticks']:,} finish {share(saturated['share']['finish'])}, "
            f"window {share(saturated['share']['window'])}"
        )
        if "plain_runs_per_s" in saturated:
            times = saturated["ticks_per_s"]["median"] / saturated["plain_runs_per_s"]["median"]
            yield f"  plain session.run, a window each: {_rate(saturated['plain_runs_per_s'])}: {times:.2f} times that"
        if "cpu_us_per_tick" in saturated:
            cpu = saturated["cpu_us_per_tick"]
            yield (
                f"  processor time a tick: {cpu['inside_onnxruntime']['median']:.1f} us inside onnxruntime, "
                f"{cpu['outside_onnxruntime']['median']:.1f} us outside"
            )
    yield from _work_lines(subject)
    memory = subject["memory"]
    if memory:
        yield (
            f"Memory a symbol: {memory['bytes_per_symbol']:,} bytes, of which {memory['beside_window_bytes']:,} "
            f"beside its window's {memory['window_bytes']:,}"
        )
    if "finish_to_plain" in subject:
        yield from _ratio_lines(subject)


def _work_lines(subject: Report) -> Iterator[str]:
    flops, saturated = subject["flops"], subject["saturated"]
    finish = f"finish {_operations(flops['finish'])} (and prefix {_operations(flops['prefix'])} before), "
    yield f"Work a tick: {finish if flops['finish'] else ''}window {_operations(flops['window'])}"
    if saturated:
        inside = saturated.get("share_of_peak_inside_onnxruntime")
        yield (
            f"  saturated: {saturated['flops_per_s']['median'] / 1e9:.1f} GFLOP/s, "
            f"{share(saturated['share_of_peak'])} of this machine's float32 product "
            f"({saturated['peak_flops_per_s']['median'] / 1e9:.0f} GFLOP/s)"
            + (f"; {share(inside)} while inside onnxruntime" if inside is not None else "")
        )


def _ratio_lines(subject: Report) -> Iterator[str]:
    ratios = subject["finish_to_plain"]
    texts = [f"{_ratio(ratios[key])} {key.replace('_', ' ')}" for key in ("same_arrivals", "back_to_back")]
    yield f"Finish path's p50 to a plain run's: {', '.join(texts)}"
    yield f"p99 to p50 of all ticks: {subject['paced']['p99_to_p50']}"


def _compared(subjects: list[Report]) -> Any:
    """Each subject to the first one."""
    first = subjects[0]
    rows = []
    for subject in subjects:
        cells = [subject["name"]]
        for paths in (("paced", "critical", "finish", "p50_us"), ("saturated", "us_per_tick", "median")):
            value, base = _found(subject, paths), _found(first, paths)
            cells += [duration(value / 1e6), f"{value / base:.2f}"] if value and base else ["-", "-"]
        rows.append(cells)
    return table("Side by side", ("", "finish p50", "to first", "saturated, a tick", "to first"), rows)


def _found(report: Report, keys: tuple[str, ...]) -> Any:
    value: Any = report
    for key in keys:
        value = value.get(key) if value else None
    return value


def _texts(times: Report) -> list[str]:
    return [f"{times['count']:,}", *(_time(times, name) for name in PERCENTILES)]


def _time(times: Report, name: str) -> str:
    return duration(times[f"{name}_us"] / 1e6) if times["count"] else "-"


def _rate(spread: Report) -> str:
    return f"{rate(spread['median'])} ({rate(spread['least'])} to {rate(spread['most'])})"


def _ratio(spread: Report) -> str:
    if spread["median"] is None:
        return "none"
    return f"{spread['median']:.2f} ({spread['least']:.2f} to {spread['most']:.2f})"


def _operations(flops: int) -> str:
    return f"{flops / 1e6:.3g} MFLOP"
