"""A small parent for a job without a process namespace: ends all of it when told to.

Run by path as ``python -I -S -B warden.py ENDS IDENTITY INHERITED COMMAND…``. Every job
pays for its imports, so it takes little of the standard library. ``ENDS`` are descriptors,
with commas between: a pipe from the engine, which ends when the engine does, however it does,
and an event for others that may end the job (``timekeeper``); ``IDENTITY`` is the user id that is
the job's alone, or ``none``; ``INHERITED`` are descriptors likewise, that only the command
is to have.

When the pipe ends, the event comes or the command ends, all of the job is killed, in three ways:

1. the process group, in one system call that no fork can slip past. Under the filter of
   rung 2 no process of the job can leave the group;
2. as root, all processes with the job's user id, likewise in one system call;
3. every descendant that is still found, until none is. As a child subreaper the warden
   inherits the job's orphans. Processes that fork and leave the group without a pause can
   keep ahead of this for seconds, which matters where neither of the first two holds.

It lives in a session of its own and, on rung 2, out of reach of the job's signals. It
cannot outlive its own SIGKILL; the job's first process then dies with it, no other.
"""

import ctypes
import os
import select
import signal
import sys
import time

PR_SET_CHILD_SUBREAPER = 36
NO_IDENTITY = "none"
ORPHANS_SECONDS = 0.2
SWEEP_SECONDS = 0.001
# Meant for the engine, if at all: the job ends with it, or when it says so.
IGNORED = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT)


def main() -> int:
    """Run the command; return its exit code (128 + signal where one ended it)."""
    ends, identity, inherited, *command = sys.argv[1:]
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    child = os.fork()
    if child == 0:
        os.setpgid(0, 0)
        os.execv(command[0], command)
    for number in IGNORED:
        signal.signal(number, signal.SIG_IGN)
    for descriptor in filter(None, inherited.split(",")):
        os.close(int(descriptor))
    _wait(child, [int(each) for each in ends.split(",")])
    _kill_group(child)
    if identity != NO_IDENTITY:
        _kill_user(int(identity))
    return _kill_descendants(child)


def _wait(child: int, ends: list[int]) -> None:
    """Return when the command has ended or is to; it is left to be reaped."""
    ends = [*ends, os.pidfd_open(child)]
    while not select.select(ends, [], [], ORPHANS_SECONDS)[0]:
        _reap_orphans(child)


def _reap_orphans(child: int) -> None:
    while True:
        found = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        if found is None or found.si_pid == child:
            return
        os.waitpid(found.si_pid, 0)


def _kill_group(child: int) -> None:
    # Not reaped yet, so its number is still its own and that of its group.
    for kill in (os.killpg, os.kill):
        try:
            kill(child, signal.SIGKILL)
        except (ProcessLookupError, PermissionError):
            continue


def _kill_user(identity: int) -> None:
    """Kill all processes of a user: as that user, since then -1 reaches no others."""
    os.setresuid(identity, identity, 0)
    try:
        os.kill(-1, signal.SIGKILL)
    except ProcessLookupError:
        return
    finally:
        os.setresuid(0, 0, 0)


def _kill_descendants(child: int) -> int:
    code = 128 + signal.SIGKILL
    while True:
        try:
            ended, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return code
        if ended == child:
            code = os.waitstatus_to_exitcode(status)
            code = code if code >= 0 else 128 - code
        if ended == 0:
            for descendant in _descendants(os.getpid()):
                _kill(descendant)
            time.sleep(SWEEP_SECONDS)


def _descendants(ancestor: int) -> set[int]:
    parents: dict[int, int] = {}
    for name in os.listdir("/proc"):
        if name.isdigit():
            parent = _parent(int(name))
            if parent is not None:
                parents[int(name)] = parent
    found: set[int] = set()
    grown = {ancestor}
    while grown:
        grown = {pid for pid, parent in parents.items() if parent in grown} - found
        found |= grown
    return found


def _parent(pid: int) -> int | None:
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as file:
            # The name, in parentheses, may itself hold spaces and parentheses.
            return int(file.read().rpartition(")")[2].split()[1])
    except (OSError, IndexError):
        return None


def _kill(pid: int) -> None:
    try:
        os.kill(pid, signal.SIGKILL)
    except (ProcessLookupError, PermissionError):
        return


if __name__ == "__main__":
    sys.exit(main())
