"""What the last step before a job's program leaves of rights, limits and descriptors."""

import json
import marshal
import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest

from nightlab.sandbox import confine
from nightlab.sandbox.confine import BEGAN

CONFINE = Path(confine.__file__)
SHOW = """
import json, os, resource, signal
limits = {n: resource.getrlimit(getattr(resource, n)) for n in ("RLIMIT_NOFILE", "RLIMIT_CORE")}
status = dict(line.split(":", 1) for line in open("/proc/self/status"))
print(json.dumps({
    "limits": limits, "environment": dict(os.environ), "folder": os.getcwd(),
    "descriptors": [n for n in range(1024) if os.path.exists(f"/proc/self/fd/{n}")],
    "ids": os.getresuid() + os.getresgid(), "groups": os.getgroups(),
    "capabilities": status["CapPrm"].strip(), "privileges": status["NoNewPrivs"].strip(),
    "score": open("/proc/self/oom_score_adj").read().strip(),
}))
"""


def confined(folder: Path, **changes):
    """Run a program through ``confine``: (exit code, what it printed, what it told)."""
    kept, dropped = os.pipe()
    status, told = os.pipe()
    specification = {
        "limits": {"RLIMIT_NOFILE": 64, "RLIMIT_CORE": 1},
        "identity": None,
        "wall": None,
        "keep": [kept],
        "folder": str(folder),
        "environment": {"ONLY": "this"},
        "command": [sys.executable, "-I", "-S", "-c", SHOW],
        **changes,
    }
    source = os.memfd_create("specification")
    os.write(source, marshal.dumps(specification))
    os.lseek(source, 0, os.SEEK_SET)
    command = [sys.executable, "-I", "-S", "-B", str(CONFINE), str(source), str(told)]
    done = subprocess.run(
        command, capture_output=True, text=True, pass_fds=(source, told, kept, dropped)
    )
    for descriptor in (source, told, dropped):
        os.close(descriptor)
    said = os.read(status, 100)
    os.close(kept)
    os.close(status)
    return kept, done, said


def test_a_program_gets_what_was_said_and_nothing_else(tmp_path):
    kept, done, said = confined(tmp_path)
    assert said == BEGAN
    shown = json.loads(done.stdout)
    assert shown["limits"] == {"RLIMIT_NOFILE": [64, 64], "RLIMIT_CORE": [1, 1]}
    assert set(shown["environment"]) - {"LC_CTYPE"} == {"ONLY"}
    assert shown["folder"] == str(tmp_path)
    assert shown["descriptors"] == [0, 1, 2, kept]
    assert shown["score"] == "500"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can change ids")
def test_roots_rights_go_with_its_id():
    everywhere = {
        "readable": ["/"],
        "writable": [],
        "devices": [],
        "filter": ALLOW_ALL,
        "names_threads": False,
    }
    _, done, said = confined(
        Path("/"), identity=60578, wall=everywhere, command=["/bin/cat", "/proc/self/status"]
    )
    assert said == BEGAN, done.stderr
    status = dict(line.split(":", 1) for line in done.stdout.splitlines())
    assert status["Uid"].split() == status["Gid"].split() == ["60578"] * 4
    assert status["Groups"].split() == []
    for name in ("CapInh", "CapPrm", "CapEff", "CapAmb"):
        assert int(status[name], 16) == 0
    assert status["NoNewPrivs"].strip() == "1"
    assert status["Seccomp"].strip() == "2"


ALLOW_ALL = b"\x06\x00\x00\x00\x00\x00\xff\x7f"


@pytest.mark.parametrize("listed", ["readable", "writable"])
def test_what_is_listed_to_be_read_cannot_be_written_by_its_owner_either(tmp_path, listed):
    # Root's candidates have an id of their own, which would hide it.
    wall = {"readable": ["/"], "writable": [], "devices": [], "filter": ALLOW_ALL}
    wall |= {
        "names_threads": False,
        listed: [*([] if listed == "writable" else ["/"]), str(tmp_path)],
    }
    script = f"echo planted > {tmp_path}/planted"
    _, done, said = confined(tmp_path, wall=wall, command=["/bin/sh", "-c", script])
    assert said == BEGAN, done.stderr
    assert (done.returncode == 0) == (listed == "writable")
    assert (tmp_path / "planted").exists() == (listed == "writable")


@pytest.mark.parametrize(
    "changes",
    [
        {"folder": "/nowhere"},
        {"limits": {"RLIMIT_NOFILE": 3}},
        {
            "wall": {
                "readable": ["/nowhere"],
                "writable": [],
                "devices": [],
                "filter": ALLOW_ALL,
                "names_threads": False,
            }
        },
        {
            "wall": {
                "readable": ["/"],
                "writable": [],
                "devices": [],
                "filter": b"\x06",
                "names_threads": False,
            }
        },
        {"command": ["/nowhere/program"]},
    ],
)
def test_a_step_that_fails_is_told_apart_from_a_program_that_fails(tmp_path, changes):
    _, done, said = confined(**{"folder": tmp_path, **changes})
    assert done.returncode == 1
    assert said != BEGAN
    assert done.stderr.strip()


def test_a_limit_above_our_own_is_our_own(tmp_path):
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    _, done, _ = confined(tmp_path, limits={"RLIMIT_NOFILE": hard + 1, "RLIMIT_CORE": 1})
    assert json.loads(done.stdout)["limits"]["RLIMIT_NOFILE"] == [hard, hard]
