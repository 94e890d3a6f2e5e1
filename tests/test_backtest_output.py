"""Files of forecasts: whole under their name, or not there; every value survives."""

import csv
import gzip
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from factories import SHA256, manifest_with
from tickcast import backtest_output
from tickcast.backtest_answers import Answered
from tickcast.errors import MissingExtraError, UsageError

BUNDLE: Any = SimpleNamespace(manifest=manifest_with(horizons=(1, 3)), sha256=SHA256)
VALUES = np.random.default_rng(1).normal(size=(5, 2)).astype(np.float32) * np.float32(1e-3)
ROWS = Answered(
    np.array(["A", "B, Inc.", 'C"', "A", "A"], np.object_),
    np.arange(5) + 1_700_000_000_123_456_789,
    np.array([3, 4, 6, 7, 9]),
    np.array([10.005, np.nan, 0.1 + 0.2, 1e6, -37.6]),
    np.arange(5),
    VALUES,
    np.empty((5, 0), np.float32),
)
LAYOUT = backtest_output.layout_of(BUNDLE)
WEIGHTS = np.array([[0.5, 0.25, 0.25], [np.nan] * 3, [0, 1, 0], [0.1, 0.2, 0.7], [np.nan] * 3], np.float32)


@pytest.mark.parametrize("name", ["f.csv", "f.csv.gz", "f.parquet"])
def test_every_value_comes_back_to_the_bit(name: str, tmp_path: Path) -> None:
    with backtest_output.opened(tmp_path / name, LAYOUT) as writer:
        writer.write(ROWS.part(slice(0, 3)))
        writer.write(ROWS.part(slice(3, 5)))
    columns = read(tmp_path / name)
    assert list(columns) == ["symbol", "event_time_ns", "offset", "reference_mid", "h1", "h3"]
    assert columns["symbol"] == ROWS.symbols.tolist()
    assert [int(value) for value in columns["event_time_ns"]] == ROWS.event_time_ns.tolist()
    assert [int(value) for value in columns["offset"]] == ROWS.offsets.tolist()
    assert columns["reference_mid"][1] in ("", None)
    mids = [float(value or "nan") for value in columns["reference_mid"]]
    np.testing.assert_array_equal(mids, ROWS.mids)
    made = np.array([columns["h1"], columns["h3"]]).astype(np.float32).T
    np.testing.assert_array_equal(made, VALUES)


def read(path: Path) -> dict[str, list[Any]]:
    if path.suffix == ".parquet":
        parquet = pytest.importorskip("pyarrow.parquet", reason="pyarrow is not installed")
        columns: dict[str, list[Any]] = parquet.read_table(path).to_pydict()
        return columns
    with gzip.open(path, "rt") if path.suffix == ".gz" else path.open() as file:
        names, *lines = csv.reader(file)
    return dict(zip(names, map(list, zip(*lines, strict=True)), strict=True))


@pytest.mark.parametrize("name", ["f.csv", "f.parquet"])
@pytest.mark.parametrize("error", [KeyboardInterrupt, ValueError])
def test_interrupted_it_leaves_what_was_there_and_nothing_else(
    name: str, error: type[BaseException], tmp_path: Path
) -> None:
    path = tmp_path / name
    path.write_text("before")
    with pytest.raises(error), backtest_output.opened(path, LAYOUT) as writer:  # noqa: PT012 - what is written counts
        writer.write(ROWS)
        raise error
    assert [(each.name, each.read_text()) for each in tmp_path.iterdir()] == [(name, "before")]


def test_under_its_name_there_is_nothing_until_it_is_complete(tmp_path: Path) -> None:
    path = tmp_path / "f.csv"
    with backtest_output.opened(path, LAYOUT) as writer:
        writer.write(ROWS)
        assert not path.exists()
    assert [each.name for each in tmp_path.iterdir()] == [path.name]


def test_no_forecast_at_all_makes_a_file_of_columns_only(tmp_path: Path) -> None:
    for name in ("f.csv", "f.parquet"):
        with backtest_output.opened(tmp_path / name, LAYOUT):
            pass
    assert (tmp_path / "f.csv").read_text() == "symbol,event_time_ns,offset,reference_mid,h1,h3\n"
    assert read(tmp_path / "f.parquet")["h3"] == []


def test_without_pyarrow_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(__import__("sys").modules, "pyarrow.parquet", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'tickcast\[export\]'; or write CSV"):
        backtest_output.check(tmp_path / "f.parquet")


def test_a_folder_in_the_way_is_refused(tmp_path: Path) -> None:
    (tmp_path / "f.csv").mkdir()
    with pytest.raises(UsageError, match="a folder"):
        backtest_output.check(tmp_path / "f.csv")


@pytest.mark.parametrize("name", ["f.csv", "f.parquet"])
def test_what_forecasts_lean_on_is_a_list_where_anybody_asked(name: str, tmp_path: Path) -> None:
    with backtest_output.opened(tmp_path / name, backtest_output.layout_of(BUNDLE, leaning=True)) as writer:
        writer.write(ROWS._replace(attention=WEIGHTS).part(slice(0, 2)))
        writer.write(ROWS._replace(attention=WEIGHTS).part(slice(2, 5)))
    told = read(tmp_path / name)["attention"]
    lists = [json.loads(each) if each else None for each in told] if name == "f.csv" else told
    assert [each is None for each in lists] == [False, True, False, False, True]
    for each, weights in zip(lists, WEIGHTS, strict=True):
        if each is not None:
            assert each == pytest.approx(weights.tolist(), abs=1e-8)
