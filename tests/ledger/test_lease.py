"""Waiting for a study that a session on another machine holds."""

import itertools
import math
import subprocess
import threading
import time
from datetime import timedelta
from types import SimpleNamespace

import pytest

from nightlab.errors import RemoteError, SessionOver, StudyBusy
from nightlab.events import Notice, listening
from nightlab.ledger import Ledger, Remote, Waiting, hold_session
from nightlab.ledger.documents import to_json
from nightlab.ledger.exchange import REST_SECONDS, WAIT_LIMITS
from nightlab.ledger.git_process import WaitLimits
from nightlab.ledger.lease import (
    ABANDONED_AFTER_SECONDS,
    BEAT_SECONDS,
    SILENT_SECONDS,
    Lease,
)
from nightlab.ledger.presence import own_note
from nightlab.records import utc_now

SESSION = "refs/nightlab/first-light/session"
PATIENT = {"seconds": 60.0, "poll_seconds": 0.02}


@pytest.fixture
def remote(root, remote_address):
    return Remote(root, "origin", "first-light")


@pytest.fixture
def note(tmp_path):
    """Of a session on another machine."""
    (tmp_path / "away").mkdir()
    return own_note("a-flow-run", tmp_path / "away").model_copy(
        update={"host": "gpu-box", "machine": "elsewhere", "clone": "theirs", "pid": 4242}
    )


def put(remote, note):
    """Have the remote hold a note, or none."""
    new = "" if note is None else remote.plumbing.write_blob(to_json(note))
    subprocess.run(
        ["git", "push", "-q", "-f", "origin", f"{new}:{SESSION}"],
        cwd=remote.plumbing.root,
        check=True,
    )


def hold(ledger, remote, waiting, **more):
    return hold_session(ledger, remote, "x", waiting=waiting, **more)


def test_what_a_live_session_takes_to_renew_is_no_silence():
    """A push may take a whole exchange's time, and a renewal waits for it."""
    assert 30 <= BEAT_SECONDS <= 60
    assert 120 + 300 + BEAT_SECONDS < SILENT_SECONDS <= 600 < ABANDONED_AFTER_SECONDS
    assert WaitLimits(seconds=300.0, silent_seconds=120.0) == WAIT_LIMITS
    assert REST_SECONDS + 2 * BEAT_SECONDS < SILENT_SECONDS


def test_who_comes_meanwhile_waits_and_says_once_for_whom(ledger, remote, note):
    put(remote, note)
    said = []

    def give_back(event):
        said.append(event)
        threading.Timer(0.3, put, (remote, None)).start()

    with listening(give_back), hold(ledger, remote, Waiting(**PATIENT)) as session:
        assert session.killed == set(), "it gave the study back by itself"
    (notice,) = said
    assert isinstance(notice, Notice)
    assert "waiting for a-flow-run (host gpu-box, process 4242), until 20" in notice.text
    assert notice.text.endswith("at the longest.")


@pytest.mark.parametrize("remote_is", ["there", "away"])
def test_what_ends_a_wait_is_asked_as_often_as_the_remote(
    ledger, remote, remote_address, note, remote_is
):
    put(remote, note)
    asked = itertools.count()

    def stopped():
        if next(asked) == 2:
            raise SessionOver("`nightlab stop` asked for it.")
        if remote_is == "away":
            remote_address.rename(remote_address.with_name(f"{next(asked)}.git"))

    waiting = Waiting(**PATIENT, while_waiting=stopped)
    with pytest.raises(SessionOver):
        hold(ledger, remote, waiting).__enter__()
    with hold_session(ledger, None, "x"):  # the clone's lock was given back
        pass


def test_the_wait_has_an_end(ledger, remote, note):
    put(remote, note)
    waiting = Waiting(seconds=0.2, poll_seconds=0.05)
    with pytest.raises(StudyBusy, match="a-flow-run is working on it"):
        hold(ledger, remote, waiting).__enter__()
    with hold_session(ledger, None, "x"):  # the clone's lock was given back
        pass


@pytest.mark.parametrize("waiting", [{}, PATIENT])
def test_a_holder_that_is_known_to_be_over_is_followed_at_once(ledger, remote, note, waiting):
    put(remote, note)
    asked = []

    def silence_of(holder):
        asked.append(holder)
        return 0.0

    said = []
    with (
        listening(said.append),
        hold(ledger, remote, Waiting(silence_of=silence_of, **waiting)) as session,
    ):
        assert session.killed == {"a-flow-run"}
    assert asked == ["a-flow-run"]
    assert said == []


def test_a_holder_that_only_seems_gone_has_to_be_silent_here_too(ledger, remote, note):
    put(remote, note)
    began = time.monotonic()
    waiting = Waiting(**PATIENT, silence_of=lambda _: 0.3)
    with hold(ledger, remote, waiting) as session:
        assert session.killed == {"a-flow-run"}
    assert time.monotonic() - began >= 0.3


def test_a_note_that_stands_unchanged_is_of_a_session_that_is_gone(ledger, remote, note):
    put(remote, note)
    began = time.monotonic()
    with hold(ledger, remote, Waiting(**PATIENT), silent_seconds=0.3) as session:
        assert session.killed == {"a-flow-run"}
    assert time.monotonic() - began >= 0.3


def test_a_clock_that_is_wrong_elsewhere_frees_nothing(ledger, remote, note):
    """Another machine's clock gave the note its time: minutes of it mean nothing."""
    put(remote, note.model_copy(update={"heartbeat": utc_now() - timedelta(minutes=25)}))
    with pytest.raises(StudyBusy):
        hold(ledger, remote, Waiting()).__enter__()


def test_a_session_whose_remote_was_away_for_an_hour_renews_before_it_is_taken_for_gone(
    ledger, remote, note
):
    long_ago = utc_now() - timedelta(hours=1)
    put(remote, note.model_copy(update={"heartbeat": long_ago}))

    def renew(_event):
        threading.Timer(0.3, put, (remote, note)).start()

    waiting = Waiting(poll_seconds=0.02)
    with listening(renew), pytest.raises(StudyBusy):
        hold(ledger, remote, waiting, silent_seconds=30.0).__enter__()


def test_a_run_that_prefect_knows_to_live_is_no_session_that_seems_gone(ledger, remote, note):
    put(remote, note.model_copy(update={"heartbeat": utc_now() - timedelta(hours=1)}))
    with pytest.raises(StudyBusy):
        hold(ledger, remote, Waiting(silence_of=lambda _: math.inf)).__enter__()


def test_a_holder_that_lives_is_not_followed_however_silent_its_remote(ledger, remote, note):
    put(remote, note)
    waiting = Waiting(seconds=0.5, poll_seconds=0.02, silence_of=lambda _: math.inf)
    with pytest.raises(StudyBusy):
        hold(ledger, remote, waiting, silent_seconds=0.1).__enter__()


def test_a_note_that_is_renewed_is_no_silence(ledger, remote, note, monkeypatch):
    put(remote, note)
    waits, looks = [], itertools.count()

    def renew(seconds):
        waits.append(seconds)
        put(remote, note.model_copy(update={"heartbeat": utc_now()}))

    # A clock on which each look comes 200 seconds after the last one; only this module's.
    clock = {"sleep": renew, "monotonic": lambda: 200.0 * next(looks)}
    own = {name: getattr(time, name) for name in ("time", "strftime", "localtime")}
    monkeypatch.setattr("nightlab.ledger.lease.time", SimpleNamespace(**own, **clock))
    with pytest.raises(StudyBusy):
        hold(ledger, remote, Waiting(seconds=3000), silent_seconds=300).__enter__()
    assert len(waits) > 3
    assert set(waits) == {5.0}


def test_of_two_that_waited_the_second_waits_for_the_first(ledger, remote, note, monkeypatch):
    put(remote, note)
    lease, looks = Lease(remote, note.model_copy(update={"clone": "ours"})), itertools.count()
    push = remote.push_updates

    def second(updates):
        if not next(looks):  # between a look and a push another one was faster
            put(remote, note.model_copy(update={"holder": "the first", "clone": "third"}))
            threading.Timer(0.3, put, (remote, None)).start()
        push(updates)

    put(remote, None)
    monkeypatch.setattr(remote, "push_updates", second)
    said = []
    with listening(said.append):
        assert lease.take(Waiting(**PATIENT)) is None
    assert "waiting for the first" in said[0].text
    lease.renew(with_study=False)


@pytest.mark.parametrize("old_seconds", [0, 3600])
def test_a_remote_that_is_away_meanwhile_ends_no_wait_and_frees_nothing(
    ledger, remote, remote_address, note, old_seconds
):
    put(remote, note)
    elsewhere = remote_address.with_name("away.git")

    def lose(event):
        remote_address.rename(elsewhere)
        threading.Timer(0.5, come_back).start()

    def come_back():
        moment = utc_now() - timedelta(seconds=old_seconds)
        elsewhere.rename(remote_address)
        put(remote, note.model_copy(update={"heartbeat": moment}))
        threading.Timer(0.5, put, (remote, None)).start()

    with listening(lose), hold(ledger, remote, Waiting(**PATIENT)) as session:
        assert session.killed == set(), "it gave the study back by itself"


def test_a_remote_that_is_away_at_the_first_look_is_said(ledger, remote, remote_address, note):
    lease = Lease(remote, note)
    remote_address.rename(remote_address.with_name("away.git"))
    with pytest.raises(RemoteError):
        lease.take(Waiting(**PATIENT))


def test_a_person_is_told_at_once_of_a_session_on_this_machine(root, second_root, remote_address):
    first, second = (Ledger(folder, "first-light") for folder in (root, second_root))
    remotes = [Remote(folder, "origin", "first-light") for folder in (root, second_root)]
    person = Waiting(here_too=False, **PATIENT)
    said = []
    with hold_session(first, remotes[0], "the first"), listening(said.append):
        for ledger, remote in ((second, remotes[1]), (first, remotes[0])):
            with pytest.raises(StudyBusy, match="the first is working on it"):
                hold(ledger, remote, person).__enter__()
    assert said == []


def test_a_deployment_waits_for_a_session_of_the_same_clone_too(ledger, remote):
    entered, leave, said = threading.Event(), threading.Event(), []

    def first():
        with hold_session(ledger, remote, "the first"):
            entered.set()
            leave.wait(30)

    holding = threading.Thread(target=first)
    holding.start()
    assert entered.wait(30)

    def hear(event):
        said.append(event)
        leave.set()

    with listening(hear), hold(ledger, remote, Waiting(**PATIENT)):
        pass
    holding.join()
    assert "waiting for the first" in said[0].text
