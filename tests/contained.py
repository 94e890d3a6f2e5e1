"""A daemon confined as its image has it: process 1 of its own process space, a user with no name and no capability, and
a file system of its own that cannot be written. Made of the kernel's own parts; needs root, and no container engine.
"""

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path

import psutil
import pytest
from daemons import PATIENCE_S, DaemonProcess, wait_until
from deployments import IMAGE, ROOT, instructions, last, of_target

# What of the host a process needs that an image would bring: the system's libraries and interpreters, this project.
OF_THE_HOST = ("/usr", "/etc/ld.so.cache", *map(str, (ROOT, Path(sys.prefix), Path(sys.base_prefix))))
DEVICES = ("null", "zero", "random", "urandom")
# Run as root in namespaces of its own. $1: an empty folder; then `--bind SOURCE TARGET` each; `--`; what to run there.
SCRIPT = """
set -eu
root=$1
shift
mount --make-rprivate /
mount -t tmpfs -o mode=0755 tmpfs "$root"
for name in bin sbin lib lib32 lib64; do
  if [ -L "/$name" ]; then cp -P "/$name" "$root/$name"; fi
done
mkdir "$root/proc" "$root/sys" "$root/tmp" "$root/dev"
mount -t proc -o nosuid,nodev,noexec proc "$root/proc"
mount -t sysfs -o ro,nosuid,nodev,noexec sysfs "$root/sys"
mount -t tmpfs -o mode=1777,size=64m,nosuid,nodev tmpfs "$root/tmp"
while [ "$1" = --bind ]; do
  if [ -d "$2" ]; then mkdir -p "$root/$3"; else mkdir -p "$(dirname "$root/$3")"; touch "$root/$3"; fi
  mount --bind "$2" "$root/$3"
  case $2 in /dev/*) ;; *) mount -o remount,bind,ro "$root/$3" ;; esac
  shift 3
done
shift
mount -o remount,ro "$root"
exec chroot "$root" "$@"
"""


def skip_where_nothing_can_be_confined() -> None:
    """Skip the test without root or the programs that confine."""
    missing = [name for name in ("unshare", "setpriv", "chroot", "mount") if shutil.which(name) is None]
    if missing:
        pytest.skip(f"{', '.join(missing)}: not installed (util-linux)")
    if os.geteuid() != 0:
        pytest.skip("needs root: namespaces, mounts and another user")
    if subprocess.run([*_unshared(), "true"], capture_output=True, check=False).returncode != 0:
        pytest.skip("namespaces cannot be made here")


class ContainedDaemon(DaemonProcess):
    """`tickcast run` as the image starts it, with `config` and `bundle` mounted where the image looks for them."""

    def __init__(self, config: Path, bundle: Path, environment: Mapping[str, str]) -> None:
        stages = of_target(instructions(IMAGE / "Dockerfile"), "cpu")
        entry = [*last(stages, "ENTRYPOINT").words(), *last(stages, "CMD").words()]
        binds = {each: each for each in dict.fromkeys(OF_THE_HOST) if Path(each).exists()}
        binds |= {f"/dev/{name}": f"/dev/{name}" for name in DEVICES}
        binds |= {str(config): entry[-1], str(bundle): "/var/lib/tickcast/bundle"}
        mounts = [word for source, target in binds.items() for word in ("--bind", source, target)]
        root = config.parent / f"root-{time.monotonic_ns()}"
        root.mkdir()
        variables = {"PATH": f"{Path(sys.prefix) / 'bin'}:/usr/bin", "PYTHONDONTWRITEBYTECODE": "1", **environment}
        only = ["env", "-i", *(f"{name}={value}" for name, value in variables.items())]
        inside = [*_confined(*last(stages, "USER").arguments.split(":")), "--", *only, *entry]
        self.log_path = config.with_name(f"{config.stem}.{time.monotonic_ns()}.log")
        with self.log_path.open("wb") as log:
            self._process = subprocess.Popen(
                [*_unshared(), "sh", "-c", SCRIPT, "sh", str(root), *mounts, "--", *inside],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=log,
                cwd="/",
            )

    @cached_property
    def inner_pid(self) -> int:
        """The loop's process, as it is called out here; once it runs."""
        (first,) = psutil.Process(self.pid).children()
        return first.pid

    def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Ask it to end, as a container engine does: process 1 gets the signal. Its exit status."""
        os.kill(self.inner_pid, number)
        return self.wait()

    def state(self) -> dict[str, str]:
        """What the kernel says of it: the lines of /proc/PID/status."""
        text = Path(f"/proc/{self.inner_pid}/status").read_text()
        return {name: " ".join(value.split()) for name, value in re.findall(r"^(\w+):(.*)$", text, flags=re.MULTILINE)}

    def writable(self) -> set[str]:
        """The mount points that it could write to, were it allowed to."""
        mounts = [line.split() for line in Path(f"/proc/{self.inner_pid}/mountinfo").read_text().splitlines()]
        return {fields[4] for fields in mounts if "rw" in fields[5].split(",")}

    def left_behind(self) -> list[str]:
        """What lies in its /tmp."""
        folder = Path(f"/proc/{self.inner_pid}", "root", "tmp")
        return [path.name for path in folder.iterdir()]

    def wait_exit(self) -> int:
        """Its exit status, once it has ended by itself."""
        wait_until(lambda: self.status is not None, "it ended", PATIENCE_S)
        assert self.status is not None
        return self.status


def _unshared() -> list[str]:
    # The network stays the host's: broker and probes are there.
    return ["unshare", "--mount", "--pid", "--ipc", "--uts", "--fork", "--kill-child"]


def _confined(user: str, group: str) -> list[str]:
    no_capability = ["--bounding-set=-all", "--inh-caps=-all", "--ambient-caps=-all"]
    # With `unshare` all that is inside ends: another user's process no longer does so by --kill-child.
    ends_with_parent = "--pdeathsig=KILL"
    user_and_groups = [f"--reuid={user}", f"--regid={group}", "--clear-groups"]
    return ["setpriv", *user_and_groups, "--no-new-privs", *no_capability, ends_with_parent]
