"""Run a command in an environment that refuses parts of the sandbox, as containers do.

``python refuse.py --no-user-namespaces [--no-landlock] -- COMMAND…``: a seccomp filter
answers "not permitted" to new namespaces and, as an older kernel does, "not implemented"
to Landlock's calls, for the command and everything that it starts.
"""

import argparse
import ctypes
import errno
import os
import sys

from nightlab.sandbox.confine import install_filter
from nightlab.sandbox.seccomp import NAMESPACE_FLAGS, Argument, Program

LANDLOCK = ("landlock_create_ruleset", "landlock_add_rule", "landlock_restrict_self")
PR_SET_NO_NEW_PRIVS = 38


def main() -> None:
    """Install the filter and become the command."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--no-user-namespaces", action="store_true")
    parser.add_argument("--no-landlock", action="store_true")
    parser.add_argument("command", nargs="+")
    wanted = parser.parse_args()
    program = Program()
    if wanted.no_user_namespaces:
        program.answer(("unshare", "setns"), errno.EPERM)
        program.answer(("clone3",), errno.ENOSYS)
        program.only("clone", Argument(0, 0, mask=NAMESPACE_FLAGS))
    if wanted.no_landlock:
        program.answer(LANDLOCK, errno.ENOSYS)
    # Root may install a filter as it is; others only without a way to new privileges.
    if os.geteuid() != 0:
        forgo_new_privileges()
    install_filter(program.assemble())
    os.execvp(wanted.command[0], wanted.command)


def forgo_new_privileges() -> None:
    """Give up gaining privileges by running programs."""
    if ctypes.CDLL(None).prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0:
        sys.exit("refuse.py: no_new_privs cannot be set")


if __name__ == "__main__":
    main()
