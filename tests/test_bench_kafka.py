"""`tickcast bench kafka` as a whole: in small on the real broker, and its exit status."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from daemons import wait_until
from exported import Exported
from tickcast import bench_kafka as bench
from tickcast import cli
from tickcast.audit import Account
from tickcast.bench_kafka import Found
from tickcast.bench_kafka_load import Sent
from tickcast.bench_kafka_report import over_echo
from tickcast.bench_kafka_rounds import Paced
from tickcast.broker import Broker
from tickcast.commands import bench_kafka as command
from tickcast.errors import UsageError

TICKS, SYMBOLS, WINDOW = 800, 3, 16
SMALL = ["--rounds=1", f"--ticks-count={TICKS}", f"--symbols={SYMBOLS}", "--partitions=2", "--set=log.level=info"]
WARM_UP = (WINDOW + bench.WARM_UP_MORE) * SYMBOLS
SENT = Sent(10, 1.0, 1.0, 2.0, 0)


def run(broker: Broker, bundle: Path, folder: Path, *arguments: str) -> dict[str, Any]:
    """The report of a bench on `broker`, which ends with status 0."""
    path = folder / "report.json"
    given = ["bench", "kafka", "--bundle", str(bundle), "--bootstrap-servers", broker.bootstrap_servers]
    with pytest.raises(SystemExit) as ended:
        cli.main([*given, *SMALL, *arguments, "--json", str(path)])
    assert ended.value.code == 0
    report: dict[str, Any] = json.loads(path.read_text())
    return report


def paced(*seconds: float, missing: int = 0, doubled: int = 0) -> Paced:
    return Paced(SENT, np.array(seconds), {}, {"finish": 1, "window": 3}, missing, doubled, 1.0)


@pytest.mark.broker
@pytest.mark.slow
@pytest.mark.parametrize("client", ["kafka-python", "confluent-kafka"])
def test_paced_run_accounts_for_every_tick_beside_an_echo(
    client: str, broker: Broker, exported: Callable[[str], Exported], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    if client == "confluent-kafka":
        pytest.importorskip("confluent_kafka")
    before = broker.topics()
    report = run(broker, exported("stacked").bundle, tmp_path, "--client", client, "--rate=400")
    assert set(report) == {"bench", "facts", "settings", "clients"}
    assert {"cores", "load_1m", "kafka", client, "load_and_reader", "model_cpu_us_per_tick"} <= set(report["facts"])
    found = report["clients"][client]
    assert set(found) == {"daemon", "echo", "over_echo", "account"}
    account = {key: found["account"][key] for key in ("ticks", "forecasts", "warming", "missing", "doubled")}
    warming = (WINDOW + 1) * SYMBOLS
    forecasts = WARM_UP + TICKS - warming
    wanted = {"ticks": WARM_UP + TICKS, "forecasts": forecasts, "warming": warming, "missing": 0, "doubled": 0}
    assert account == wanted
    assert found["daemon"]["end_to_end"]["count"] == found["echo"]["end_to_end"]["count"] > 0
    assert sum(found["daemon"]["paths"].values()) == pytest.approx(1)
    assert (found["echo"]["missing"], found["echo"]["doubled"]) == (0, 0)
    assert found["over_echo"]["p50"]["median"] > 0
    assert set(found["daemon"]["stretches"]) == {"due to received", "received to sent", "sent to read"}
    assert "end to end at 400 ticks/s" in capsys.readouterr().out
    wait_until(lambda: broker.topics() <= before | {"__consumer_offsets"}, "its topics are gone")


@pytest.mark.broker
@pytest.mark.slow
def test_saturated_run_counts_forecasts_after_the_warm_up(
    broker: Broker, exported: Callable[[str], Exported], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    report = run(broker, exported("stacked").bundle, tmp_path, "--client=kafka-python", "--saturate")
    found = report["clients"]["kafka-python"]
    assert set(found) == {"saturated", "account"}
    assert found["saturated"]["ticks_per_s"] > 0
    assert found["saturated"]["paths"]["window"] > 0
    assert found["account"]["adds_up"]
    assert "topic full" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("account", "echo", "status"),
    [
        (Account(ticks=1, forecasts=1), paced(1.0), 0),
        (Account(ticks=1, missing=1), paced(1.0), 1),
        (Account(ticks=1, forecasts=1, doubled=1), paced(1.0), 1),
        (Account(ticks=1, forecasts=1), paced(1.0, missing=1), 1),
        (Account(ticks=1, forecasts=1), paced(1.0, doubled=1), 1),
    ],
)
def test_what_is_missing_or_doubled_is_an_exit_status(
    account: Account, echo: Paced, status: int, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    found = {"kafka-python": Found([paced(1.0)], [echo], [], [account])}
    facts = {"load_1m": 0.0}
    monkeypatch.setattr(command.report, "facts", lambda settings: facts)
    monkeypatch.setattr(command.report, "fact_lines", lambda facts: [])
    monkeypatch.setattr(command.bench, "run", lambda settings: found)
    with pytest.raises(SystemExit) as ended:
        cli.main(["bench", "kafka", "--bundle", str(tmp_path), "--client=kafka-python"])
    assert ended.value.code == status


def test_ratio_to_the_echo_is_the_median_of_the_rounds() -> None:
    daemon = [paced(2.0, 4.0, 8.0), paced(9.0), paced(3.0)]
    echo = [paced(1.0, 2.0, 2.0), paced(1.0), paced(2.0)]
    found = over_echo(Found(daemon, echo))
    assert found["p50"] == {"median": 2.0, "min": 1.5, "max": 9.0}
    assert found["max"] == {"median": 4.0, "min": 1.5, "max": 9.0}


def test_setting_that_names_no_section_is_refused(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    with pytest.raises(SystemExit) as ended:
        cli.main(["bench", "kafka", "--bundle", str(tmp_path), "--set", "threads=2"])
    assert ended.value.code == UsageError.exit_status
    assert "SECTION.KEY=VALUE" in capsys.readouterr().err


def test_client_that_is_not_installed_is_named_and_left_out_where_none_is_asked_for(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(command, "LIBRARIES", {"kafka-python": "kafka", "confluent-kafka": "no_such_library"})
    assert command._clients(None) == ("kafka-python",)
    with pytest.raises(SystemExit):
        cli.main(["bench", "kafka", "--bundle", str(tmp_path), "--client=both"])
    assert "pip install 'tickcast[librdkafka]'" in capsys.readouterr().err


def test_neither_bundle_nor_family_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        cli.main(["bench", "kafka"])
    assert ended.value.code == UsageError.exit_status
    assert "--bundle or --family" in capsys.readouterr().err
