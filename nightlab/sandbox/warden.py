"""A small parent for a job that runs without a sandbox: ends all of it when told to.

Run by path as ``python -I -S warden.py PIPE SOCKET LIMITS COMMAND…``; it imports the
standard library only. As a child subreaper it inherits every orphan of the job, so also
processes that forked twice or left the session; when the pipe to the engine ends (which
it does when the engine dies, however it dies) or the command ends, it kills them all.

It cannot outlive its own SIGKILL, and the job runs as the same user: this is tidiness
for trusted code, no containment.
"""

import ctypes
import json
import os
import resource
import select
import signal
import sys
import time

PR_SET_PDEATHSIG = 1
PR_SET_CHILD_SUBREAPER = 36
LIMIT_NAMES = {
    "data_bytes": resource.RLIMIT_DATA,
    "file_bytes": resource.RLIMIT_FSIZE,
    "open_files": resource.RLIMIT_NOFILE,
}


def main() -> int:
    """Run the command; return its exit code (128 + signal where one ended it)."""
    pipe, job_socket = int(sys.argv[1]), int(sys.argv[2])
    limits, command = json.loads(sys.argv[3]), sys.argv[4:]
    libc = ctypes.CDLL(None, use_errno=True)
    libc.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    child = os.fork()
    if child == 0:
        libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        os.close(pipe)
        os.set_inheritable(job_socket, True)
        _limit(limits)
        os.execv(command[0], command)
    os.close(job_socket)
    ended = os.pidfd_open(child)
    select.select([pipe, ended], [], [])
    return _end_all(child)


def _limit(limits: dict[str, int | None]) -> None:
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    for name, kind in LIMIT_NAMES.items():
        wanted = limits.get(name)
        _, hard = resource.getrlimit(kind)
        if wanted is not None:
            limit = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
            resource.setrlimit(kind, (limit, limit))


def _end_all(child: int) -> int:
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
            time.sleep(0.001)


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
    except ProcessLookupError:
        return


if __name__ == "__main__":
    sys.exit(main())
