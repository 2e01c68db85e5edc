"""A person's request that a session stop: it means one session, and no other."""

import os
import signal
from datetime import timedelta

import pytest

from nightlab.errors import UsageError
from nightlab.ledger import (
    Ledger,
    Remote,
    ask_remote_to_stop,
    ask_to_stop,
    forget_stop,
    hear_stop,
    hold_session,
    stop_request,
)
from nightlab.records import utc_now

STOP = "refs/nightlab/first-light/stop"


@pytest.fixture
def remote(root, remote_address):
    return Remote(root, "origin", "first-light")


@pytest.fixture
def second_remote(second_root):
    return Remote(second_root, "origin", "first-light")


def test_without_a_session_there_is_nothing_to_stop(ledger, root, git):
    with pytest.raises(UsageError, match=r"No session of study 'first-light' runs.*--remote NAME"):
        ask_to_stop(ledger)
    assert STOP not in git(root, "for-each-ref")


def test_a_killed_session_is_none(ledger, root, start_worker):
    process = start_worker("hold", root)
    assert ask_to_stop(ledger).pid == process.pid
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    with pytest.raises(UsageError, match="No session"):
        ask_to_stop(ledger)


def test_the_session_that_is_meant_hears_it_and_no_other(ledger):
    with hold_session(ledger, None, "one"):
        assert stop_request(ledger, "one") is None
        ask_to_stop(ledger)
        ask_to_stop(ledger)
        request = stop_request(ledger, "one")
        assert request is not None
        assert "`nightlab stop` asked for it on" in request.sentence()
        forget_stop(ledger, None, unless="one")
        assert stop_request(ledger, "one") == request
    assert stop_request(ledger, "two") is None
    forget_stop(ledger, None, unless="two")
    assert ledger.plumbing.resolve(STOP) is None
    forget_stop(ledger, None)


def test_a_worktree_of_the_clone_may_ask(ledger, root, tmp_path, git):
    git(root, "worktree", "add", "-q", "--detach", str(tmp_path / "tree"))
    with hold_session(ledger, None, "one"):
        ask_to_stop(Ledger(tmp_path / "tree", "first-light"))
        assert stop_request(ledger, "one") is not None


def test_a_wish_from_another_machine_comes_through_the_remote(
    ledger, remote, second_remote, root, remote_address, git
):
    ledger.create()
    with pytest.raises(UsageError, match=r"No session .* works with remote 'origin'"):
        ask_remote_to_stop(second_remote)
    with hold_session(ledger, remote, "one") as session:
        session.push()
        assert ask_remote_to_stop(second_remote).holder == "one"
        ask_remote_to_stop(second_remote)
        hear_stop(ledger, remote, "another")
        assert stop_request(ledger, "one") is None
        hear_stop(ledger, remote, "one")
        hear_stop(ledger, remote, "one")
        assert stop_request(ledger, "one") is not None
        session.push()  # carries no request anywhere
        forget_stop(ledger, remote, unless="one")
        assert STOP in git(remote_address, "for-each-ref")
        forget_stop(ledger, remote)
    for folder in (root, remote_address):
        assert STOP not in git(folder, "for-each-ref")


def test_a_session_that_fell_silent_is_not_asked(ledger, remote, second_remote):
    ledger.create()
    with hold_session(ledger, remote, "one") as session:
        long_ago = utc_now() - timedelta(hours=2)
        silent = session.note.model_copy(update={"machine": "elsewhere", "heartbeat": long_ago})
        blob = remote.plumbing.write_blob(silent.model_dump_json().encode())
        remote.plumbing.run("push", "-q", "-f", "origin", f"{blob}:{remote.refs.session}")
        with pytest.raises(UsageError, match="was last heard of at"):
            ask_remote_to_stop(second_remote)


def test_the_newer_of_two_wishes_stands_wherever_it_was_asked(ledger, remote):
    ledger.create()
    with hold_session(ledger, remote, "one"):
        ask_remote_to_stop(remote)
        ask_to_stop(ledger)
        ours = stop_request(ledger, "one")
        hear_stop(ledger, remote, "one")
        assert stop_request(ledger, "one") == ours
        ask_remote_to_stop(remote)
        hear_stop(ledger, remote, "one")
        assert stop_request(ledger, "one").asked_at > ours.asked_at
