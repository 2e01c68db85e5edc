"""The probe must see what gets through, or what it says was held means nothing."""

import contextlib
import dataclasses
import os
import subprocess
import sys

import pytest

from nightlab.errors import SandboxUnavailable
from nightlab.records import Confinement, Escape
from nightlab.sandbox import probe
from nightlab.sandbox.attempts.program import ATTEMPTS
from nightlab.sandbox.bait import Bait
from nightlab.sandbox.job import JobFolder
from nightlab.sandbox.protocol import Pair

NAMES = [name for name, _ in ATTEMPTS]
UNCONFINED = Confinement(rung="2", name="test", missing=("known before",))

# Held by the machine itself: the seals are the kernel's, and a right or a device may lack.
NOT_ONLY_OURS = {
    "change sealed memory",
    "use io_uring",
    "use a key ring",
    "load BPF",
    "use userfaultfd",
    "count events",
    "open a raw device",
    "open another kind of socket",
    "use an inherited descriptor",
}
# What an ordinary user lacks by itself; Yama lets no sibling be traced; and most systems
# limit the processes of every user but root.
NOT_OF_USERS = {
    "mount a file system",
    "change kernel settings",
    "trace the engine",
    "fork without limit",
}


def run_bare(bait: Bait, *, descriptors: tuple[int, ...] = ()) -> str:
    """The program of attempts with nothing around it."""
    folder, pair = JobFolder.create(probe._job(probe.CPU)), Pair.open()
    command = [sys.executable, "-c", probe.program_of_attempts()]
    try:
        with subprocess.Popen(
            command,
            env={**os.environ, "NIGHTLAB_SOCKET": str(pair.candidate)},
            pass_fds=(pair.candidate, *descriptors),
            stdout=subprocess.PIPE,
            text=True,
        ) as running:
            pair.close_candidate()
            bait.hand_over(pair.channel, folder.layout)
            said, _ = running.communicate(timeout=60)
            assert running.returncode == 0
            return said
    finally:
        pair.channel.close()
        folder.remove()


@contextlib.contextmanager
def bare_run(**options):
    with Bait.laid() as bait:
        yield {escape.name: escape for escape in bait.judge(run_bare(bait, **options))}


@pytest.fixture(scope="module")
def unheld():
    with bare_run() as escapes:
        return escapes


def test_where_nothing_holds_every_escape_is_seen_to_get_through(unheld):
    assert list(unheld) == NAMES
    held = {name for name, escape in unheld.items() if escape.held}
    allowed = NOT_ONLY_OURS if os.geteuid() == 0 else NOT_ONLY_OURS | NOT_OF_USERS
    assert held <= allowed, [unheld[name] for name in held - allowed]
    assert "change sealed memory" in held, "the kernel's seals hold for everybody"
    assert all(escape.detail for escape in unheld.values())


def test_memory_without_seals_and_a_descriptor_left_open_are_seen():
    with Bait.laid() as bait, open(os.devnull) as left:
        descriptor = os.memfd_create("open to all")
        os.write(descriptor, b"tokens")
        loose = dataclasses.replace(bait, sealed=descriptor, pulse_inner=os.dup(bait.pulse_inner))
        said = run_bare(loose, descriptors=(left.fileno(),))
        escapes = {escape.name: escape for escape in bait.judge(said)}
        assert os.pread(descriptor, 7, 0) == b"planted"
        os.close(descriptor)
    assert not escapes["change sealed memory"].held
    assert not escapes["use an inherited descriptor"].held


def test_bubblewrap_holds_everything_that_is_tried(bubblewrap):
    assert [escape.name for escape in bubblewrap.escapes] == NAMES
    assert [escape for escape in bubblewrap.escapes if not escape.held] == []
    assert set(probe.PROMISES) <= set(bubblewrap.confinement.features)


def test_promises_cover_every_attempt_once():
    assert sorted(name for names in probe.PROMISES.values() for name in names) == sorted(NAMES)


def test_what_gets_through_is_missing_and_its_promise_no_feature(unheld):
    escapes = [
        Escape(name="see a file outside", held=False, detail="7 bytes"),
        Escape(name="connect to a TCP port", held=True, detail="refused"),
    ]
    confinement = probe.judge(UNCONFINED, escapes)
    assert "files outside unseen" not in confinement.features
    assert "files outside unseen (got through: see a file outside)" in confinement.missing
    assert "known before" in confinement.missing
    assert not any("TCP" in promise for promise in confinement.missing)
    nothing = probe.judge(UNCONFINED, unheld.values()).features
    assert "no network" not in nothing
    assert "empty environment" not in nothing


def test_what_was_not_tried_is_no_feature():
    confinement = probe.judge(UNCONFINED, [])
    assert confinement.features == ()
    assert len(confinement.missing) == len(probe.PROMISES) + 1


def test_hardening_is_essential_only_where_there_are_no_namespaces():
    ring = Escape(name="use io_uring", held=False)
    network = Escape(name="connect to a TCP port", held=False)
    metadata = Escape(name="see a file outside", held=False)
    assert [probe.essential(e, "1") for e in (ring, network, metadata)] == [False, True, False]
    assert [probe.essential(e, "2") for e in (ring, network, metadata)] == [True, True, False]


def test_a_program_that_does_not_finish_proves_nothing(bubblewrap, monkeypatch):
    monkeypatch.setattr(probe, "program_of_attempts", lambda: "raise SystemExit('halfway')")
    with pytest.raises(SandboxUnavailable, match="halfway"):
        probe.try_escapes(bubblewrap.runner)


def test_the_bait_leaves_nothing_behind():
    with Bait.laid() as bait:
        folder, decoy = bait.folder, bait.decoy
        assert bait.unreached == {}, "what the engine itself cannot reach proves nothing"
    assert not folder.exists()
    assert decoy.poll() is not None
