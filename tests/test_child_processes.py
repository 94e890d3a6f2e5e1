"""Processes that the demo and the benches start end with them, and say why they failed."""

import json
import os
import select
import subprocess
import sys
from pathlib import Path

import pytest
from tickcast.child_processes import Child, DaemonChild
from tickcast.errors import TickcastError
from tickcast_export import demo_processes

ENDING_TIMEOUT_S = 30
SLEEP = "import time; time.sleep(600)"


def test_a_command_that_fails_shows_the_end_of_its_log(tmp_path: Path) -> None:
    log = tmp_path / "check.log"
    arguments = ["check-config", str(tmp_path / "absent.toml")]
    with (
        demo_processes.start(arguments, log, tmp_path / "out") as child,
        pytest.raises(TickcastError, match="tickcast check-config ended with status") as caught,
    ):
        child.wait()
    assert log.read_text().splitlines()[-1] in str(caught.value)


def test_output_and_errors_go_to_their_own_files(tmp_path: Path) -> None:
    with demo_processes.start(["version"], tmp_path / "log", tmp_path / "out") as child:
        child.wait()
        assert child.ended()
    assert (tmp_path / "out").read_text().strip()
    assert child.log_text() == ""


def test_overrides_of_a_daemons_configuration_are_not_handed_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TICKCAST_KAFKA__GROUP_ID", "other")
    monkeypatch.setenv("SOMETHING_ELSE", "kept")
    program = "import os; print(*sorted(os.environ))"
    with Child("names", [sys.executable, "-c", program], tmp_path / "log", tmp_path / "out") as child:
        child.wait()
    names = (tmp_path / "out").read_text().split()
    assert "SOMETHING_ELSE" in names
    assert not [name for name in names if name.startswith("TICKCAST_")]


def test_kill_9_of_the_parent_ends_the_child(tmp_path: Path) -> None:
    program = (
        "import sys, time; from pathlib import Path; from tickcast.child_processes import Child\n"
        "log, output = Path(sys.argv[1], 'log'), Path(sys.argv[1], 'out')\n"
        f"child = Child('sleep', [sys.executable, '-c', {SLEEP!r}], log, output)\n"
        "print(child.pid, flush=True); time.sleep(600)\n"
    )
    parent = subprocess.Popen([sys.executable, "-c", program, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    with parent.stdout:
        child = os.pidfd_open(int(parent.stdout.readline()))
    parent.kill()
    parent.wait()
    try:
        ended, _, _ = select.select([child], [], [], ENDING_TIMEOUT_S)
    finally:
        os.close(child)
    assert ended


def test_stopping_asks_before_it_forces_and_may_be_repeated(tmp_path: Path) -> None:
    program = f"import os, signal, sys; signal.signal(15, lambda *_: sys.exit(7)); print('up', flush=True); {SLEEP}"
    child = Child("sleep", [sys.executable, "-c", program], tmp_path / "log", tmp_path / "out")
    while "up" not in (tmp_path / "out").read_text():
        assert not child.ended()
    assert child.stop() == 7
    assert child.stop() == 7


def test_daemons_log_is_read_for_the_first_line_of_an_event(tmp_path: Path) -> None:
    log = tmp_path / "daemon.log"
    daemon = DaemonChild(tmp_path / "absent.toml", log)
    with pytest.raises(TickcastError, match="tickcast run ended with status 78"), daemon:
        daemon.wait_until_ready()
    events = [{"event": "provider", "provider": "cpu"}, {"event": "provider", "provider": "later"}]
    log.write_text("not json\n" + "".join(json.dumps(event) + "\n" for event in events) + '{"event": "cut of')
    assert daemon.said("provider") == events[0]
    assert daemon.said("ready") == {}
    assert daemon.health() == {}
