"""One session of a study at a time, here and across machines."""

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from datetime import timedelta

import pytest

from nightlab.errors import RemoteError, StudyBusy, UsageError
from nightlab.events import Notice, listening
from nightlab.ledger import Ledger, Remote, Waiting, hold_session
from nightlab.ledger.documents import to_json
from nightlab.ledger.presence import SessionNote, own_note
from nightlab.records import Verdict, utc_now

SESSION = "refs/nightlab/first-light/session"


@pytest.fixture
def remote(root, remote_address):
    return Remote(root, "origin", "first-light")


@pytest.fixture
def second(second_root):
    return Ledger(second_root, "first-light")


@pytest.fixture
def second_remote(second_root):
    return Remote(second_root, "origin", "first-light")


@pytest.fixture
def away(tmp_path):
    """The note of a live session on another machine."""
    folder = tmp_path / "away"
    folder.mkdir()
    return own_note("research/nightly", folder).model_copy(
        update={"host": "gpu-box", "machine": "elsewhere", "clone": "theirs", "pid": 4242}
    )


def put_lease(remote, note):
    """Have the remote hold another session's note."""
    blob = remote.plumbing.write_blob(to_json(note))
    subprocess.run(
        ["git", "push", "-q", "-f", "origin", f"{blob}:{SESSION}"],
        cwd=remote.plumbing.root,
        check=True,
    )
    return blob


def test_a_second_session_is_refused_by_name(ledger, root, start_worker):
    process = start_worker("hold", root)
    sentence = (
        rf"the first is working on it \(host {socket.gethostname()}, process {process.pid}, since"
    )
    with pytest.raises(StudyBusy, match=sentence), hold_session(ledger, None, "x"):
        pytest.fail("two sessions")
    with hold_session(Ledger(root, "other"), None, "x"):
        pass


def test_a_killed_session_frees_the_study_at_once(ledger, root, start_worker):
    process = start_worker("hold", root)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    with hold_session(ledger, None, "x") as session:
        assert session.note.holder == "x"
        assert session.killed == {"the first"}
        session.beat()
        session.push()
    assert not (root / ".git/nightlab/first-light.session.json").exists()


def test_a_session_in_one_process_is_one_too(ledger):
    with hold_session(ledger, None, "a"), pytest.raises(StudyBusy, match="a is working on it"):
        hold_session(ledger, None, "b").__enter__()
    with hold_session(ledger, None, "b") as session:
        assert session.killed == set()


def test_a_holder_whose_note_is_unreadable_still_refuses(ledger, root):
    with hold_session(ledger, None, "a"):
        (root / ".git/nightlab/first-light.session.json").write_text("{")
        with pytest.raises(StudyBusy, match="another process on this machine"):
            hold_session(ledger, None, "b").__enter__()


def test_a_checked_out_branch_is_refused(ledger, root, git):
    ledger.create()
    git(root, "checkout", "-q", ledger.branch)
    with pytest.raises(UsageError, match=r"checked out in .*git switch"):
        hold_session(ledger, None, "x").__enter__()
    git(root, "checkout", "-q", "main")
    with hold_session(ledger, None, "x"):
        pass


def test_what_a_kill_left_is_mended_first(ledger, root, make, git):
    ledger.create()
    record = make.trial(ledger, Verdict.KEEP)
    git(root, "update-ref", ledger.refs.inflight(0), record.commit)
    with hold_session(ledger, None, "x") as session:
        assert session.recovery.dropped == (ledger.refs.inflight(0),)


def test_the_remote_shows_who_works(ledger, remote, remote_address, git, make):
    ledger.create()
    with hold_session(ledger, remote, "nightlab research") as session:
        shown = SessionNote.model_validate_json(git(remote_address, "show", SESSION))
        assert shown.holder == "nightlab research"
        make.trial(ledger)
        session.push()
        later = SessionNote.model_validate_json(git(remote_address, "show", SESSION))
        assert later.heartbeat > shown.heartbeat
        assert later.since == shown.since
        assert not remote.pending()
    assert SESSION not in git(remote_address, "for-each-ref")
    assert SESSION not in git(remote.plumbing.root, "for-each-ref")


def test_another_machine_is_refused_by_name(second, second_remote, remote, away):
    put_lease(remote, away)
    with pytest.raises(
        StudyBusy, match=r"research/nightly is working on it \(host gpu-box, process 4242"
    ):
        hold_session(second, second_remote, "x").__enter__()
    with hold_session(second, None, "x"):  # the refused session left no lock behind
        pass


def test_a_silent_session_is_taken_over(second, second_remote, remote, remote_address, away, git):
    put_lease(remote, away.model_copy(update={"heartbeat": utc_now() - timedelta(minutes=31)}))
    began, soon = time.monotonic(), Waiting(poll_seconds=0.02)
    with hold_session(second, second_remote, "x", waiting=soon, silent_seconds=0.5) as session:
        assert time.monotonic() - began >= 0.5, "one look does not tell"
        assert json.loads(git(remote_address, "show", SESSION))["holder"] == "x"
        assert session.killed == {"research/nightly"}


def test_a_live_session_of_another_clone_here_is_respected_until_it_is_killed(
    root, remote_address, second, second_remote, start_worker
):
    process = start_worker("hold", root, "origin")
    with pytest.raises(StudyBusy, match=f"process {process.pid}"):
        hold_session(second, second_remote, "x").__enter__()
    process.kill()
    process.wait()
    with hold_session(second, second_remote, "x"):
        pass


def test_a_process_id_that_is_used_again_is_another_process(tmp_path):
    note = own_note("x", tmp_path)
    assert not note.is_abandoned(utc_now(), 1800)
    assert note.process_started is not None
    reused = note.model_copy(update={"process_started": note.process_started - 3600})
    assert reused.is_abandoned(utc_now(), 1800)
    elsewhere = reused.model_copy(update={"machine": "another boot"})
    assert not elsewhere.is_abandoned(utc_now(), 1800)


def test_this_clones_own_lease_is_taken_back_after_a_reboot(ledger, remote, root):
    folder = root / ".git" / "nightlab"
    folder.mkdir()
    before = own_note("x", folder).model_copy(update={"machine": "an earlier boot", "pid": 1})
    put_lease(remote, before)
    with hold_session(ledger, remote, "x"):
        pass


def test_a_session_that_lost_its_lease_pushes_nothing(
    ledger, remote, remote_address, away, git, make
):
    ledger.create()
    said = []
    with listening(said.append), hold_session(ledger, remote, "x") as session:
        make.trial(ledger)
        blob = put_lease(remote, away)
        with pytest.raises(StudyBusy, match=r"silent for too long.*gpu-box"):
            session.push()
        with pytest.raises(StudyBusy, match="gpu-box"):
            session.beat()
    assert said == [], "what is another's is not given back"
    assert git(
        remote_address, "for-each-ref", "--format=%(refname) %(objectname)"
    ).splitlines() == [
        f"refs/heads/main {ledger.incumbent()}",
        f"{SESSION} {blob}",
    ]


def test_a_lease_that_someone_removed_is_lost(ledger, remote, remote_address, git):
    with hold_session(ledger, remote, "x") as session:
        git(remote_address, "update-ref", "-d", SESSION)
        with pytest.raises(StudyBusy, match="ended on remote 'origin' by someone else"):
            session.beat()


def test_a_beat_that_the_remote_took_before_it_fell_silent_counts(
    ledger, remote, remote_address, git, make, monkeypatch
):
    ledger.create()
    with hold_session(ledger, remote, "x") as session:
        make.trial(ledger)
        take = Remote.push_updates
        silent = [True]

        def take_and_fall_silent(self, updates):
            take(self, updates)
            if silent.pop() if silent else False:
                raise RemoteError("no answer")

        monkeypatch.setattr(Remote, "push_updates", take_and_fall_silent)
        session.push()
        assert not remote.pending()
    assert SESSION not in git(remote_address, "for-each-ref")


def test_a_remote_that_refuses_is_no_lost_lease(ledger, remote, remote_address, make):
    ledger.create()
    with hold_session(ledger, remote, "x") as session:
        make.trial(ledger)
        hook = remote_address / "hooks" / "pre-receive"
        hook.write_text("#!/bin/sh\nexit 1\n")
        hook.chmod(0o755)
        with pytest.raises(RemoteError, match="hook declined"):
            session.push()
        hook.unlink()
        session.push()
        assert not remote.pending()


def test_a_lease_that_cannot_be_given_back_is_said(ledger, remote, remote_address):
    said = []
    with listening(said.append), hold_session(ledger, remote, "x"):
        remote_address.rename(remote_address.with_name("moved"))
    assert [type(event) for event in said] == [Notice]
    assert "left on the remote" in said[0].text


def test_the_heart_beats_in_the_background(ledger, remote, remote_address, git):
    with hold_session(ledger, remote, "x", beat_seconds=0.05) as session:
        first = git(remote_address, "rev-parse", SESSION)
        for _ in range(200):
            if git(remote_address, "rev-parse", SESSION) != first:
                break
            threading.Event().wait(0.05)
        else:
            pytest.fail("no heartbeat within ten seconds")
        session.beat()
    assert not [thread for thread in threading.enumerate() if thread.name == "heartbeat"]


def test_a_full_disk_does_not_end_the_heart(ledger, remote, monkeypatch):
    push, failures = remote.push_updates, []

    def full(updates):
        if threading.current_thread().name == "heartbeat" and len(failures) < 2:
            failures.append(OSError(28, "No space left on device"))
            raise failures[-1]
        beaten.set()
        push(updates)

    beaten = threading.Event()
    with hold_session(ledger, remote, "x", beat_seconds=0.02):
        monkeypatch.setattr(remote, "push_updates", full)
        assert beaten.wait(10)
    assert len(failures) == 2


def test_of_two_that_begin_together_one_holds_the_study(ledger, remote, second, second_remote):
    start = threading.Barrier(2)
    done = threading.Barrier(2)
    outcomes = []

    def begin(of_ledger, of_remote):
        start.wait()
        try:
            with hold_session(of_ledger, of_remote, "x"):
                outcomes.append("held")
                done.wait(30)
        except (StudyBusy, RemoteError) as error:
            outcomes.append(type(error).__name__)
            done.wait(30)

    threads = [
        threading.Thread(target=begin, args=pair)
        for pair in ((ledger, remote), (second, second_remote))
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert outcomes.count("held") == 1


def test_a_forked_child_does_not_keep_the_study(ledger):
    """A candidate that outlives the session must not hold its lock."""
    with hold_session(ledger, None, "x"):
        child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    try:
        with hold_session(ledger, None, "y"):
            pass
    finally:
        child.kill()
        child.wait()
