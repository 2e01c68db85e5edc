"""A person's ideas: queued from anywhere, shown once, lost never."""

import json
import re
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
from nightlab.records import Proposal, TrialRecord, Verdict


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


def shown(names):
    return Proposal(title="Wider", proposer="llm", suggestions=names)


def test_ideas_are_read_back_in_order_as_they_were_said(begun, git, root):
    said = ["Untie the embeddings", "a \u00fc \U0001f680 <b>\n\n second line", "x" * 4000]
    for text in said:
        add_suggestion(begun, f"  {text}\n")
    queue = suggestions(begun)
    assert [idea.text for idea in queue] == said
    assert re.fullmatch(r"\d{8}T\d{12}Z-[0-9a-f]{8}", queue[0].name)
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


def test_processes_that_suggest_at_once_get_a_name_each(begun, root):
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
    assert len(texts(begun)) == 15


def test_a_trial_takes_what_it_was_shown_once(begun):
    one, _, three = (add_suggestion(begun, text).name for text in ("one", "two", "three"))
    take_suggestions(begun, (one, three, "unknown"), trial=4)
    take_suggestions(begun, (one,), trial=5)
    take_suggestions(begun, (), trial=6)
    assert [idea.trial for idea in suggestions(begun)] == [4, None, 4]
    assert [idea.text for idea in waiting_suggestions(begun)] == ["two"]


def test_a_failed_trial_leaves_its_suggestions_waiting_and_others_take_them(begun, make):
    both = tuple(add_suggestion(begun, text).name for text in ("one", "two"))
    make.trial(begun, Verdict.KEEP)
    make.trial(begun, Verdict.FAILED, suggestions=both)
    settle_suggestions(begun, begun.records())
    assert len(waiting_suggestions(begun)) == 2
    make.trial(begun, Verdict.CRASH, suggestions=both[1:])
    settle_suggestions(begun, begun.records())
    settle_suggestions(begun, begun.records())
    assert [idea.trial for idea in suggestions(begun)] == [None, 2]


def test_what_a_trial_in_flight_was_shown_is_not_shown_to_the_next(begun, make):
    one, _ = (add_suggestion(begun, text).name for text in ("one", "two"))
    commit = begun.incumbent()
    begun.mark(make.mark(7, commit, commit, proposal=shown((one,))))
    assert [idea.text for idea in suggestions_for(begun, 8)] == ["two"]
    assert [idea.text for idea in suggestions_for(begun, 7)] == ["one", "two"]


def test_an_idea_reaches_a_session_elsewhere_and_its_answer_comes_back(
    begun, remote, second, second_remote, second_root, git
):
    remote.push()
    before = git(second_root, "for-each-ref", "refs/heads")
    second.plumbing.transaction([f"create {second.refs.trial(9)} {begun.incumbent()}"])
    made = send_suggestion(second, second_remote, "Try SSSL")
    assert second.refs.trial(9) not in remote.study_refs(), "what else is here stays here"
    second.plumbing.transaction([f"delete {second.refs.trial(9)}"])
    assert git(second_root, "for-each-ref", "refs/heads") == before  # no branch was moved
    remote.fetch(("suggestions",))
    assert suggestions(begun) == (made,)
    take_suggestions(begun, (made.name,), trial=1)
    remote.push()
    assert not remote.pending()
    second_remote.push(kinds=("suggestions",))  # an older copy, which takes nothing back
    fetch_suggestions(second, second_remote)
    assert suggestions(second) == suggestions(begun)
    assert suggestions(second)[0].trial == 1
    assert git(second_root, "for-each-ref", "refs/heads") == before, "nor does anything else come"


def test_a_remote_without_the_study_is_said(remote, ledger):
    with pytest.raises(UsageError, match="'origin' has no study 'first-light'"):
        send_suggestion(ledger, remote, "x")
    with pytest.raises(UsageError, match="has no study"):
        fetch_suggestions(ledger, remote)


def test_ideas_of_two_places_are_both_kept(begun, remote, second, second_remote):
    remote.push()
    here = add_suggestion(begun, "made where the session runs")
    there = send_suggestion(second, second_remote, "sent from elsewhere")
    remote.fetch()
    assert suggestions(begun) == (here, there)
    take_suggestions(begun, (here.name, there.name), trial=3)
    for _ in range(2):  # the second time, as after a push that failed
        remote.fetch()
        assert [idea.trial for idea in suggestions(begun)] == [3, 3]
    remote.push()
    fetch_suggestions(second, second_remote)
    assert suggestions(second) == suggestions(begun)
    assert not remote.pending()


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


NUMBERED = {"schema_version": 1, "study": "first-light", "made_at": "2026-11-01T08:00:00Z"}


def number_as_before(ledger, number, text):
    """Write a suggestion as Nightlab did when it numbered them."""
    name = f"nightlab/first-light/suggestions/{number:04d}"
    content = json.dumps({**NUMBERED, "number": number, "text": text, "trial": None}).encode()
    tag = ledger.plumbing.write_tag(name, ledger.incumbent(), content)
    ledger.plumbing.transaction([f"create refs/{name} {tag}"])


def test_numbered_ones_of_earlier_studies_are_read_shown_and_settled(
    begun, remote, second, second_remote, make
):
    new = add_suggestion(begun, "new")
    for number in (10_000, 9_999, 7):
        number_as_before(begun, number, f"old {number}")
    remote.push()
    assert [idea.text for idea in suggestions(begun)] == ["old 7", "old 9999", "old 10000", "new"]
    make.trial(begun, Verdict.KEEP)
    record = make.trial(begun, Verdict.CRASH, suggestions=("0007", new.name))
    numbers = record.model_dump(mode="json") | {"suggestions": [7, 9999]}
    assert TrialRecord.model_validate(numbers).suggestions == ("0007", "9999")
    assert shown((7,)).suggestions == ("0007",)
    settle_suggestions(begun, [record])
    assert [idea.trial for idea in suggestions(begun)] == [1, None, None, 1]
    remote.push()
    fetch_suggestions(second, second_remote)
    assert suggestions(second) == suggestions(begun)


def test_two_ideas_that_were_numbered_alike_both_stay(begun, remote, second, second_remote):
    number_as_before(begun, 0, "here")
    remote.push()
    fetch_suggestions(second, second_remote)
    second.plumbing.transaction([f"delete {second.refs.suggestion('0000')}"])
    second_remote.fetch(("branch",))
    number_as_before(second, 0, "there")
    take_suggestions(second, ("0000",), trial=1)
    fetch_suggestions(second, second_remote)
    second_remote.push(kinds=("suggestions",))
    for _ in range(2):
        remote.fetch()
        assert texts(begun) == texts(second) == {"here", "there"}
    assert {idea.text: idea.trial for idea in suggestions(begun)} == {"here": None, "there": 1}
