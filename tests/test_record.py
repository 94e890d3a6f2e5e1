"""`tickcast record`: what the topic holds of a time range lies in the file, and a job learns what is missing."""

import json
from collections.abc import Callable
from pathlib import Path

import feeds
import msgspec
import pytest
from factories import manifest_with
from feeds import Feed
from tickcast import cli, manifest, tick_columns, tick_files, toml_text
from tickcast.broker import Broker
from tickcast.clients import Partition
from tickcast.commands import record as command
from tickcast.config import KafkaConfig
from topic_log import TopicLog

FIRST = Partition("ticks", 0)
COUNT, PARTITIONS, BAD_EVERY = 2_000, 3, 400


class Reader(TopicLog):
    """A topic in memory, where a cluster would be asked."""

    def __call__(self, config: KafkaConfig) -> "Reader":
        return self

    def __enter__(self) -> "Reader":
        return self

    def __exit__(self, *raised: object) -> None:
        pass


@pytest.fixture
def log(monkeypatch: pytest.MonkeyPatch) -> Reader:
    log = Reader()
    monkeypatch.setattr(command, "TopicReader", log)
    monkeypatch.setattr(manifest, "read", lambda folder: (manifest_with(), "0" * 64))
    for number in range(10):
        fields = {"symbol": "A", "event_time_ns": number, "bid": number, "ask": number + 1, "number": number + 7}
        log.write(FIRST, 1_700_000_000_000 + number * 1_000, msgspec.json.encode(fields))
    return log


def configured(folder: Path, topic: str = "ticks", servers: str = "127.0.0.1:1", **more: str) -> Path:
    """A daemon's configuration."""
    kafka = {
        "bootstrap_servers": servers,
        "group_id": "group",
        "input_topics": [topic],
        "output_topic": "forecasts",
        "dead_letter_topic": "dead-letters",
    }
    path = folder / "desk.toml"
    path.write_text(toml_text.document({"kafka": kafka, "input": more}, {"models": [{"bundle": "bundle"}]}))
    return path


def record(folder: Path, name: str, *options: str, **more: str) -> int:
    """Its exit status."""
    arguments = ["record", "--config", str(configured(folder, **more)), "--out", str(folder / name), *options]
    with pytest.raises(SystemExit) as ended:
        cli.main(arguments)
    return int(ended.value.code or 0)


def test_a_time_range_is_written_and_said(log: Reader, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    log.write(FIRST, 1_700_000_004_500, b"{")
    assert record(tmp_path, "ticks.csv", "--from", "2023-11-14T22:13:22", "--to", "1700000009000") == 0
    ticks = tick_files.read_all([tmp_path / "ticks.csv"], tick_columns.direct(("bid", "ask")))
    assert ticks.values[:, 0].tolist() == [2, 3, 4, 5, 6, 7, 8]
    assert capsys.readouterr().out.startswith("7 ticks of 7 records\n")
    assert record(tmp_path, "ticks.csv", "--json") == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["ticks"], told["records"], told["bad"]) == (10, 11, {"undecodable": 1})
    assert told["offsets"] == {"ticks/0": [0, 11]}


def test_a_range_whose_end_is_yet_to_come_is_said_to_hold_less(
    log: Reader, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert record(tmp_path, "ticks.csv", "--to", "today") == 0
    assert capsys.readouterr().err == ""
    assert record(tmp_path, "ticks.csv", "--to", "2286-01-01") == 0
    assert "is yet to come" in capsys.readouterr().err


def test_columns_may_be_typed_with_spaces(log: Reader, tmp_path: Path) -> None:
    assert record(tmp_path, "ticks.csv", "--columns", "bid, ask") == 0
    assert (tmp_path / "ticks.csv").read_text().split("\n", 1)[0] == "event_time_ns,symbol,bid,ask"


def test_no_ticks_leave_no_file_and_end_a_job(log: Reader, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert record(tmp_path, "ticks.csv", "--from", "2026-01-01") == 1
    assert "no ticks" in capsys.readouterr().err
    assert not (tmp_path / "ticks.csv").exists()


def test_a_begin_that_is_no_longer_kept_ends_a_job_unless_that_is_allowed(
    log: Reader, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    log.delete_before(FIRST, 4)
    assert record(tmp_path, "ticks.csv", "--from", "1700000000000") == 1
    assert "ticks/0: the oldest record kept is at offset 4" in capsys.readouterr().err
    assert not (tmp_path / "ticks.csv").exists()
    assert record(tmp_path, "ticks.csv", "--from", "1700000000000", "--partial") == 0
    assert "may be lost to retention" in capsys.readouterr().err
    assert record(tmp_path, "ticks.csv") == 0, "all there is was asked for"


def test_the_exchanges_sequence_numbers_are_kept(
    log: Reader, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert record(tmp_path, "ticks.csv", sequence="number") == 0
    assert "--sequence sequence" in capsys.readouterr().out
    first, second, _ = (tmp_path / "ticks.csv").read_text().split("\n", 2)
    assert (first, second) == ("event_time_ns,symbol,sequence,bid,ask", "0,A,7,0.0,1.0")


@pytest.mark.parametrize(
    ("options", "why"),
    [
        (["--from", "today", "--to", "yesterday"], "ends before it begins"),
        (["--from", "noon"], "write one like"),
        (["--model", "3"], "no such entry"),
        (["--model", "0", "--columns", "bid"], "not with --model"),
        (["--from", "1960-01-01"], "1970"),
    ],
)
def test_what_makes_no_sense_is_refused(
    options: list[str], why: str, log: Reader, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert record(tmp_path, "ticks.csv", *options) == 78
    assert why in capsys.readouterr().err


@pytest.mark.broker
def test_a_real_topic_lands_whole_in_a_file_that_training_reads(
    broker: Broker, topic: Callable[..., str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    name = topic(PARTITIONS)
    sent = list(feeds.ticks(COUNT, symbols=5, seed=3))
    with Feed(broker.bootstrap_servers, name, PARTITIONS) as feed:
        feed.send(feeds.with_bad_records(sent, BAD_EVERY))
    options = ["--columns", ",".join(tick_columns.BOOK_COLUMNS), "--from", "yesterday", "--json"]
    servers = {"topic": name, "servers": broker.bootstrap_servers}
    assert record(tmp_path, "ticks.parquet", *options, **servers) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["ticks"], sum(told["bad"].values())) == (COUNT, COUNT // BAD_EVERY)
    found: dict[str, list[tuple[int, tuple[float, ...]]]] = {}
    for tick in tick_files.read_all([tmp_path / "ticks.parquet"], tick_columns.direct()):
        found.setdefault(tick.symbol, []).append((tick.event_time_ns, tick.values))
    wanted: dict[str, list[tuple[int, tuple[float, ...]]]] = {}
    for message in sent:
        fields = json.loads(message.value or b"")
        values = tuple(float(fields[column]) for column in tick_columns.BOOK_COLUMNS)
        wanted.setdefault(fields["symbol"], []).append((fields["event_time_ns"], values))
    assert found == wanted
