"""What the image starts, started as the image does; and the configurations that come with it, with a bundle there."""

import json
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import feeds
import pytest
from certificates import Authority
from contained import ContainedDaemon, skip_where_nothing_can_be_confined
from daemons import Job
from deployments import COMPOSE, IMAGE, KUBERNETES, instructions, last, of_target, pod_of
from feeds import Feed

TICKS = 600
PARTITIONS = 2
# Where the image's configuration finds its bundle.
MOUNTED = Path("/var/lib/tickcast/bundle")


@pytest.fixture
def contain() -> Iterator[Callable[..., ContainedDaemon]]:
    """`contain(config, bundle)` starts a confined daemon; none outlives the test, whose log is shown if it failed."""
    skip_where_nothing_can_be_confined()
    started: list[ContainedDaemon] = []

    def start(config: Path, bundle: Path, **environment: str) -> ContainedDaemon:
        started.append(ContainedDaemon(config, bundle, environment))
        return started[-1]

    yield start
    for daemon in started:
        daemon.kill()
        sys.stdout.write(f"--- {daemon.log_path.name}\n{daemon.text()}\n")


@pytest.mark.slow
def test_confined_as_its_image_has_it_the_daemon_answers_every_tick_and_drains_when_told_to(
    exported, job: Callable[..., Job], contain: Callable[..., ContainedDaemon]
) -> None:
    work = job(exported("stacked").bundle, PARTITIONS)
    config = replace(work, bundle=MOUNTED).config("tickcast", http={"port": 0, "host": "0.0.0.0"})
    ticks = list(feeds.ticks(TICKS, symbols=3, seed=5))
    with Feed(work.bootstrap_servers, work.input_topic, PARTITIONS) as feed:
        daemon = contain(config, work.bundle, TICKCAST_KAFKA__INSTANCE_ID="tickcast-0")
        daemon.wait_ready()
        assert {path: daemon.get(path)[0] for path in probed()} == {"/livez": 200, "/readyz": 200}
        assert health_check(daemon) == 0
        feed.send(ticks)
        feed.flush()
        work.wait_published(TICKS // 2)
        state = daemon.state()
        assert state["NSpid"].split()[-1] == "1"
        assert set(state["Uid"].split()) == set(state["Gid"].split()) == {"10001"}
        assert {state[name].strip("0") for name in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")} == {""}
        assert (state["NoNewPrivs"], state["Groups"]) == ("1", "")
        devices = {f"/dev/{name}" for name in ("null", "zero", "random", "urandom")}
        assert daemon.writable() <= {"/proc", "/tmp", *devices}
        work.wait_done()
        assert daemon.left_behind() == []
        assert daemon.stop(signal.SIGTERM) == 0
    assert daemon.events("stopping")
    whole = work.audit()
    assert whole["adds_up"]
    assert whole["forecasts"] > TICKS // 2
    assert (whole["ticks"], whole["missing"], whole["doubled"]) == (TICKS, 0, 0)


def probed() -> set[str]:
    """What Kubernetes asks for."""
    yaml = pytest.importorskip("yaml", reason="pip install pyyaml")
    stateful_set = yaml.safe_load((KUBERNETES / "base" / "stateful-set.yaml").read_text())
    (container,) = pod_of(stateful_set)["containers"]
    return {probe["httpGet"]["path"] for name, probe in container.items() if name.endswith("Probe")}


def health_check(daemon: ContainedDaemon) -> int:
    """The exit status of the image's health check, for this daemon."""
    check = last(of_target(instructions(IMAGE / "Dockerfile"), "cpu"), "HEALTHCHECK").arguments.partition("CMD ")[2]
    port = daemon.wait_for_event("metrics and health")["url"].rpartition(":")[2]
    environment = {"TICKCAST_HTTP__PORT": port}
    return subprocess.run([sys.executable, *json.loads(check)[1:]], env=environment, check=False).returncode


def test_a_container_without_a_bundle_ends_with_78_and_says_which_one_it_wants(
    tmp_path: Path, contain: Callable[..., ContainedDaemon]
) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    config = tmp_path / "tickcast.toml"
    config.write_text((COMPOSE / "tickcast.toml").read_text())
    daemon = contain(config, empty, TICKCAST_HTTP__PORT="0")
    assert daemon.wait_exit() == 78
    assert str(MOUNTED) in daemon.text()


@pytest.mark.slow
def test_the_configuration_of_compose_is_one_that_check_config_has_nothing_against(exported) -> None:
    environment = {"TICKCAST_MODELS__0__BUNDLE": str(exported("stacked").bundle)}
    assert checked(COMPOSE / "tickcast.toml", environment) == 0


@pytest.mark.slow
def test_the_configuration_of_kubernetes_is_one_that_check_config_has_nothing_against(exported, tmp_path: Path) -> None:
    """With the pod's own name, the bundle and the Secret's files in their places."""
    password = tmp_path / "password"
    password.write_text("hidden")
    password.chmod(0o400)
    environment = {
        "TICKCAST_KAFKA__INSTANCE_ID": "tickcast-0",
        "TICKCAST_KAFKA__SECURITY__USERNAME": "desk",
        "TICKCAST_KAFKA__SECURITY__PASSWORD_FILE": str(password),
        "TICKCAST_KAFKA__SECURITY__CA_FILE": str(Authority(tmp_path / "authority").certificate),
        "TICKCAST_MODELS__0__BUNDLE": str(exported("stacked").bundle),
    }
    file = KUBERNETES / "base" / "tickcast.toml"
    assert checked(file, environment) == 0
    password.chmod(0o444)  # what Kubernetes' own default mode would make of it
    assert checked(file, environment) == 78


def checked(file: Path, environment: dict[str, str]) -> int:
    """The exit status of `tickcast check-config`."""
    command = [sys.executable, "-m", "tickcast", "check-config", "--config", str(file)]
    return subprocess.run(command, env=environment, capture_output=True, check=False).returncode
