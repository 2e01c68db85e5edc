"""Which rung is taken, what is said of it, and what is refused."""

import json
import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from nightlab import events
from nightlab.errors import SandboxUnavailable, UsageError
from nightlab.sandbox import bubblewrap as bubblewrap_module
from nightlab.sandbox import bubblewrap_flags as flags
from nightlab.sandbox import choose_sandbox, ladder, probe
from nightlab.sandbox.bubblewrap import BubblewrapSandbox
from nightlab.sandbox.seccomp import Program

ROOT = Path(__file__).parents[2]
REFUSE = [sys.executable, str(Path(__file__).with_name("refuse.py"))]

CHOOSE = """
    import json, sys
    from nightlab import events
    from nightlab.errors import SandboxUnavailable
    from nightlab.sandbox import choose_sandbox
    heard = []
    try:
        with events.listening(lambda event: heard.append(event.text)):
            sandbox = choose_sandbox(**json.loads(sys.argv[1]))
        answer = {"rung": sandbox.confinement.rung, "refused": None}
        answer["through"] = [escape.name for escape in sandbox.escapes if not escape.held]
        answer["missing"] = sandbox.confinement.missing
    except SandboxUnavailable as refusal:
        answer = {"rung": None, "refused": str(refusal)}
    # As another user it may be the first to need a library.
    heard = [text for text in heard if "stripped copy" not in text]
    print(json.dumps({**answer, "heard": heard}))
"""

# An ordinary user in a container whose own /proc is partly covered: there the kernel lets
# nobody mount a fresh one.
COVERED_PROC = """
    mount -t proc proc /proc
    for place in /proc/acpi /proc/bus /proc/irq; do
        if [ -d $place ]; then mount -t tmpfs none $place; break; fi
    done
    exec unshare --user --map-user=1000 --map-group=1000 "$@"
"""
IN_COVERED_PROC = [
    *("unshare", "--user", "--map-root-user", "--mount", "--pid", "--fork"),
    *("sh", "-c", COVERED_PROC, "sh"),
]


def choose_within(wrapper, **options):
    """Choose a sandbox in a process that something is refused to."""
    command = [*wrapper, sys.executable, "-c", textwrap.dedent(CHOOSE), json.dumps(options)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=300, check=False, env=environment
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.fixture
def heard():
    texts = []
    with events.listening(lambda event: texts.append(event.text)):
        yield texts


def test_the_strongest_rung_is_taken_without_a_word(heard):
    sandbox = choose_sandbox()
    assert sandbox.confinement.label == "1 bubblewrap"
    assert sandbox.refusals == ()
    assert heard == []


def test_an_unknown_rung_is_a_mistake():
    with pytest.raises(UsageError, match="1, 1n, 2, and not '3'"):
        choose_sandbox(require_rung="3")


def test_trusted_code_is_asked_for_nothing():
    sandbox = choose_sandbox(trust_candidate=True)
    assert sandbox.confinement.rung == "none"
    assert sandbox.escapes == ()


class Leaky(BubblewrapSandbox):
    """As the first rung, but on the host's network and without a filter of sockets."""

    def __init__(self) -> None:
        super().__init__()
        self._filters = dict.fromkeys(("cpu", "cuda"), Program().assemble())


@pytest.fixture
def leaky_first(monkeypatch):
    whole = flags.namespaces

    def on_the_hosts_network(*arguments):
        return [flag for flag in whole(*arguments) if flag != "--unshare-net"]

    def make():
        monkeypatch.setattr(flags, "namespaces", on_the_hosts_network)
        return Leaky()

    def sound():
        monkeypatch.setattr(flags, "namespaces", whole)
        return BubblewrapSandbox(fresh_proc=False)

    monkeypatch.setattr(ladder, "RUNGS", {"1": make, "1n": sound})


@pytest.mark.usefixtures("leaky_first")
def test_a_rung_that_does_not_hold_is_passed_over_and_that_is_said(heard):
    sandbox = choose_sandbox()
    assert sandbox.confinement.rung == "1n"
    (refusal,) = sandbox.refusals
    assert "connect to a TCP port: the engine's listener was reached" in refusal.why
    assert "send a datagram" in refusal.why
    assert "read a file outside" not in refusal.why
    (notice,) = heard
    assert "rung 1n" in notice
    assert "connect to a TCP port" in notice


@pytest.mark.usefixtures("leaky_first")
def test_a_weaker_rung_than_required_is_refused_with_what_was_found():
    with pytest.raises(SandboxUnavailable) as refusal:
        choose_sandbox(require_rung="1")
    sentence = str(refusal.value)
    assert "asks for rung 1" in sentence
    assert "connect to a TCP port" in sentence
    assert "--require-rung 1n" in sentence


@pytest.mark.usefixtures("leaky_first")
def test_a_forced_rung_that_does_not_hold_is_refused():
    with pytest.raises(SandboxUnavailable, match="TCP"):
        choose_sandbox(only="1")


def test_a_bubblewrap_that_does_not_start_is_refused_with_reason_and_remedy(monkeypatch, tmp_path):
    broken = tmp_path / "bwrap"
    broken.write_text("#!/bin/sh\necho 'bwrap: No permissions to create new namespace'\nexit 1\n")
    broken.chmod(0o755)
    monkeypatch.setattr(bubblewrap_module, "_find_program", lambda: broken)
    with pytest.raises(SandboxUnavailable, match=r"No permissions.*--trust-candidate"):
        choose_sandbox(only="1")


def test_what_was_tried_is_kept_and_started_again_all_the_same(monkeypatch, tmp_path):
    first = choose_sandbox(only="1", cache=tmp_path)
    (kept,) = (tmp_path / "probes").iterdir()
    assert kept.stat().st_mode & 0o777 == 0o600
    broken = "raise SystemExit('tried again')"
    monkeypatch.setattr(probe, "program_of_attempts", lambda: broken)
    assert choose_sandbox(only="1", cache=tmp_path).escapes == first.escapes
    for spoil in (
        lambda: kept.chmod(0o666),
        lambda: kept.write_text("[]"),
        lambda: kept.write_text("{"),
        kept.unlink,
    ):
        spoil()
        with pytest.raises(SandboxUnavailable, match="tried again"):
            choose_sandbox(only="1", cache=tmp_path)
    monkeypatch.setattr(bubblewrap_module, "_find_program", lambda: tmp_path / "nowhere")
    with pytest.raises(SandboxUnavailable, match="nowhere"):
        choose_sandbox(only="1", cache=tmp_path)


def test_what_somebody_else_left_in_the_cache_is_not_believed(monkeypatch, tmp_path):
    if os.geteuid() != 0:
        pytest.skip("only root can make a file somebody else's")
    choose_sandbox(only="1", cache=tmp_path)
    (kept,) = (tmp_path / "probes").iterdir()
    os.chown(kept, 12345, 12345)
    broken = "raise SystemExit('tried again')"
    monkeypatch.setattr(probe, "program_of_attempts", lambda: broken)
    with pytest.raises(SandboxUnavailable, match="tried again"):
        choose_sandbox(only="1", cache=tmp_path)


def test_where_proc_is_covered_the_sandbox_does_without():
    found = choose_within(IN_COVERED_PROC)
    assert found["rung"] == "1n"
    # Outside of its namespaces it is whoever runs the tests, and no limit binds root.
    assert found["through"] == (["fork without limit"] if os.geteuid() == 0 else [])
    (notice,) = found["heard"]
    assert "rung 1n" in notice
    assert "proc" in notice


def test_where_namespaces_are_refused_rung_2_is_taken_and_that_is_said():
    found = choose_within([*REFUSE, "--no-user-namespaces", "--"])
    assert found["rung"] == "2", found["refused"]
    (notice,) = found["heard"]
    assert "rung 2" in notice
    assert "bubblewrap" in notice
    assert any("see a file outside" in promise for promise in found["missing"])


def test_where_namespaces_are_refused_rung_1_may_be_insisted_on():
    found = choose_within([*REFUSE, "--no-user-namespaces", "--"], require_rung="1")
    assert "asks for rung 1" in found["refused"]
    assert "--require-rung 2" in found["refused"]


def test_where_landlock_is_missing_too_it_is_refused_with_what_to_do():
    found = choose_within([*REFUSE, "--no-user-namespaces", "--no-landlock", "--"])
    assert found["rung"] is None
    for rung in ("rungs 1 and 1n", "rung 2"):
        assert rung in found["refused"]
    for remedy in ("unprivileged user namespaces", "Landlock", "--trust-candidate"):
        assert remedy in found["refused"]


def test_a_root_without_its_capabilities_is_told_so():
    """As in many containers."""
    if os.geteuid() != 0:
        pytest.skip("only root can take its capabilities from itself")
    found = choose_within(["setpriv", "--bounding-set=-all", "--inh-caps=-all"])
    assert found["rung"] is None
    assert "capabilities" in found["refused"]
    assert "ordinary user" in found["refused"]
