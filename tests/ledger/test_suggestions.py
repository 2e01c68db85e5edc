"""A person's ideas: queued from anywhere, shown once, lost never."""

import subprocess
import sys
from pathlib import Path

import pytest

from nightlab.errors import RemoteError, UsageError
from nightlab.ledger import (
    Ledger,
    Remote,
    add_suggestion,
    fetch_suggestions,
    send_suggestion,
    settle_suggestions,
    suggestions,
    suggestions_for,
    take_suggestions,
    waiting_suggestions,
)
from nightlab.ledger.suggestions import LONGEST_CHARACTERS
from nightlab.records import Proposal, Verdict


@pytest.fixture
def begun(ledger):
    ledger.create()
    return ledger


@pytest.fixture
def remote(root, remote_address):
    return Remote(root, "origin", "first-light")


@pytest.fixture
def second(second_root):
    return Ledger(second_root, "first-light")


@pytest.fixture
def second_remote(second_root):
    return Remote(second_root, "origin", "first-light")


def texts(ledger):
    return {idea.text for idea in suggestions(ledger)}


def shown(numbers):
    return Proposal(title="Wider", proposer="llm", suggestions=numbers)


def test_ideas_are_numbered_and_read_back_as_they_were_said(begun, git, root):
    said = ["Untie the embeddings", "a \u00fc \U0001f680 <b>\n\n second line", "x" * 4000]
    for text in said:
        add_suggestion(begun, f"  {text}\n")
    queue = suggestions(begun)
    assert [idea.number for idea in queue] == [0, 1, 2]
    assert [idea.text for idea in queue] == said
    assert waiting_suggestions(begun) == queue
    git(root, "fsck", "--strict", "--no-dangling")
    assert begun.records() == ()


@pytest.mark.parametrize("text", ["", " \n\t"])
def test_an_empty_idea_is_refused(begun, text):
    with pytest.raises(UsageError, match="needs a text"):
        add_suggestion(begun, text)
    assert suggestions(begun) == ()


def test_a_huge_idea_is_refused_with_both_lengths(begun):
    with pytest.raises(UsageError, match=r"4,000 characters.* has 4,001"):
        add_suggestion(begun, "x" * (LONGEST_CHARACTERS + 1))
    assert suggestions(begun) == ()


def test_processes_that_suggest_at_once_get_a_number_each(begun, root):
    script = (
        "import sys; from pathlib import Path\n"
        "from nightlab.ledger import Ledger, add_suggestion\n"
        "ledger = Ledger(Path(sys.argv[1]), 'first-light')\n"
        "for index in range(5): add_suggestion(ledger, f'{sys.argv[2]} {index}')\n"
    )
    here = Path(__file__).parents[2]
    started = [
        subprocess.Popen([sys.executable, "-c", script, str(root), name], cwd=here)
        for name in ("a", "b", "c")
    ]
    assert [process.wait(timeout=60) for process in started] == [0, 0, 0]
    assert [idea.number for idea in suggestions(begun)] == list(range(15))
    assert len(texts(begun)) == 15


def test_a_trial_takes_what_it_was_shown_once(begun):
    for text in ("one", "two", "three"):
        add_suggestion(begun, text)
    take_suggestions(begun, (0, 2, 99), trial=4)
    take_suggestions(begun, (0,), trial=5)
    take_suggestions(begun, (), trial=6)
    assert [idea.trial for idea in suggestions(begun)] == [4, None, 4]
    assert [idea.text for idea in waiting_suggestions(begun)] == ["two"]
    assert add_suggestion(begun, "four").number == 3


def test_a_failed_trial_leaves_its_suggestions_waiting_and_others_take_them(begun, make):
    for text in ("one", "two"):
        add_suggestion(begun, text)
    make.trial(begun, Verdict.KEEP)
    make.trial(begun, Verdict.FAILED, suggestions=(0, 1))
    settle_suggestions(begun, begun.records())
    assert len(waiting_suggestions(begun)) == 2
    make.trial(begun, Verdict.CRASH, suggestions=(1,))
    settle_suggestions(begun, begun.records())
    settle_suggestions(begun, begun.records())
    assert [idea.trial for idea in suggestions(begun)] == [None, 2]


def test_what_a_trial_in_flight_was_shown_is_not_shown_to_the_next(begun, make):
    for text in ("one", "two"):
        add_suggestion(begun, text)
    commit = begun.incumbent()
    begun.mark(make.mark(7, commit, commit, proposal=shown((0,))))
    assert [idea.text for idea in suggestions_for(begun, 8)] == ["two"]
    assert [idea.text for idea in suggestions_for(begun, 7)] == ["one", "two"]


def test_an_idea_reaches_a_session_elsewhere_and_its_answer_comes_back(
    begun, remote, second, second_remote, second_root, git
):
    remote.push()
    before = git(second_root, "for-each-ref", "refs/heads")
    made = send_suggestion(second, second_remote, "Try SSSL")
    assert git(second_root, "for-each-ref", "refs/heads") == before  # no branch was moved
    remote.fetch(("suggestions",))
    assert suggestions(begun) == (made,)
    take_suggestions(begun, (0,), trial=1)
    remote.push()
    assert not remote.pending()
    second_remote.push(kinds=("suggestions",))  # an older copy, which takes nothing back
    fetch_suggestions(second, second_remote)
    assert suggestions(second) == suggestions(begun)
    assert suggestions(second)[0].trial == 1


def test_a_remote_without_the_study_is_said(remote, ledger):
    with pytest.raises(UsageError, match="'origin' has no study 'first-light'"):
        send_suggestion(ledger, remote, "x")
    with pytest.raises(UsageError, match="has no study"):
        fetch_suggestions(ledger, remote)


def test_two_ideas_of_one_number_are_both_kept(begun, remote, second, second_remote):
    remote.push()
    add_suggestion(begun, "made where the session runs")
    send_suggestion(second, second_remote, "sent from elsewhere")
    remote.fetch()
    assert {idea.text: idea.number for idea in suggestions(begun)} == {
        "sent from elsewhere": 0,
        "made where the session runs": 1,
    }
    remote.push()
    fetch_suggestions(second, second_remote)
    assert suggestions(second) == suggestions(begun)
    assert not remote.pending()


@pytest.mark.parametrize("state", ["taken", "in flight"])
def test_an_idea_that_was_shown_here_keeps_its_number(
    begun, remote, second, second_remote, make, state
):
    remote.push()
    add_suggestion(begun, "shown")
    if state == "taken":
        take_suggestions(begun, (0,), trial=3)
    else:
        commit = begun.incumbent()
        begun.mark(make.mark(3, commit, commit, proposal=shown((0,))))
    send_suggestion(second, second_remote, "from elsewhere")
    for _ in range(2):  # the second time, as after a push that failed
        remote.fetch()
        assert [idea.text for idea in suggestions(begun)] == ["shown", "from elsewhere"]
    remote.push()
    fetch_suggestions(second, second_remote)
    assert texts(second) == {"shown", "from elsewhere"}
    assert not remote.pending()


def test_senders_that_take_the_same_number_both_arrive(
    begun, remote, second, second_remote, remote_address, git
):
    remote.push()
    # Somebody else's idea comes between the second clone's look and its push.
    hook = remote_address / "hooks" / "update"
    flag = remote_address / "raced"
    hook.write_text(f'#!/bin/sh\n[ -e "{flag}" ] && exit 0\ntouch "{flag}"\nexit 1\n')
    hook.chmod(0o755)
    add_suggestion(begun, "first")
    made = send_suggestion(second, second_remote, "second")
    remote.fetch()
    remote.push()
    assert texts(begun) == {"first", "second"}
    assert made.number == 0


def test_a_remote_that_refuses_keeps_the_idea_here(begun, remote, remote_address):
    remote.push()
    hook = remote_address / "hooks" / "pre-receive"
    hook.write_text("#!/bin/sh\nexit 1\n")
    hook.chmod(0o755)
    with pytest.raises(RemoteError, match="the next push"):
        send_suggestion(begun, remote, "kept")
    assert texts(begun) == {"kept"}
    hook.unlink()
    remote.push()
    assert not remote.pending()
