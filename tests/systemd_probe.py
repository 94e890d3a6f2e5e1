"""What a process in the unit's sandbox may do: tries it, and writes one line of JSON to standard error.

Run by `test_systemd.py` inside the service, before the daemon starts. Nothing but the standard library.
"""

import contextlib
import ctypes
import json
import mmap
import os
import socket
import sys
from collections.abc import Callable
from pathlib import Path

EVENT = "probed"
CLONE_NEWUSER = 0x1000_0000


def main() -> None:
    """Try everything."""
    trials: dict[str, Callable[[], object]] = {
        "write /etc": lambda: Path("/etc/tickcast/probe").write_text(""),
        "write /usr": lambda: Path("/usr/probe").write_text(""),
        "write bundles": lambda: Path("/var/lib/tickcast/bundles/probe").write_text(""),
        "packet socket": lambda: socket.socket(socket.AF_PACKET, socket.SOCK_RAW).close(),
        "netlink socket": lambda: socket.socket(socket.AF_NETLINK, socket.SOCK_RAW).close(),
        "new namespace": lambda: _call("unshare", CLONE_NEWUSER),
        "become root": lambda: os.setuid(0),
        "host name": lambda: _call("sethostname", b"probe", 5),
        "real time": lambda: os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1)),
        "affinity": lambda: os.sched_setaffinity(0, os.sched_getaffinity(0)),
        "memory written and run": lambda: mmap.mmap(
            -1, mmap.PAGESIZE, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC
        ).close(),
        "kernel log": lambda: Path("/dev/kmsg").open("rb").close(),
        "kernel's addresses": lambda: Path("/proc/kallsyms").read_text(),
        "work folder": lambda: Path("probe").write_text(""),
        "memory file": lambda: os.close(os.memfd_create("probe")),
        "loopback": lambda: socket.create_server(("127.0.0.1", 0)).close(),
    }
    found = {
        "tried": {name: _outcome(trial) for name, trial in trials.items()},
        "homes": {folder: _names(folder) for folder in ("/home", "/root")},
        "devices": _names("/dev"),
        "processes of others": [pid for pid in _names("/proc") if pid.isdigit() and _owner(pid) != os.getuid()],
        "credentials": _names(os.environ.get("CREDENTIALS_DIRECTORY", "/nowhere")),
        "folders": [os.environ.get(name, "") for name in ("HOME", "TMPDIR", "CUDA_CACHE_PATH")],
    }
    sys.stderr.write(f"{EVENT} {json.dumps(found)}\n")


def _outcome(trial: Callable[[], object]) -> str:
    try:
        trial()
    except OSError as error:
        return error.strerror
    return "done"


def _call(name: str, *arguments: object) -> None:
    if getattr(ctypes.CDLL(None, use_errno=True), name)(*arguments) != 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


def _names(folder: str) -> list[str]:
    with contextlib.suppress(OSError):
        return sorted(path.name for path in Path(folder).iterdir())
    return []


def _owner(pid: str) -> int:
    with contextlib.suppress(OSError):
        return Path("/proc", pid).stat().st_uid
    return os.getuid()


if __name__ == "__main__":
    main()
