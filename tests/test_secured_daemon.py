"""A whole daemon on a broker that asks who it is; and nothing that it says, shows or writes repeats a secret."""

import io
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import redirect_stdout
from pathlib import Path

import feeds
import psutil
import pytest
from daemons import DaemonProcess, Job
from feeds import Feed
from secured_broker import PASSWORD, SECRETS, SecuredBroker, flat
from tickcast import config as configuration
from tickcast.cli import COMMANDS, main

TICKS = 120


@pytest.fixture
def secured_job(secured_broker: SecuredBroker, exported, tmp_path: Path) -> Iterator[Job]:
    topics = [secured_broker.topic() for _ in range(3)]
    job = Job(secured_broker.bootstrap_servers, *topics, exported("stacked").bundle, tmp_path)
    with job.reader:
        yield job


def feed(job: Job) -> None:
    with Feed(job.bootstrap_servers, job.input_topic, 1) as sender:
        sender.send(feeds.ticks(TICKS))


def assert_silent(said: str, where: str) -> None:
    """None of the secrets is in `said`."""
    assert said, where
    assert [secret for secret in SECRETS if secret in said] == [], where


def command(*arguments: str) -> tuple[int, str]:
    """Exit status and output of `tickcast ...`, all of it."""
    done = subprocess.run([sys.executable, "-m", "tickcast", *arguments], capture_output=True, text=True, timeout=120)
    return done.returncode, done.stdout + done.stderr


@pytest.mark.parametrize(
    ("client", "way", "delivery"),
    [
        ("kafka-python", "mtls", "at_least_once"),
        ("kafka-python", "plain", "at_least_once"),
        ("confluent-kafka", "scram", "exactly_once"),
    ],
)
def test_a_daemon_behind_tls_answers_every_tick_and_shows_no_secret(
    client: str,
    way: str,
    delivery: str,
    secured_job: Job,
    secured_broker: SecuredBroker,
    start_daemon: Callable[..., DaemonProcess],
) -> None:
    if client == "confluent-kafka":
        pytest.importorskip("confluent_kafka", reason="confluent_kafka is not installed")
    kafka = {**flat(secured_broker.ways_in()[way]), "client": client, "delivery": delivery}
    path = secured_job.config(kafka=kafka, log={"level": "debug", "format": "json"})
    assert command("check-config", "--config", str(path))[0] == 0
    daemon = start_daemon(path)
    daemon.wait_ready()
    feed(secured_job)
    secured_job.wait_done()

    processes = [psutil.Process(daemon.pid), *psutil.Process(daemon.pid).children(recursive=True)]
    assert len(processes) == 2
    for process in processes:
        assert_silent(" ".join([*process.cmdline(), *map("=".join, process.environ().items())]), process.name())
    for page in ("/metrics", "/livez", "/readyz", "/no-such-page"):
        assert_silent(daemon.get(page)[1], page)
    settings = configuration.load(path, os.environ)
    for name in ("audit", "check-config"):
        status, said = command(name, "--config", str(path))
        assert status == 0, said
        assert_silent(said, name)
    assert daemon.stop() == 0
    assert_silent(daemon.text(), "log")
    assert_silent(f"{settings!r} {settings} {settings.model_dump()} {settings.model_dump_json()}", "configuration")
    assert_silent("".join(file.read_text("utf-8") for file in secured_job.files.glob("*.*")), "files")


def test_ticks_are_played_into_a_broker_that_asks_for_a_password(
    secured_job: Job, secured_broker: SecuredBroker, tmp_path: Path
) -> None:
    ticks = tmp_path / "ticks.csv"
    ticks.write_text("time,symbol,bid,ask,bid_size,ask_size\n" + "".join(f"{n},SIM,1.0,1.5,3,4\n" for n in range(1, 6)))
    path = secured_job.config(kafka=flat(secured_broker.ways_in()["scram"]))
    options = ["--event-time", "time", "--event-time-unit", "s", "--rate", "0", "--config", str(path)]
    status, said = command("replay", str(ticks), "--topic", secured_job.input_topic, *options)
    assert status == 0, said
    assert len(secured_job.records(secured_job.input_topic)) == 5
    assert_silent(said, "replay")


@pytest.mark.parametrize("why", ["wrong password", "broker of a stranger", "no certificate"])
def test_a_daemon_that_is_turned_away_ends_with_the_reason(
    why: str, secured_job: Job, secured_broker: SecuredBroker, start_daemon: Callable[..., DaemonProcess]
) -> None:
    kafka, reason = secured_broker.refused()[why]
    path = secured_job.config(kafka=flat(kafka), log={"level": "debug"})
    daemon = start_daemon(path)
    assert daemon.wait() == 1
    assert reason in daemon.text()
    assert_silent(daemon.text(), "log")
    status, said = command("audit", "--config", str(path))
    assert status == 1
    assert reason in said
    assert_silent(said, "audit")


def test_every_secret_file_that_does_not_hold_is_named_and_nothing_is_started(
    secured_job: Job, secured_broker: SecuredBroker, start_daemon: Callable[..., DaemonProcess]
) -> None:
    kafka = secured_broker.ways_in()["scram"]
    open_to_all = Path(secured_broker.secret("open-password", PASSWORD))
    open_to_all.chmod(0o644)
    kafka["security"] |= {"password_file": str(open_to_all), "ca_file": "absent.pem"}
    path = secured_job.config(kafka=flat(kafka))
    status, said = command("check-config", "--config", str(path))
    assert status == 78
    assert f"kafka.security.ca_file: {path.with_name('absent.pem')}: cannot be used: no such file" in said.lower()
    assert f"kafka.security.password_file: {open_to_all}: others may read it (mode 0644); chmod 0600" in said
    assert_silent(said, "check-config")
    daemon = start_daemon(path)
    assert daemon.wait() == 78
    assert "kafka.security.ca_file" in daemon.text()


@pytest.mark.parametrize("name", COMMANDS)
def test_no_help_asks_for_a_secret(name: str) -> None:
    printed = io.StringIO()
    try:
        with redirect_stdout(printed), pytest.raises(SystemExit):
            main([*name.split(), "--help"])
    except ModuleNotFoundError as error:
        pytest.skip(f"{error.name} is not installed")
    assert "usage" in printed.getvalue().lower()
    assert "password" not in printed.getvalue().lower()
