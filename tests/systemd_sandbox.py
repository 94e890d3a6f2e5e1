"""The machine's own systemd as PID 1 of a throw-away container, for tests of the unit: needs root, leaves nothing.

The container sees the machine's file system through an overlay whose writes go to memory; /run, /tmp and /dev are its
own, and so are its processes, mounts, host name and control groups. The network is the machine's: a service inside
reaches a broker on loopback. On the real root systemd would empty /tmp.

`Sandbox` is a context manager. However the process that made it ends, the container ends with it.
"""

import os
import shutil
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

import psutil
import pytest

SYSTEMD = Path("/lib/systemd/systemd")
TOOLS = ("unshare", "nsenter", "mount", "pivot_root", "systemctl", "journalctl")
BOOT_TIMEOUT_S = 60.0  # one is usual
COMMAND_TIMEOUT_S = 60.0
POLL_INTERVAL_S = 0.05
# What a container has of its own.
FRESH = ("run", "tmp", "dev")

# Its own mounts; a control group of its own, so that two of these do not meet; then the other namespaces. Its standard
# input is the other end of ours: when that closes, by whatever end, everything in the container is killed.
OUTER = """
set -e
base=$1; boot=$2; name=$3
mount --make-rprivate /
mount -t tmpfs tmpfs "$base"
mkdir "$base/cgroup"
mount -t cgroup2 none "$base/cgroup"
group="$base/cgroup$(sed -n 's/^0:://p' /proc/self/cgroup)/$name"
mkdir "$group"
(
  echo "$BASHPID" > "$group/cgroup.procs"
  exec unshare --mount --pid --fork --kill-child --cgroup --ipc --uts bash -c "$boot" boot "$base" "${@:4}" < /dev/null
) &
container=$!
exec 3<&0
{ read -r _ || true; rm -f "$base.log"; kill -KILL "$container"; } <&3 &
watcher=$!
wait "$container" || true
kill "$watcher" || true
for _ in $(seq 100); do
  find "$group" -depth -type d -exec rmdir {} + 2> /dev/null && break
  sleep 0.05
done
cd /
umount -l "$base"
rmdir "$base"
"""

# Inside the namespaces: the root as the container is to see it, and systemd on it.
BOOT = """
set -e
base=$1; shift
root=$base/root
mkdir "$base/upper" "$base/work" "$root"
mount -t overlay overlay -o "lowerdir=/,upperdir=$base/upper,workdir=$base/work" "$root"
mount -t proc proc "$root/proc"
# The kernel is the machine's: its settings and devices are not the container's to change, and it starts no udev.
mount --bind -o ro "$root/proc/sys" "$root/proc/sys"
mount -t sysfs -o ro sysfs "$root/sys"
for folder in run tmp dev; do mount -t tmpfs tmpfs "$root/$folder"; done
for device in null zero full random urandom tty; do
  touch "$root/dev/$device"
  mount --bind "/dev/$device" "$root/dev/$device"
done
mkdir "$root/dev/shm" "$root/dev/pts"
mount -t devpts -o newinstance,ptmxmode=0666 devpts "$root/dev/pts"
ln -s pts/ptmx "$root/dev/ptmx"
mount -t tmpfs tmpfs "$root/sys/fs/cgroup"
mount -t cgroup2 none "$root/sys/fs/cgroup"
for folder; do
  mkdir -p "$root$folder"
  mount --bind -o ro "$folder" "$root$folder"
done
rm -rf "$root"/etc/systemd/system/*.target.wants "$root"/etc/systemd/system/tickcast@*
export container=sandbox
# Not chroot: nobody makes user namespaces in one, which PrivateUsers= does.
cd "$root"
pivot_root . .
umount -l .
# Mounts reach the namespaces that systemd makes for services, as on a machine: credentials are mounts.
mount --make-rshared /
exec "$SYSTEMD" --system --unit=basic.target
"""


class Sandbox:
    """A running container. Skips the test where there can be none."""

    def __init__(self, visible: Sequence[Path] = ()) -> None:
        """`visible`: folders of the machine that have to be there; those on the root file system are anyway."""
        if reason := _hindrance():
            pytest.skip(reason)
        self._base = Path(tempfile.mkdtemp(prefix="tickcast-systemd-", dir="/var/tmp"))
        self._log = Path(f"{self._base}.log")
        self._visible = [str(path) for path in visible if _has_to_be_bound(path)]
        self._outer: subprocess.Popen[bytes] | None = None
        self._init = 0

    def __enter__(self) -> Self:
        name = f"tickcast-{uuid.uuid4().hex[:12]}"
        with self._log.open("wb") as log:
            self._outer = subprocess.Popen(
                ["unshare", "--mount", "bash", "-c", OUTER, "outer", str(self._base), BOOT, name, *self._visible],
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                env={**os.environ, "SYSTEMD": str(SYSTEMD)},
                start_new_session=True,  # Ctrl-C is for the tests, which end it in their own order
            )
        try:
            self._wait_booted()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def root(self) -> Path:
        """The container's root, as this process can reach it."""
        return Path(f"/proc/{self._init}/root")

    def run(self, *command: str) -> "subprocess.CompletedProcess[str]":
        """A command inside, as root: its status and what it said."""
        enter = ["nsenter", f"--target={self._init}", *(f"--{each}" for each in ("mount", "pid", "cgroup", "ipc"))]
        return subprocess.run(
            [*enter, "--uts", "--root", "--wd", "--", *command],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=COMMAND_TIMEOUT_S,
            check=False,
        )

    def host_pid(self, pid: int) -> int:
        """The process that is `pid` inside, as this process has to call it."""
        for child in psutil.Process(self._init).children(recursive=True):
            status = Path(f"/proc/{child.pid}/status").read_text()
            if next(line for line in status.splitlines() if line.startswith("NSpid:")).split()[-1] == str(pid):
                return child.pid
        raise LookupError(f"no process {pid} inside")

    def close(self) -> None:
        """End it, everything in it included. May be called again."""
        if self._outer is not None:
            assert self._outer.stdin is not None
            self._outer.stdin.close()
            self._outer.wait(COMMAND_TIMEOUT_S)
            self._outer = None
        self._log.unlink(missing_ok=True)
        if self._base.exists():  # it did not come as far as to clean up
            self._base.rmdir()

    def _wait_booted(self) -> None:
        deadline_s = time.monotonic() + BOOT_TIMEOUT_S
        while not self._is_booted():
            assert self._outer is not None
            if self._outer.poll() is not None or time.monotonic() > deadline_s:
                said = self._log.read_text(errors="replace")
                pytest.fail(f"systemd did not boot:\n{said}")
            time.sleep(POLL_INTERVAL_S)

    def _is_booted(self) -> bool:
        assert self._outer is not None
        try:
            found = [each.pid for each in psutil.Process(self._outer.pid).children(True) if each.name() == "systemd"]
        except psutil.NoSuchProcess:
            return False
        if not found:
            return False
        self._init = found[0]
        return self.run("systemctl", "is-active", "--quiet", "basic.target").returncode == 0


def _hindrance() -> str:
    """Why there can be no container here; empty where there can."""
    if not sys.platform.startswith("linux"):
        return "systemd is Linux's"
    if os.geteuid() != 0:
        return "needs root, to boot systemd in namespaces of its own"
    if not SYSTEMD.exists():
        return "systemd is not installed: apt-get install systemd"
    if missing := [tool for tool in TOOLS if shutil.which(tool) is None]:
        return f"not installed: {', '.join(missing)} (apt-get install systemd util-linux mount)"
    tried = subprocess.run(
        ["unshare", "--mount", "--pid", "--fork", "--cgroup", "true"], capture_output=True, text=True
    )
    return f"no namespaces here: {tried.stderr.strip()}" if tried.returncode else ""


def _has_to_be_bound(path: Path) -> bool:
    inside = path.resolve()
    return inside.stat().st_dev != Path("/").stat().st_dev or inside.parts[1] in FRESH
