"""Rules on files, ports and signals, applied to a process for real."""

import json
import socket
import subprocess
import sys
import textwrap
import uuid

import pytest

from nightlab.sandbox import landlock

TRY = """
    import errno, json, os, socket, sys
    from nightlab.sandbox import landlock
    from nightlab.sandbox.confine import give_up_privileges
    inside, outside, port, name = json.loads(sys.argv[1])
    def tried(function):
        try:
            function()
        except OSError as error:
            return "refused" if error.errno in (errno.EPERM, errno.EACCES, errno.EXDEV) else error
        return "done"
    def network(address):
        family = socket.AF_UNIX if isinstance(address, str) else socket.AF_INET
        with socket.socket(family) as made:
            made.connect(address)
    attempts = {
        "read inside": lambda: open(f"{inside}/file").read(),
        "read outside": lambda: open(f"{outside}/file").read(),
        "list outside": lambda: os.listdir(outside),
        "write inside": lambda: open(f"{inside}/new", "w").close(),
        "write outside": lambda: open(f"{outside}/new", "w").close(),
        "truncate outside": lambda: os.truncate(f"{outside}/file", 1),
        "link in": lambda: os.link(f"{outside}/file", f"{inside}/hard"),
        "rename within": lambda: os.rename(f"{inside}/new", f"{inside}/deep/new"),
        "read through a link": lambda: open(f"{inside}/link").read(),
        "connect to a port": lambda: network(("127.0.0.1", port)),
        "connect to an abstract socket": lambda: network("\\0" + name),
        "signal the parent": lambda: os.kill(os.getppid(), 0),
        "signal oneself": lambda: os.kill(os.getpid(), 0),
    }
    give_up_privileges()
    if sys.argv[2] == "held":
        rules = landlock.Ruleset()
        rules.allow(inside, landlock.WORK)
        rules.apply()
    print(json.dumps({what: tried(function) for what, function in attempts.items()}))
"""


@pytest.fixture
def tried(tmp_path):
    inside, outside, name = tmp_path / "inside", tmp_path / "outside", uuid.uuid4().hex
    for folder in (inside / "deep", outside):
        folder.mkdir(parents=True)
    for folder in (inside, outside):
        (folder / "file").write_text("text")
    (inside / "link").symlink_to(outside / "file")
    local = socket.socket(socket.AF_UNIX)
    with socket.create_server(("127.0.0.1", 0)) as server, local:
        local.bind("\0" + name)
        local.listen()
        words = json.dumps([str(inside), str(outside), server.getsockname()[1], name])

        def run(how: str) -> dict[str, str]:
            command = [sys.executable, "-c", textwrap.dedent(TRY), words, how]
            done = subprocess.run(command, capture_output=True, text=True, timeout=60)
            assert done.returncode == 0, done.stderr
            return json.loads(done.stdout)

        yield run


def test_what_no_rule_allows_is_refused_and_would_be_done_without(tried):
    held = tried("held")
    allowed = {"read inside", "write inside", "rename within", "signal oneself"}
    assert {what for what, came in held.items() if came == "done"} == allowed
    # Without Landlock the same attempts succeed, so it is Landlock that refused them.
    free = tried("free")
    assert {what for what, came in free.items() if came != "done"} == set()


def test_the_version_is_the_kernels():
    assert landlock.abi() >= landlock.NEEDED_ABI


# From the kernel's linux/landlock.h: the name of a right, and its bit.
BITS = {
    **{"EXECUTE": 0, "WRITE_FILE": 1, "READ_FILE": 2, "READ_DIR": 3, "REMOVE_DIR": 4},
    **{"REMOVE_FILE": 5, "MAKE_DIR": 7, "MAKE_REG": 8, "MAKE_FIFO": 10, "MAKE_SYM": 12},
    **{"REFER": 13, "TRUNCATE": 14, "IOCTL_DEV": 15},
}


def test_each_right_is_the_kernels_bit():
    assert {name: getattr(landlock, name) for name in BITS} == {
        name: 1 << bit for name, bit in BITS.items()
    }


def test_what_each_kind_of_path_allows_is_written_here_too():
    def names(rights):
        return {name for name, bit in BITS.items() if rights >> bit & 1}

    assert names(landlock.READ) == {"READ_FILE", "READ_DIR", "EXECUTE"}
    # All but device nodes and sockets, which have bits of their own (6, 9 and 11), and ioctls.
    assert names(landlock.WORK) == set(BITS) - {"IOCTL_DEV"}
    assert landlock.WORK >> 6 & 1 == landlock.WORK >> 9 & 1 == landlock.WORK >> 11 & 1 == 0
    assert names(landlock.DEVICE) == {"READ_FILE", "WRITE_FILE", "IOCTL_DEV"}
