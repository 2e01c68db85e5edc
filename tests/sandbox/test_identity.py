"""Ids that are a job's alone: taken, held, given back."""

import os
import subprocess
import sys
import traceback
from pathlib import Path

import pytest

from nightlab.errors import SandboxUnavailable
from nightlab.sandbox.confine import give_up_privileges
from nightlab.sandbox.identity import IDENTITIES, claim_identity

CLONE_NEWUSER = 0x10000000
NOBODY = 65534

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can give ids")


@pytest.fixture(autouse=True)
def ids_of_this_process(monkeypatch):
    """Ids that no other process of the tests takes meanwhile."""
    worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
    own = IDENTITIES[-10 * (worker + 1) :][:10]
    monkeypatch.setattr("nightlab.sandbox.identity.IDENTITIES", own)


def in_a_child(function) -> str:
    """What a function returns, or raises, in a process of its own."""
    told, tell = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            said = str(function())
        except SandboxUnavailable as refusal:
            said = f"refused: {refusal}"
        except OSError:
            said = traceback.format_exc()
        os.write(tell, said.encode())
        os._exit(0)
    os.close(tell)
    os.waitpid(child, 0)
    with open(told) as pipe:
        return pipe.read()


@as_root
def test_each_claim_is_another_id_that_nobody_has():
    with claim_identity() as first, claim_identity() as second:
        assert first.uid != second.uid
        assert {first.uid, second.uid} <= set(IDENTITIES)
        assert NOBODY not in IDENTITIES
        assert max(IDENTITIES) < 2**16
        other = in_a_child(lambda: claim_identity().uid)
        assert int(other) not in (first.uid, second.uid)


@as_root
def test_what_was_given_back_is_given_again():
    with claim_identity() as first:
        taken = first.uid
    with claim_identity() as again:
        assert again.uid == taken
        again.release()  # once more at the end of the block does no harm


@as_root
def test_an_id_stays_taken_for_as_long_as_one_holder_lives():
    identity = claim_identity()
    assert identity.lock is not None
    with subprocess.Popen(["sleep", "600"], pass_fds=(identity.lock,)) as holder:
        identity.release()
        try:
            with claim_identity() as next_one:
                assert next_one.uid != identity.uid
        finally:
            holder.kill()
    with claim_identity() as again:
        assert again.uid == identity.uid


@as_root
def test_an_id_with_a_process_is_not_taken():
    with claim_identity() as identity:
        taken = str(identity.uid)
    command = ["setpriv", "--reuid", taken, "--regid", taken, "--clear-groups", "sleep", "600"]
    with subprocess.Popen(command) as squatter:
        try:
            while Path(f"/proc/{squatter.pid}/comm").read_text() != "sleep\n":
                pass
            with claim_identity() as other:
                assert other.uid != int(taken)
        finally:
            squatter.kill()


@as_root
def test_shared_memory_that_a_holder_leaves_is_removed_and_nothing_else():
    ours = Path("/dev/shm/nightlab-test-ours")
    theirs = Path("/dev/shm/nightlab-test-theirs")
    theirs.write_text("another's")
    try:
        with claim_identity() as identity:
            assert identity.uid is not None
            ours.write_text("left")
            os.chown(ours, identity.uid, identity.uid)
        assert not ours.exists()
        assert theirs.exists()
    finally:
        theirs.unlink()


def test_an_ordinary_user_has_nothing_to_take():
    def claim():
        if os.geteuid() == 0:
            os.setresuid(12345, 12345, 12345)
        return claim_identity().uid

    assert in_a_child(claim) == "None"


@as_root
def test_root_without_the_capabilities_is_refused():
    def claim():
        give_up_privileges()
        return claim_identity().uid

    said = in_a_child(claim)
    assert said.startswith("refused: ")
    assert "SETUID" in said
    assert "ordinary user" in said


# A process of its own, not a fork: libraries that other tests load start threads in
# every fork, and the kernel makes no user namespace for a process with threads.
IN_A_CONTAINER_WITH_ONE_ID = f"""
import ctypes, pathlib
from nightlab.errors import SandboxUnavailable
from nightlab.sandbox.identity import claim_identity

if ctypes.CDLL(None, use_errno=True).unshare({CLONE_NEWUSER}) != 0:
    raise OSError(ctypes.get_errno(), "no user namespace could be made")
for name, value in (("uid_map", "0 0 1"), ("setgroups", "deny"), ("gid_map", "0 0 1")):
    pathlib.Path("/proc/self", name).write_text(value)
try:
    print(claim_identity().uid)
except SandboxUnavailable as refusal:
    print("refused:", refusal)
"""


@as_root
def test_a_container_with_too_few_ids_is_refused():
    said = subprocess.run(
        [sys.executable, "-c", IN_A_CONTAINER_WITH_ONE_ID], capture_output=True, text=True
    )
    assert said.stdout.startswith("refused: "), said.stderr
    assert "0 of these exist here" in said.stdout
