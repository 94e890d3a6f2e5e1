"""The unit under the machine's own systemd, in a throw-away container, on a real broker that asks for a password.

One container for all of it. `desk` answers a market that is open all the time, with kafka-python; `watched` answers the
same one with librdkafka, transactions and the drop-in for low latency.
"""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NamedTuple

import psutil
import pytest
import systemd_probe
from chaos.load import Load, Market
from chaos.verdict import LIMITS
from daemons import Job, wait_until
from secured_broker import PASSWORD, SecuredBroker, flat
from systemd_sandbox import Sandbox
from tickcast import install_service, manifest
from tickcast.cli import main
from tickcast.manifest import MANIFEST_NAME, Manifest, sealed

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[1]
PARTITIONS = 2
RATE = 100.0
HEAD = 400  # enough for a full window of every symbol
SYMBOLS = 6
BUNDLE = "/var/lib/tickcast/bundles/desk"
# Short, for the test to wait for; far above what a turn of the loop takes on a loaded machine.
WATCHDOG_S = 4
# What lowlatency.conf has as comments.
OPTIONAL = "CPUSchedulingPolicy=fifo\nCPUSchedulingPriority=10\nCPUSchedulingResetOnFork=yes\n"
EXPOSURE_MAX = 2.0  # of `systemd-analyze security`
CAP_SYS_RESOURCE = 24  # capabilities(7)
LINES_SHOWN = 40  # of the journal, where something fails


class Host:
    """The container with tickcast installed, and what an operator asks its systemd."""

    def __init__(self, sandbox: Sandbox) -> None:
        self.sandbox = sandbox
        self.root = sandbox.root

    def run(self, *command: str, check: bool = True) -> "subprocess.CompletedProcess[str]":
        """A command inside. Fails with the end of the journal where its status is not 0, or it does not end."""
        try:
            done = self.sandbox.run(*command)
        except subprocess.TimeoutExpired as error:
            pytest.fail(f"{' '.join(command)}: no end\n{self._journal()}\n{error}")
        if check and done.returncode:
            said = f"{done.stdout}{done.stderr}"
            pytest.fail(f"{' '.join(command)}: status {done.returncode}\n{said}\n{self._journal()}")
        return done

    def _journal(self) -> str:
        return self.sandbox.run("journalctl", "--no-pager", f"--lines={LINES_SHOWN}").stdout

    def install(self, name: str, configuration: str, *options: str, drop_in: str = "") -> None:
        """`tickcast install-service NAME`, the commands that it tells to run, and a drop-in of the test's."""
        path = self.root / f"etc/tickcast/{name}.toml"
        path.parent.mkdir(exist_ok=True)
        path.write_text(configuration)
        self.run(str(install_service.executable()), "install-service", name, *options)
        folder = self.root / f"etc/systemd/system/tickcast@{name}.service.d"
        folder.mkdir(exist_ok=True)
        (folder / "50-test.conf").write_text(f"[Service]\nRestartSec=100ms\n{drop_in}")
        self.run("sh", "-c", "systemd-sysusers && systemd-tmpfiles --create tickcast.conf && systemctl daemon-reload")

    def show(self, name: str, *properties: str) -> dict[str, str]:
        """`systemctl show`."""
        shown = self.run("systemctl", "show", f"tickcast@{name}", f"--property={','.join(properties)}").stdout
        return dict(line.split("=", 1) for line in shown.splitlines())

    def property(self, name: str, which: str) -> str:
        """One of them."""
        return self.show(name, which)[which]

    def entries(self, *matches: str) -> list[dict[str, Any]]:
        """`journalctl -o json`."""
        shown = self.run("journalctl", "--quiet", "--all", "--output=json", *matches, check=False).stdout
        return [json.loads(line) for line in shown.splitlines()]

    def events(self, name: str, event: str) -> list[dict[str, Any]]:
        """The entries of a service with this event, found by their field."""
        return self.entries(f"_SYSTEMD_UNIT=tickcast@{name}.service", f"TICKCAST_EVENT={event}")

    def process(self, name: str) -> psutil.Process:
        """The loop's process."""
        return psutil.Process(self.sandbox.host_pid(int(self.property(name, "MainPID"))))

    def start(self, name: str) -> None:
        """`systemctl start`: returns when the service says that it is ready."""
        self.run("systemctl", "start", f"tickcast@{name}")


class Service(NamedTuple):
    """A service and what it works on."""

    host: Host
    name: str
    job: Job
    configuration: str

    def account(self) -> dict[str, Any]:
        """What `tickcast audit` says, up to what the service has committed."""
        return audited(self.job)


@pytest.fixture(scope="module")
def host() -> Iterator[Host]:
    with Sandbox([ROOT, *install_service.imported_from()]) as sandbox:
        yield Host(sandbox)


@pytest.fixture(scope="module")
def input_topic(secured_broker: SecuredBroker) -> Iterator[str]:
    """A market that is open."""
    pytest.importorskip("confluent_kafka", reason="confluent_kafka is not installed")  # the market's
    topic = secured_broker.topic(PARTITIONS)
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(Path(__file__).parent))  # the market is a process of its own
        with Market(Load(secured_broker.bootstrap_servers, topic, PARTITIONS, SYMBOLS, RATE, HEAD, seed=3)):
            yield topic


@pytest.fixture(scope="module")
def make_job(
    secured_broker: SecuredBroker, input_topic: str, exported, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Callable[[str], Job]]:
    def make(name: str) -> Job:
        topics = secured_broker.topic(PARTITIONS), secured_broker.topic()
        files = tmp_path_factory.mktemp(name)
        job = Job(secured_broker.bootstrap_servers, input_topic, *topics, exported("stacked").bundle, files)
        readers.enter_context(job.reader)
        return job

    with ExitStack() as readers:
        yield make


@pytest.fixture(scope="module")
def desk(host: Host, make_job: Callable[[str], Job], secured_broker: SecuredBroker) -> Service:
    """Started once, with its password in the credential store and a probe that runs before it."""
    job = make_job("desk")
    way = flat(secured_broker.ways_in()["scram"])
    way |= {"security.password_file": "$CREDENTIALS_DIRECTORY/kafka-password", "security.ca_file": "ca.pem"}
    text = job.config("desk", kafka=way, input=LIMITS).read_text().replace(str(job.bundle), BUNDLE)
    probe = host.root / "etc/tickcast/probe.py"
    probe.parent.mkdir(exist_ok=True)
    shutil.copyfile(systemd_probe.__file__, probe)
    shutil.copyfile(secured_broker.authority.certificate, probe.with_name("ca.pem"))
    host.install("desk", text, "--cpu-only", drop_in=f"ExecStartPre={sys.executable} /etc/tickcast/probe.py\n")
    shutil.copytree(job.bundle, host.root / BUNDLE[1:])
    secret = host.root / "etc/credstore/tickcast.desk.kafka-password"
    secret.touch(mode=0o600)
    secret.write_text(f"{PASSWORD}\n")
    host.start("desk")
    return Service(host, "desk", job, text)


@pytest.fixture(scope="module")
def watched(host: Host, desk: Service, make_job: Callable[[str], Job]) -> Service:
    """With a watchdog that is soon impatient."""
    job = make_job("watched")
    kafka = {"client": "confluent-kafka", "delivery": "exactly_once"}
    text = job.config("watched", kafka=kafka, input=LIMITS).read_text().replace(str(job.bundle), BUNDLE)
    options = ("--cpu-only", "--low-latency", "--cpus", "0")
    impatient = f"WatchdogSec={WATCHDOG_S}\nTimeoutAbortSec=1\nExecStartPre=\n"
    host.install("watched", text, *options, drop_in=impatient + OPTIONAL)
    host.start("watched")
    return Service(host, "watched", job, text)


@pytest.fixture(scope="module")
def probed(desk: Service) -> dict[str, Any]:
    """What the probe found in the service's sandbox."""
    [line] = [
        str(entry["MESSAGE"])
        for entry in desk.host.entries("--unit=tickcast@desk")
        if str(entry["MESSAGE"]).startswith(systemd_probe.EVENT)
    ]
    found: dict[str, Any] = json.loads(line.removeprefix(systemd_probe.EVENT))
    return found


def audited(job: Job) -> dict[str, Any]:
    """The account of all partitions together."""
    with pytest.MonkeyPatch.context() as patch:
        printed: list[str] = []
        patch.setattr("typer.echo", printed.append)
        with pytest.raises(SystemExit):
            main(["audit", "--config", str(job.config("audit", input=LIMITS)), "--json"])
    whole: dict[str, Any] = json.loads(printed[0])["total"]
    return whole


def test_it_is_ready_and_says_how_it_gets_on_while_forecasts_flow(desk: Service) -> None:
    shown = desk.host.show("desk", "ActiveState", "SubState", "NRestarts")
    assert shown == {"ActiveState": "active", "SubState": "running", "NRestarts": "0"}
    [ready] = desk.host.events("desk", "ready")
    assert re.search(r"\d partitions?\b", ready["TICKCAST_STATUS"])
    before = desk.job.published()
    desk.job.wait_published(before + 2 * int(RATE))
    said = r"2 partitions, 6 symbols, [\d,]+ ticks/s, lag [\d,]+, p99 (under|over) [\d.]+ (us|ms|s)"
    wait_until(lambda: re.search(said, desk.host.run("systemctl", "status", "tickcast@desk").stdout), "its status line")


def test_its_log_is_in_the_journal_by_fields(desk: Service) -> None:
    [ready] = desk.host.events("desk", "ready")
    assert ready["MESSAGE"].startswith("pulse: ready status=")
    assert (ready["PRIORITY"], ready["SYSLOG_IDENTIFIER"], ready["_TRANSPORT"]) == ("6", "tickcast", "journal")
    assert ready["TICKCAST_COMPONENT"] == "pulse"
    assert float(ready["TICKCAST_AFTER_S"]) > 0
    [model] = desk.host.events("desk", "model")
    assert model["TICKCAST_SHA256"] == manifest.read(desk.job.bundle)[1]


def test_an_entry_of_many_lines_and_of_a_megabyte_arrives_whole(host: Host) -> None:
    script = (
        "from tickcast.journal import Journal\n"
        "Journal().send({'MESSAGE': 'one\\ntwo', 'TICKCAST_LONG': 'x' * 1_000_000, 'TICKCAST_EVENT': 'long'})"
    )
    host.run(sys.executable, "-c", script)
    wait_until(lambda: host.entries("TICKCAST_EVENT=long"), "the entry")
    [entry] = host.entries("TICKCAST_EVENT=long")
    assert entry["MESSAGE"] == "one\ntwo"
    assert entry["TICKCAST_LONG"] == "x" * 1_000_000


def test_its_password_is_a_credential_and_shown_nowhere(desk: Service, probed: dict[str, Any]) -> None:
    assert probed["credentials"] == ["kafka-password"]
    process = desk.host.process("desk")
    assert process.environ()["CREDENTIALS_DIRECTORY"] == "/run/credentials/tickcast@desk.service"
    said = desk.host.run("journalctl", "--all", "--output=export").stdout
    shown = desk.host.run("systemctl", "show", "tickcast@desk").stdout
    environment = " ".join(process.environ().values())
    assert [PASSWORD in text for text in (said, shown, environment)] == [False] * 3


def test_its_sandbox_is_in_force(desk: Service, probed: dict[str, Any]) -> None:
    read_only, denied, refused = "Read-only file system", "Permission denied", "Operation not permitted"
    unknown, absent = "Address family not supported by protocol", "No such file or directory"
    assert probed["tried"] == {
        "write /etc": denied,
        "write /usr": read_only,
        "write bundles": read_only,
        "packet socket": unknown,
        "netlink socket": unknown,
        "new namespace": refused,
        "become root": refused,
        "host name": refused,
        "real time": refused,
        "affinity": refused,
        "memory written and run": refused,
        "kernel log": absent,
        "kernel's addresses": denied,
        "work folder": "done",
        "memory file": "done",
        "loopback": "done",
    }
    needed = {Path(*path.parts[:3]) for path in install_service.imported_from()}
    for folder, names in probed["homes"].items():
        assert {Path(folder, name) for name in names} <= needed
    assert {"kmsg", "mem", "sda", "nvidia0"} & set(probed["devices"]) == set()
    assert probed["processes of others"] == []
    assert probed["folders"] == ["/var/lib/tickcast/desk", "/run/tickcast/desk", "/var/cache/tickcast/desk"]
    loop = desk.host.process("desk")
    beside = loop.children(recursive=True)
    assert len(beside) == 1
    for process in (loop, *beside):
        status = dict(line.split(":\t", 1) for line in of_process(process.pid, "status").splitlines())
        assert {status[f"Cap{which}"] for which in ("Inh", "Prm", "Eff", "Bnd", "Amb")} == {"0" * 16}
        assert (status["NoNewPrivs"], status["Seccomp"]) == ("1", "2")
        assert "0" not in status["Uid"].split()


def test_the_unit_is_as_closed_as_is_promised(desk: Service) -> None:
    assert exposure(desk.host, "desk") <= EXPOSURE_MAX
    assert exposure(desk.host, "gpu") <= EXPOSURE_MAX  # the unit without drop-ins


def of_process(pid: int | str, name: str) -> str:
    """A file of /proc."""
    return Path(f"/proc/{pid}/{name}").read_text()


def exposure(host: Host, name: str) -> float:
    """0: closed, 10: open."""
    said = host.run("systemd-analyze", "security", "--no-pager", f"tickcast@{name}.service").stdout
    found = re.search(r"Overall exposure level for \S+: ([\d.]+)", said)
    assert found, said
    return float(found[1])


def test_a_reload_swaps_the_bundle_and_misses_no_tick(desk: Service) -> None:
    host, pid = desk.host, desk.host.property("desk", "MainPID")
    sha256 = next_version(host.root / BUNDLE[1:])
    host.run("systemctl", "reload", "tickcast@desk")
    wait_until(lambda: host.events("desk", "bundle swapped"), "the swap")
    wait_until(lambda: "stacked 2 answers" in host.property("desk", "StatusText"), "it is said")
    since = desk.job.published()
    desk.job.wait_published(since + 2 * int(RATE))
    assert host.property("desk", "MainPID") == pid
    answered = {copy.bundle.sha256 for copies in desk.job.forecasts().values() for copy in copies}
    assert answered == {manifest.read(desk.job.bundle)[1], sha256}
    account = desk.account()
    assert account["adds_up"], account


def next_version(folder: Path) -> str:
    """The bundle in `folder` becomes version 2, by renaming as it should be; its sha256."""
    new, old = folder.with_name("new"), folder.with_name("old")
    shutil.copytree(folder, new)
    tree = {**json.loads((new / MANIFEST_NAME).read_text()), "version": "2"}
    (new / MANIFEST_NAME).write_text(sealed(Manifest.model_validate(tree)).model_dump_json())
    folder.rename(old)
    new.rename(folder)
    shutil.rmtree(old)
    return manifest.read(folder)[1]


def test_a_reload_of_what_does_not_hold_is_refused_and_the_daemon_goes_on(desk: Service) -> None:
    host, pid = desk.host, desk.host.property("desk", "MainPID")
    path = host.root / "etc/tickcast/desk.toml"
    path.write_text(desk.configuration + "unheard_of = 1\n")
    host.run("systemctl", "reload", "tickcast@desk")
    wait_until(lambda: host.events("desk", "bundle refused"), "the refusal")
    path.write_text(desk.configuration)
    [refused] = host.events("desk", "bundle refused")
    assert refused["PRIORITY"] == "3"
    assert "unheard_of: no such setting" in refused["TICKCAST_REASON"]
    wait_until(lambda: "reload refused" in host.property("desk", "StatusText"), "it is said")
    assert host.show("desk", "ActiveState", "MainPID") == {"ActiveState": "active", "MainPID": pid}


def test_mistakes_end_with_78_and_are_not_tried_again(host: Host, desk: Service) -> None:
    host.install("wrong", desk.configuration + "unheard_of = 1\n")
    assert host.run("systemctl", "start", "tickcast@wrong", check=False).returncode == 1
    shown = host.show("wrong", "ActiveState", "SubState", "NRestarts", "ExecMainStatus", "Result")
    wanted = {"ActiveState": "failed", "SubState": "failed", "NRestarts": "0"}  # not `auto-restart`
    assert shown == {**wanted, "ExecMainStatus": "78", "Result": "exit-code"}
    last = [entry for entry in host.entries("--unit=tickcast@wrong") if "unheard_of" in str(entry["MESSAGE"])]
    assert {entry["PRIORITY"] for entry in last} == {"4"}


def test_priority_processors_and_limits_are_those_of_the_drop_in(watched: Service) -> None:
    process = watched.host.process("watched")
    assert process.nice() == -10
    assert process.cpu_affinity() == [0]
    assert watched.host.show("watched", "LimitMEMLOCK", "OOMScoreAdjust") == {
        "LimitMEMLOCK": "infinity",
        "OOMScoreAdjust": "-900",
    }
    if may_raise_limits():  # root of a container often may not
        assert re.search(r"Max locked memory\s+unlimited\s+unlimited", of_process(process.pid, "limits"))
        assert of_process(process.pid, "oom_score_adj") == "-900\n"
    assert os.sched_getscheduler(process.pid) == os.SCHED_FIFO | os.SCHED_RESET_ON_FORK
    assert {os.sched_getscheduler(each.pid) for each in process.children()} == {os.SCHED_OTHER}


def may_raise_limits() -> bool:
    """Whether this process has CAP_SYS_RESOURCE."""
    found = re.search(r"CapEff:\s+(\w+)", of_process("self", "status"))
    assert found
    return bool(int(found[1], 16) >> CAP_SYS_RESOURCE & 1)


def test_a_daemon_that_hangs_is_killed_by_the_watchdog_and_answers_again(watched: Service) -> None:
    host, before = watched.host, watched.host.process("watched")
    watched.job.wait_published(1)
    before.send_signal(signal.SIGSTOP)
    wait_until(lambda: int(host.property("watched", "NRestarts")) > 0, "a restart")
    said = [str(entry["MESSAGE"]) for entry in host.entries("--unit=tickcast@watched")]
    assert any(f"Watchdog timeout (limit {WATCHDOG_S}s)!" in line for line in said)
    assert any("Failed with result 'watchdog'" in line for line in said)
    wait_until(lambda: host.property("watched", "ActiveState") == "active", "it is ready again")
    assert not before.is_running()
    since = watched.job.published()
    watched.job.wait_published(since + int(RATE))


def test_a_stop_drains_and_every_tick_is_accounted_for_once(watched: Service, desk: Service) -> None:
    for service in (watched, desk):
        service.host.start(service.name)  # no harm where it runs
        service.host.run("systemctl", "stop", f"tickcast@{service.name}")
        shown = service.host.show(service.name, "ActiveState", "Result", "ExecMainStatus")
        assert shown == {"ActiveState": "inactive", "Result": "success", "ExecMainStatus": "0"}
        assert service.host.events(service.name, "stopping")
        account = service.account()
        assert account["forecasts"] > 0
        assert account["adds_up"], account
        committed = service.job.reader.committed(service.job.reader.partitions(service.job.input_topic))
        beyond = [
            (partition, offset)
            for partition, offset in service.job.forecasts()
            if (at := committed[partition]) is None or offset >= at.offset
        ]
        assert beyond == []
