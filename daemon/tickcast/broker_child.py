"""Becomes the broker's Java process, and leaves a watcher that ends it when the process that started it is gone.

Before every stage of the way of a tick. Run as a script, `broker_child.py PARENT_PID SCRATCH COMMAND...`, with the
standard library only. SCRATCH is a folder to delete after the parent's death, or an empty string.

Why not PR_SET_PDEATHSIG: the kernel sends it when the parent's *thread* ends, so a broker started from a helper thread
would die with that thread; and setting it takes a `preexec_fn`, which may deadlock in a process that has threads. Why
not a pipe to the parent: any other child that the parent forks keeps it open. A pidfd becomes readable exactly when
that one process has ended, for whatever reason, kill -9 included.
"""

import os
import select
import shutil
import signal
import sys


def main(parent_pid: int, scratch: str, command: list[str]) -> None:
    """Never returns, unless the parent is gone already: this process becomes `command`."""
    parent = os.pidfd_open(parent_pid)
    if os.getppid() != parent_pid:
        return  # gone before it could be watched, and its number perhaps another's
    broker = os.pidfd_open(os.getpid())
    if os.fork() == 0:
        _watch(parent, broker, scratch)
        os._exit(0)
    os.execv(command[0], command)  # the same process: who started us holds Kafka's own pid and exit status


def _watch(parent: int, broker: int, scratch: str) -> None:
    either = select.poll()
    either.register(parent, select.POLLIN)
    either.register(broker, select.POLLIN)
    ended = {descriptor for descriptor, _ in either.poll()}
    if broker in ended:
        return
    signal.pidfd_send_signal(broker, signal.SIGKILL)
    either.unregister(parent)
    either.poll()
    if scratch:
        shutil.rmtree(scratch, ignore_errors=True)


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2], sys.argv[3:])
