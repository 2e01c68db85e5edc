"""How git is run: its arguments, its environment, its process group, and what it complains of."""

import contextlib
import itertools
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest

from nightlab.errors import LedgerError
from nightlab.ledger import Ledger, Remote, hold_session
from nightlab.ledger.git_process import GitResult, WaitLimits, _await
from nightlab.ledger.plumbing import Plumbing
from nightlab.records import Verdict

ALWAYS = (
    "core.hooksPath=/dev/null",
    "core.fsync=committed",
    "i18n.commitEncoding=UTF-8",
    "gc.auto=0",
    "maintenance.auto=false",
    "push.gpgSign=false",
)
"""Written out here, not taken from the code: a change of it is one of what users can rely on."""


@pytest.fixture
def calls(tmp_path, monkeypatch):
    """Every git that is run from here on: its arguments, environment and process group."""
    log = tmp_path / "calls"
    log.mkdir()
    shim = tmp_path / "shim"
    shim.mkdir()
    (shim / "git").write_text(
        f"#!{sys.executable} -S\n"
        "import json, os, sys, time\n"
        "told = {'arguments': sys.argv[1:], 'environment': dict(os.environ), 'pid': os.getpid(),\n"
        "        'group': os.getpgid(0), 'session': os.getsid(0)}\n"
        f"with open({str(log)!r} + f'/{{time.time_ns()}}-{{os.getpid()}}', 'w') as file:\n"
        "    json.dump(told, file)\n"
        f"os.execv({shutil.which('git')!r}, ['git', *sys.argv[1:]])\n"
    )
    (shim / "git").chmod(0o755)
    monkeypatch.setenv("PATH", f"{shim}:{os.environ['PATH']}")

    def read():
        import json

        told = [json.loads(path.read_text()) for path in sorted(log.iterdir())]
        # Git runs itself for its parts; what we ran has our settings before the subcommand.
        return [call for call in told if call["arguments"][:1] == ["-c"]]

    return read


def settings(call):
    """What stands before the subcommand, each after its own ``-c``."""
    pairs = zip(call["arguments"][::2], call["arguments"][1::2], strict=False)
    return tuple(value for _, value in itertools.takewhile(lambda pair: pair[0] == "-c", pairs))


def subcommand(call):
    return call["arguments"][2 * len(settings(call))]


def test_what_every_git_is_told(ledger, remote_address, root, make, calls):
    ledger.create("DEPTH = 1\n")
    make.trial(ledger, Verdict.KEEP)
    remote = Remote(root, "origin", "first-light")
    remote.push()
    remote.fetch()
    told = calls()
    names = {subcommand(call) for call in told}
    assert {"update-ref", "mktag", "push", "ls-remote", "hash-object"} <= names
    for call in told:
        assert settings(call) == ALWAYS
        assert call["environment"]["GIT_TERMINAL_PROMPT"] == "0"
        assert call["group"] == call["session"] == call["pid"], "Ctrl-C would reach it"


def test_a_signal_to_our_process_group_leaves_git_at_work(root, tmp_path):
    """As a terminal sends it: to the whole foreground group, in the middle of a transaction."""
    shim = tmp_path / "shim"
    shim.mkdir()
    (shim / "git").write_text("#!/bin/sh\nexec sleep 600\n")
    (shim / "git").chmod(0o755)
    code = (
        "import os, signal, sys; from pathlib import Path\n"
        "from nightlab.ledger.plumbing import Plumbing\n"
        # A shell has what it runs in the background ignore it.
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "plumbing = Plumbing(Path(sys.argv[1]))\n"
        "os.environ['PATH'] = sys.argv[2] + ':' + os.environ['PATH']\n"
        "plumbing.attempt('update-ref', '--stdin')\n"
    )
    session = subprocess.Popen(
        [sys.executable, "-c", code, str(root), str(shim)],
        env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])},
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    found: list[psutil.Process] = []
    try:
        while not found and session.poll() is None:
            with contextlib.suppress(psutil.NoSuchProcess):  # one that ended between the two
                children = psutil.Process(session.pid).children(recursive=True)
                found = [each for each in children if "sleep" in each.name()]
        (child,) = found
        os.killpg(session.pid, signal.SIGINT)
        session.wait(timeout=60)
        assert child.is_running()
        assert child.status() != psutil.STATUS_ZOMBIE
    finally:
        session.kill()
        session.wait()
        for each in found:
            if each.is_running():
                each.kill()


def test_a_remote_is_never_asked_to_prompt(ledger, remote_address, root, calls):
    ledger.create()
    remote = Remote(root, "origin", "first-light")
    remote.push()
    (root / ".git/refs/heads/nightlab/first-light").unlink()
    remote.fetch()
    asked = [call for call in calls() if subcommand(call) in ("push", "fetch", "ls-remote")]
    assert {subcommand(call) for call in asked} == {"push", "fetch", "ls-remote"}
    for call in asked:
        environment = call["environment"]
        assert environment["GIT_SSH_COMMAND"] == "ssh -o BatchMode=yes -o ConnectTimeout=20"
        assert environment["SSH_ASKPASS_REQUIRE"] == "never"
        assert environment["GCM_INTERACTIVE"] == "never"


@pytest.mark.parametrize("how", ["GIT_SSH", "GIT_SSH_COMMAND", "core.sshCommand"])
def test_a_users_own_way_to_ssh_stays(ledger, remote_address, root, git, calls, monkeypatch, how):
    if how.startswith("GIT"):
        monkeypatch.setenv(how, "my-ssh")
    else:
        git(root, "config", how, "my-ssh")
    Remote(root, "origin", "first-light").study_refs()
    (asked,) = [call for call in calls() if subcommand(call) == "ls-remote"]
    expected = "my-ssh" if how == "GIT_SSH_COMMAND" else None
    assert asked["environment"].get("GIT_SSH_COMMAND") == expected
    assert asked["environment"]["SSH_ASKPASS_REQUIRE"] == "never"


def test_what_outlives_its_time_is_ended_with_its_helpers(root, tmp_path, monkeypatch):
    shim = tmp_path / "shim"
    shim.mkdir()
    (shim / "git").write_text(f"#!/bin/sh\nsleep 600 & echo $! > {tmp_path}/helper; wait\n")
    (shim / "git").chmod(0o755)
    plumbing = Plumbing(root)
    monkeypatch.setenv("PATH", f"{shim}:{os.environ['PATH']}")
    result = plumbing.attempt("ls-remote", limits=WaitLimits(seconds=60.0, silent_seconds=1.0))
    assert result.given_up == "no answer within 1 seconds"
    assert result.status != 0
    helper = int((tmp_path / "helper").read_text())
    deadline = time.monotonic() + 60
    with contextlib.suppress(psutil.NoSuchProcess):
        while psutil.Process(helper).status() != psutil.STATUS_ZOMBIE:
            assert time.monotonic() < deadline
            time.sleep(0.01)


def test_one_that_ends_in_time_did_not_time_out(root):
    limits = WaitLimits(seconds=60.0, silent_seconds=60.0)
    result = Plumbing(root).attempt("rev-parse", "HEAD", limits=limits)
    assert (result.status, result.given_up, len(result.stdout)) == (0, None, 41)
    result = Plumbing(root).attempt("rev-parse", "nothing", limits=limits)
    assert result.status != 0
    assert "ambiguous argument" in result.complaint


@pytest.mark.parametrize(
    ("words", "given_up"),
    [(0, "no answer within 120 seconds"), (3, "no answer within"), (99, "no end within 300 sec")],
)
def test_what_still_says_how_far_it_is_may_take_longer(tmp_path, monkeypatch, words, given_up):
    """On a clock on which a minute passes between two looks."""
    looks = itertools.count()
    with (tmp_path / "said").open("wb", buffering=0) as said:

        def minutes():
            look = next(looks)
            if 0 < look <= words:
                said.write(b"Writing objects\r")
            return 60.0 * look

        monkeypatch.setattr("nightlab.ledger.git_process.time", SimpleNamespace(monotonic=minutes))
        monkeypatch.setattr("nightlab.ledger.git_process._LOOK_SECONDS", 0.01)
        git = subprocess.Popen(["sleep", "600"])
        try:
            limits = WaitLimits(seconds=300.0, silent_seconds=120.0)
            assert given_up in (_await(git, [said], limits) or "")
        finally:
            git.kill()
            git.wait()
    assert next(looks) == {0: 3, 3: 6, 99: 6}[words]


def test_a_push_and_a_fetch_say_how_far_they_are(ledger, remote_address, root, calls):
    ledger.create()
    remote = Remote(root, "origin", "first-light")
    remote.push()
    ledger.plumbing.transaction([f"delete {ledger.refs.branch}"])
    remote.fetch()
    told = [call["arguments"] for call in calls() if subcommand(call) in ("push", "fetch")]
    assert len(told) == 2
    assert all({"--quiet", "--progress"} <= set(arguments) for arguments in told)


@pytest.mark.parametrize(
    ("stderr", "complaint"),
    [
        ("", "exit status 7"),
        ("  \n\n", "exit status 7"),
        ("first\nlast\n", "last"),
        ("error: why\nhint: how\n", "why"),
        ("fatal: why\nerror: failed to push some refs\n", "why"),
        ("error: one\nerror: two\n", "two"),
        (
            "error: x\n! [rejected] a -> b (stale info)\nfatal: y\n",
            "[rejected] a -> b (stale info)",
        ),
        ("fatal: no\n  remedy\n", "no"),
    ],
)
def test_a_complaint_is_the_line_that_says_the_most(stderr, complaint):
    assert GitResult(status=7, stdout=b"", stderr=stderr).complaint == complaint


def test_gits_own_remedy_is_found_wherever_it_stands():
    told = (
        "fatal: detected dubious ownership in repository at '/x'\nTo trust it:\n\n\tgit config y\n"
    )
    assert GitResult(status=128, stdout=b"", stderr=told).remedy == "git config y"
    assert GitResult(status=0, stdout=b"", stderr=told).remedy is None
    assert GitResult(status=128, stdout=b"", stderr="fatal: x").remedy is None
    short = "fatal: detected dubious ownership in repository"
    assert "safe.directory" in (GitResult(status=128, stdout=b"", stderr=short).remedy or "")


def test_a_missing_object_is_named(root):
    with pytest.raises(LedgerError, match=f"misses the object {'1' * 40} in .*git fsck"):
        Plumbing(root).contents(["1" * 40])
    assert Plumbing(root).contents([]) == []


def test_contents_are_exact_and_in_order(root):
    plumbing = Plumbing(root)
    texts = [b"a\n", b"", b"\n\nb\0c\r\n", b"x" * 100_000]
    assert plumbing.contents([plumbing.write_blob(text) for text in texts]) == texts


def test_an_ancestor_that_is_not_here_is_not_known(ledger, root):
    start = ledger.create()
    later = ledger.write_candidate(start, "A = 1\n", "x")
    plumbing = ledger.plumbing
    assert plumbing.is_ancestor(start, later) is True
    assert plumbing.is_ancestor(start, start) is True
    assert plumbing.is_ancestor(later, start) is False
    assert plumbing.is_ancestor(start, "1" * 40) is None


# Whose process a lock belongs to


@pytest.fixture
def start(tmp_path):
    """Start a process of a name that sleeps in a folder."""
    started = []

    def start(name, folder):
        program = tmp_path / "programs" / name
        program.parent.mkdir(exist_ok=True)
        shutil.copy(shutil.which("sleep"), program)
        process = subprocess.Popen([program, "600"], cwd=folder)
        started.append(process)
        while not psutil.Process(process.pid).name().startswith(name[:15]):  # not exec yet
            time.sleep(0.01)
        return process

    yield start
    for process in started:
        process.kill()
        process.wait()


def stale_lock(ledger, root):
    ledger.create()
    lock = root / ".git/refs/heads/nightlab/first-light.lock"
    lock.touch()
    return lock


@pytest.mark.parametrize(
    ("name", "where"),
    [("gitk", "."), ("github-desktop", "."), ("sleep", "."), ("git", ".."), ("git", "../clone-2")],
)
def test_a_process_that_is_no_git_of_this_repository_holds_no_lock(
    ledger, root, start, name, where
):
    lock = stale_lock(ledger, root)
    folder = root / where
    folder.mkdir(exist_ok=True)
    start(name, folder)
    assert ledger.recover(quiet_seconds=0.0).locks == (lock.name,)
    assert not lock.exists()


@pytest.mark.parametrize(
    ("name", "where"),
    [("git", "."), ("git", ".git"), ("git", "trainer"), ("git-receive-pack", ".git/refs")],
)
def test_a_git_at_work_in_this_repository_keeps_its_lock(
    ledger, root, start, monkeypatch, name, where
):
    monkeypatch.setattr("nightlab.ledger.recovery._PATIENCE_SECONDS", 0.3)
    lock = stale_lock(ledger, root)
    process = start(name, root / where)
    with pytest.raises(LedgerError, match=f"git process {process.pid} at work: wait for it"):
        ledger.recover(quiet_seconds=0.0)
    assert lock.exists()


def test_a_lock_of_this_moment_is_not_stale(ledger, root, monkeypatch):
    monkeypatch.setattr("nightlab.ledger.recovery._PATIENCE_SECONDS", 0.3)
    lock = stale_lock(ledger, root)
    with pytest.raises(LedgerError, match="an unknown git at work"):
        ledger.recover(quiet_seconds=3600.0)
    assert lock.exists()
    with hold_session(Ledger(root, "another"), None, "x") as session:  # not in the way of others
        assert session.recovery.locks == ()
    assert lock.exists()


def test_a_refs_name_may_hold_what_other_programs_take_for_the_end_of_a_line(tmp_path):
    subprocess.run(["git", "init", "-q", tmp_path], check=True)
    plumbing = Plumbing(tmp_path)
    blob = plumbing.run("hash-object", "-w", "--stdin", stdin=b"text").decode().strip()
    name = "refs/nightlab/a\u2028b\x85c/trials/0001"
    plumbing.run("update-ref", name, blob)
    assert plumbing.refs("refs/nightlab") == {name: blob}
