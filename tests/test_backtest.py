"""Backtests: the forecasts of the loop, from a file; counted, scored and written whole or not at all."""

import csv
import json
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace

import backtests
import numpy as np
import pytest
from backtests import COLUMNS, answered_here, settings_with, ticks_of, toy
from exported import HORIZONS, RULES, Exported
from factories import manifest_with
from hypothesis import given, settings
from memory_client import MemoryClient, MemoryCluster
from numpy.typing import NDArray
from pipelines import Line, config_with
from tickcast import backtest, backtest_answers, backtest_output, bundle, cli, records, tick_files
from tickcast.backtest_rules import Rules
from tickcast.backtest_scores import BacktestScores
from tickcast.bench_line import resident_bytes
from tickcast.bindings import Array, PlainGraph
from tickcast.clients import Partition
from tickcast.config import Config, InputConfig, ModelConfig, RecoveryConfig
from tickcast.errors import BundleError, UsageError
from tickcast.manifest import WindowRules
from tickcast.replay import Encoder
from tickcast.tick_columns import TickColumns
from tickcast.tick_files import Ticks
from tickcast.windows import Tick
from tickcast_export.simulator import simulate
from toy_engine import ToyEngine

INPUT = Partition("ticks", 0)
MEMORY_BYTES_MAX = 20 << 20
EXAMPLE = Path(__file__).parents[1] / "systemd" / "example.toml"


def of_the_loop(window_rules: WindowRules, config: Config, ticks: Ticks) -> tuple[list[tuple[object, ...]], float]:
    """Offset, symbol, event time and values of each forecast, and how many dead letters there are."""
    cluster = MemoryCluster()
    for tick in ticks:
        cluster.append(INPUT, Encoder(COLUMNS).encode(tick), tick.symbol.encode())
    client = MemoryClient(cluster, [INPUT])
    line = Line(config, client, toy(window_rules))  # type: ignore[arg-type]
    line.turn()
    line.close()
    sent = [records.decode(value) for topic, value, _, _ in client.sent if topic == "forecasts" and value]
    found = sorted((each.offset, each.symbol, each.event_time_ns, each.forecast) for each in sent)
    return found, sum(topic == "dead-letters" for topic, *_ in client.sent)


@settings(max_examples=40, deadline=None)
@given(backtests.steps, backtests.rules, backtests.market_rules)
def test_forecasts_and_fates_are_those_of_the_loop(steps, window_rules, market_rules) -> None:
    ticks, limits = ticks_of(steps), RecoveryConfig(replay_records_max=25, max_symbols=1)
    config = settings_with(input=InputConfig(**market_rules), recovery=limits)
    live = config_with(input=market_rules, recovery=limits.model_dump(), inference={"finish_path": False})
    wanted, dead_letters = of_the_loop(window_rules, live, ticks)
    answered, fates = answered_here(toy(window_rules), config, ticks)
    columns = (answered.offsets, answered.symbols, answered.event_time_ns, answered.forecasts)
    assert list(zip(*(column.tolist() for column in columns), strict=True)) == wanted
    asked = answered.symbols == "A"
    np.testing.assert_allclose(answered.attention[asked].sum(axis=1), 1, rtol=1e-6)
    assert np.isnan(answered.attention[~asked]).all()
    assert sum(fates.values()) == len(ticks)
    assert (fates.get("forecast", 0), fates.get("dead_letter", 0)) == (len(wanted), dead_letters)


def test_symbols_without_a_model_are_counted_and_not_answered() -> None:
    ticks = ticks_of([(symbol, 0, 1, 2) for symbol in (0, 1) for _ in range(6)])
    config = settings_with(models=(ModelConfig(bundle=Path("bundle"), symbols=("A*",)),))
    answered, fates = answered_here(toy(WindowRules(window=2)), config, ticks)
    assert set(answered.symbols) == {"A"}
    assert fates == {"forecast": 3, "warming": 3, "no_model": 6}


def test_of_several_bundles_the_earlier_ones_take_their_symbols_first(tmp_path: Path) -> None:
    entries = [{"bundle": "a", "symbols": ("A",)}, {"bundle": tmp_path}]
    config = backtest.settings(tmp_path, config_with(models=entries), threads=1)
    rules = Rules(config, manifest_with(rules=WindowRules(window=2), symbols=("B", "C")))
    ticks = [Tick(offset, symbol, offset, (1.0, 2.0)) for offset, symbol in enumerate("AABCD")]
    assert rules.rows(ticks) == []
    assert rules.fates == {"no_model": 2, "warming": 2, "untrained": 1}
    config = backtest.settings(tmp_path, config, untrained=True, threads=1)
    rules = Rules(config, manifest_with(rules=WindowRules(window=2), symbols=("B", "C")))
    assert rules.rows(ticks) == []
    assert rules.fates == {"no_model": 2, "warming": 3}


class Sunk:
    """A writer into memory."""

    def __init__(self) -> None:
        self.offsets: list[int] = []

    def write(self, answered: backtest_answers.Answered) -> None:
        self.offsets += answered.offsets.tolist()

    def close(self) -> None:
        """Nothing is held back."""


class Overflowing(ToyEngine):
    """Answers with infinity what float32 does not hold."""

    def window(self, rows: NDArray[np.float32]) -> NDArray[np.float32]:
        with np.errstate(over="ignore"):
            return super().window(rows)


def test_an_answer_that_is_not_finite_counts_as_a_dead_letter_and_is_not_written() -> None:
    ticks = ticks_of([(0, 0, 1, 2)] * 12)
    ticks.values[6] = 1e38  # in a row with weight in two windows, and with less in a third
    engine, sunk = Overflowing(WindowRules(window=2), COLUMNS, splits=False), Sunk()
    with closing(backtest.LocalEngine(engine, settings_with())) as local:  # type: ignore[arg-type]
        scores = BacktestScores(engine.bundle.manifest)
        summary = backtest.run(backtests.parts_of(ticks, 5), local, sunk, scores, lambda done: None)
    assert sunk.offsets == [3, 4, 5, 8, 9, 10, 11]
    assert summary.fates == Counter(forecast=7, warming=3, dead_letter=2)
    assert summary.text().startswith("12 ticks: 7 forecasts, 3 warming, 2 dead letters; ")


def test_a_forecast_has_the_same_bits_whatever_windows_share_its_run(exported, monkeypatch: pytest.MonkeyPatch) -> None:
    loaded = bundle.load(exported("additive").bundle)
    config = backtest.settings(loaded.folder, None, provider="cpu", threads=1)
    engine = backtest_answers.steady(loaded, config.inference)
    shape = (150, loaded.manifest.rules.window, loaded.manifest.features)
    rows = np.random.default_rng(1).normal(size=shape).astype(np.float32)
    whole = engine.window(rows)
    runs: list[int] = []
    run = PlainGraph.run

    def watched(graph: PlainGraph, count: int, given: Mapping[str, Array]) -> list[Array]:
        runs.append(count)
        return run(graph, count, given)

    monkeypatch.setattr(PlainGraph, "run", watched)
    for size in (1, 2, 3, 31, 64, 65):
        parts = [engine.window(rows[at : at + size]) for at in range(0, len(rows), size)]
        np.testing.assert_array_equal(np.concatenate(parts), whole, f"runs of {size}")
    assert min(runs) == 2


@pytest.fixture
def ticks_file(tmp_path: Path) -> Path:
    """Two symbols, in the columns of some exchange."""
    ticks = simulate(600, symbols=2)
    lines = [
        f"{tick.symbol},{tick.event_time_ns // 1_000},{','.join(f'{value:.15g}' for value in tick.values)}"
        for tick in ticks
    ]
    path = tmp_path / "ticks.csv"
    path.write_text("\n".join(["s,ts_us,bid,ask,BidQty,ask_qty", *lines]) + "\n")
    return path


def backtested(capsys: pytest.CaptureFixture[str], *arguments: object) -> str:
    with pytest.raises(SystemExit) as ended:
        cli.main(["backtest", *map(str, arguments)])
    printed = capsys.readouterr()
    assert ended.value.code == 0, printed.err
    return printed.out


def test_the_command_writes_every_format_alike_and_prints_scores(
    exported: Callable[[str], Exported], ticks_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    parquet = pytest.importorskip("pyarrow.parquet", reason="pyarrow is not installed")
    folder = exported("additive").bundle
    given = (ticks_file, "--bundle", folder, "--map", "bid_size=BidQty", "--limit", 500)
    printed = backtested(capsys, *given, "--out", tmp_path / "f.csv")
    assert "event_time=ts_us (us)" in printed
    assert "500 ticks: 466 forecasts, 34 warming, 0 dead letters" in printed
    rows = list(csv.DictReader((tmp_path / "f.csv").read_text().splitlines()))
    assert list(rows[0]) == ["symbol", "event_time_ns", "offset", "reference_mid", *(f"h{h}" for h in HORIZONS)]
    assert "below persistence" in printed
    assert f"{len(rows) - 2 * HORIZONS[-1]:,}" in printed  # of each symbol the last ones await their tick
    backtested(capsys, *given, "--out", tmp_path / "f.parquet")
    table = parquet.read_table(tmp_path / "f.parquet")
    assert table.column_names == list(rows[0])
    for name, kind in (("event_time_ns", int), ("offset", int), ("reference_mid", float), ("h1", np.float32)):
        assert table[name].to_pylist() == [kind(row[name]) for row in rows], name
    assert table["symbol"].to_pylist() == [row["symbol"] for row in rows]
    assert bundle.load(folder).sha256.encode() in table.schema.metadata[b"tickcast"]


def test_what_forecasts_lean_on_is_a_column_when_asked_for(
    exported: Callable[[str], Exported], ticks_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "f.csv"
    given = (ticks_file, "--map", "bid_size=BidQty", "--out", out, "--limit", 200)
    backtested(capsys, *given, "--bundle", exported("additive").bundle, "--attention", "*1")
    rows = list(csv.DictReader(out.read_text().splitlines()))
    assert {row["symbol"] for row in rows if row["attention"]} == {
        row["symbol"] for row in rows if row["symbol"][-1] == "1"
    }
    for row in rows:
        if row["attention"]:
            weights = json.loads(row["attention"])
            assert len(weights) == RULES.window
            assert sum(weights) == pytest.approx(1, abs=1e-6)
    with pytest.raises(SystemExit) as ended:
        cli.main(["backtest", *map(str, given), "--bundle", str(exported("stacked").bundle), "--attention", "*"])
    assert ended.value.code == 78
    assert "fits only symbols of bundles without attention" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ([], "--from-topics: with --config"),
        (["--config", "CONFIG", "--bundle", "."], "not with FILE, --bundle"),
        (["--config", "CONFIG", "--limit", "3"], "not with FILE, --bundle"),
        (["--config", "CONFIG", "--map", "bid=b"], "not with FILE, --bundle"),
        (["--config", "CONFIG", "--event-time-unit", "ns"], "not with FILE, --bundle"),
        (["--config", "CONFIG", "--workers", "2"], "not with FILE, --bundle"),
    ],
)
def test_topics_are_answered_as_the_configuration_says(
    options: list[str], says: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = tmp_path / "desk.toml"
    config.write_text(EXAMPLE.read_text())
    given = [str(config) if option == "CONFIG" else option for option in options]
    with pytest.raises(SystemExit) as ended:
        cli.main(["backtest", "--from-topics", "--out", str(tmp_path / "f.csv"), *given])
    assert ended.value.code == UsageError.exit_status
    assert says in capsys.readouterr().err


@pytest.mark.parametrize(
    "options", [["--in-force", "wanted"], ["--bundles", "archive"], ["--from-time-ms", "1700000000000"]]
)
def test_what_is_about_topics_is_not_passed_over_with_files(
    options: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        cli.main(["backtest", str(EXAMPLE), "--bundle", str(tmp_path), "--out", str(tmp_path / "f.csv"), *options])
    assert ended.value.code == UsageError.exit_status
    assert "only with --from-topics" in capsys.readouterr().err


def test_without_files_and_topics_it_says_what_is_missing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        cli.main(["backtest", "--out", str(tmp_path / "f.csv")])
    assert ended.value.code == UsageError.exit_status
    assert "FILE and --bundle: which ticks" in capsys.readouterr().err


def test_a_report_is_asked_of_evaluate_for_the_same_ticks_and_columns(
    exported, ticks_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[list[str]] = []
    statuses = iter([0, 0, 78])

    def run(command: list[str], **streams: object) -> SimpleNamespace:
        asked.append(command)
        return SimpleNamespace(returncode=next(statuses))

    monkeypatch.setattr(subprocess, "run", run)
    folder, report, out = exported("additive").bundle, tmp_path / "report.html", tmp_path / "f.csv"
    given = ["--bundle", str(folder), "--report", str(report), "--map", "bid_size=BidQty", "--out", str(out)]
    backtested(capsys, ticks_file, *given)
    evaluate = [sys.executable, "-m", "tickcast", "evaluate"]
    columns = ["bid=bid", "ask=ask", "bid_size=BidQty", "ask_size=ask_qty"]
    options = ["--event-time", "ts_us", "--event-time-unit", "us", "--symbol", "s"]
    options += [text for column in columns for text in ("--map", column)]
    files = [str(ticks_file), "--bundle", str(folder), "--out", str(report)]
    assert asked == [[*evaluate, "--help"], [*evaluate, *files, *options]]
    out.unlink()
    with pytest.raises(SystemExit) as ended:  # the extra is not there: nothing is begun
        cli.main(["backtest", str(ticks_file), *given])
    assert ended.value.code == 78
    assert not out.exists()


def test_a_configuration_brings_its_rules_but_no_mode_that_rests_on_offsets(tmp_path: Path) -> None:
    config = config_with(models=[{"bundle": "other", "symbols": ("B",)}], inference={"batch_max": 16, "threads": 3})
    settings_ = backtest.settings(tmp_path, config, threads=1, batch_max=None)
    assert settings_.models == (ModelConfig(bundle=tmp_path, symbols=("B",)),)
    assert (settings_.inference.batch_max, settings_.inference.threads) == (16, 1)
    assert backtest.settings(tmp_path, config_with(inference={"batch_max": 1})).inference.batch_max == 2
    assert not settings_.inference.finish_path
    with pytest.raises(UsageError, match=r"inference\.mode = carried"):
        backtest.settings(tmp_path, config_with(inference={"mode": "carried"}))


@pytest.mark.parametrize(
    ("out", "says"),
    [
        ("ticks.csv", "is one of the tick files"),
        ("forecasts.txt", "not a file of forecasts by its name: .csv, .csv.gz, .parquet"),
        ("absent/forecasts.csv", "there is no such folder"),
    ],
)
def test_what_cannot_be_written_is_refused_before_anything_is_read(
    out: str, says: str, ticks_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        cli.main(["backtest", str(ticks_file), "--bundle", str(tmp_path), "--out", str(tmp_path / out)])
    assert ended.value.code == UsageError.exit_status
    assert says in capsys.readouterr().err
    with pytest.raises(BundleError):  # so much for the bundle: it was not looked at
        bundle.load(tmp_path)


def written(path: Path, count: int) -> Path:
    """`count` ticks as Parquet, by and by."""
    pyarrow, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    names, size = [f"S{number}" for number in range(50)], 100_000
    price, random = pyarrow.float64(), np.random.default_rng(1)
    fields = {"event_time_ns": pyarrow.int64(), "symbol": pyarrow.string(), "bid": price, "ask": price}
    with parquet.ParquetWriter(path, pyarrow.schema(fields)) as writer:
        for start in range(0, count, size):
            at = np.arange(start, start + size)
            symbols = pyarrow.DictionaryArray.from_arrays((at % 50).astype(np.int32), names).cast(pyarrow.string())
            columns = [at * 1_000_000, symbols, random.random(size), random.random(size)]  # hardly smaller when packed
            writer.write_table(pyarrow.table(dict(zip(fields, columns, strict=True))))
    return path


@pytest.mark.slow
def test_memory_does_not_grow_with_the_file(tmp_path: Path) -> None:
    pyarrow = pytest.importorskip("pyarrow", reason="pyarrow is not installed")
    path, mapping = written(tmp_path / "t.parquet", 1_000_000), TickColumns({"bid": "bid", "ask": "ask"})
    engine = toy(WindowRules(window=2, sampling="grid_ms", grid_ms=400))
    seen: dict[int, int] = {}
    held = 0  # by pyarrow, at the end of the file

    def look(done: int) -> None:
        nonlocal held
        for mark in (200_000, 1_000_000):
            if done >= mark and mark not in seen:
                seen[mark] = resident_bytes()
                held = pyarrow.total_allocated_bytes()

    with (
        closing(backtest.LocalEngine(engine, settings_with())) as local,
        backtest_output.opened(tmp_path / "f.parquet", backtest_output.layout_of(engine.bundle)) as writer,
    ):
        chunks = tick_files.chunks([path], mapping, local.chunk_rows)
        summary = backtest.run(chunks, local, writer, BacktestScores(engine.bundle.manifest), look)
    assert summary.ticks == 1_000_000
    assert summary.fates["forecast"] > 100_000
    assert seen[1_000_000] - seen[200_000] < MEMORY_BYTES_MAX
    assert held < path.stat().st_size / 2
