"""Night after night one configuration: what was promoted comes to its place, another shadow beside it, by SIGHUP."""

import os
import shutil
import signal
from collections.abc import Callable
from pathlib import Path

import pytest
from daemons import DaemonProcess, Job, wait_until
from test_daemon_promotion import Desk, wait_swapped
from tickcast import manifest
from tickcast.cli import main
from tickcast.manifest import MANIFEST_NAME, sealed


@pytest.mark.slow
def test_after_a_promotion_another_bundle_becomes_the_shadow_of_a_daemon_that_goes_on(
    exported,
    job: Callable[..., Job],
    topic: Callable[..., str],
    start_daemon: Callable[..., DaemonProcess],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    quiet = exported("additive").bundle
    new = [renamed(quiet, tmp_path / name) for name in ("second", "third")]
    second, third = (manifest.read(each)[1] for each in new)
    live, candidate = tmp_path / "live", tmp_path / "candidate"
    shutil.copytree(quiet, live)
    compacted = {"cleanup.policy": "compact"}
    desk = Desk(job(live), candidate, topic(label="shadow"), topic(config=compacted, label="control"))

    def put(bundle: Path) -> None:
        """`tickcast shadow`."""
        with pytest.raises(SystemExit) as ended:
            main(["shadow", str(bundle), "--config", str(desk.config)])
        assert ended.value.code == 0, capsys.readouterr().err

    put(new[0])
    daemon = start_daemon(desk.config)
    daemon.wait_ready()
    assert desk.promote("--force", "--reason", "to see what comes after it") == 0
    wait_swapped(daemon, second)
    put(new[1])
    assert [manifest.read(each)[1] for each in (live, candidate)] == [second, third]
    os.kill(daemon.pid, signal.SIGHUP)
    wait_until(lambda: _sha256s(daemon, "tickcast_shadow_info") == [third], "the third is the shadow")
    assert _sha256s(daemon, "tickcast_model_info") == [second]
    assert daemon.stop() == 0
    again = start_daemon(desk.config)
    again.wait_ready()
    assert [event["sha256"] for event in again.events("model")] == [second]
    assert _sha256s(again, "tickcast_shadow_info") == [third]


def renamed(source: Path, target: Path) -> Path:
    """The same bundle under another name: another one, by its manifest."""
    shutil.copytree(source, target)
    held = manifest.read(source)[0].model_copy(update={"name": target.name})
    (target / MANIFEST_NAME).write_text(sealed(held).model_dump_json())
    return target


def _sha256s(daemon: DaemonProcess, metric: str) -> list[str]:
    return [dict(labels)["sha256"] for labels, value in daemon.samples(metric).items() if value]
