"""Which ideas are too near to tried ones."""

import difflib

import pytest

from nightlab.proposers.brief import Brief, TriedChange, UnderWay
from nightlab.proposers.novelty import near_trial
from nightlab.records import Reason, Verdict
from tests.proposers.trainer_sample import SOURCE, sample_brief
from tests.samples import sample_record


def tried(old: str, new: str, title: str = "Tried", verdict: Verdict = Verdict.DISCARD) -> Brief:
    """A brief whose one trial made a change."""
    assert old in SOURCE
    lines = difflib.unified_diff(
        SOURCE.splitlines(), SOURCE.replace(old, new).splitlines(), "a", "b", lineterm=""
    )
    reason = Reason.MACHINERY if verdict is Verdict.FAILED else Reason.WITHIN_NOISE
    record = sample_record(1, scores=(2.0,), verdict=verdict, reason=reason)
    record = record.model_copy(update={"title": title})
    change = TriedChange(number=1, diff="\n".join(lines))
    return sample_brief(records=(record,), tried=(change,))


def changed(old: str, new: str) -> str:
    assert old in SOURCE
    return SOURCE.replace(old, new)


@pytest.mark.parametrize(
    ("was", "now", "near"),
    [
        ("DEPTH = 4  #", "DEPTH = 4  #", True),
        ("DEPTH = 5  #", "DEPTH = 5  # deeper;", True),
        ("DEPTH = 5  #", "DEPTH  =  5   #", True),
        ("DEPTH = 5  #", "DEPTH = 6  #", False),
        ("DEPTH = 100  #", "DEPTH = 105  #", True),
        ("DEPTH = 0.5  #", "DEPTH = 0.52  #", True),
        ("DEPTH = 0.5  #", "DEPTH = 0.6  #", False),
        ("DEPTH = 5  #", "DEPTH = -5  #", False),
        ("DEPTH = 5\nWIDER = 2  #", "DEPTH = 5  #", False),
        ("DEPTH = 1e-8  #", "DEPTH = 1e999  #", False),
        ("DEPTH = 1e-300  #", "DEPTH = 1e300  #", False),
        ("DEPTH = 1e999  #", "DEPTH = 1e999  #", True),
    ],
)
def test_changes_are_compared_without_comments_space_and_small_steps(
    was: str, now: str, near: bool
) -> None:
    brief = tried("DEPTH = 4  #", was.replace("DEPTH = 4 ", "DEPTH = 7 "))
    found = near_trial(brief, changed("DEPTH = 4  #", now.replace("DEPTH = 4 ", "DEPTH = 7 ")), "x")
    assert (found is not None) is near
    if found is not None:
        assert (found.number, found.by) == (1, "change")


def test_a_change_of_comments_alone_is_near_to_nothing() -> None:
    brief = tried("DEPTH = 4  #", "DEPTH = 4  # a note;")
    assert near_trial(brief, changed("DEPTH = 4  #", "DEPTH = 4  # another;"), "x") is None


@pytest.mark.parametrize(
    ("title", "near"),
    [
        ("Use rotary position embeddings", True),
        ("rotary embeddings for the position", True),
        ("Rotary position embeddings with scaled base", False),
        ("Rotary", False),
        ("Use learned position embeddings", False),
    ],
)
def test_intents_are_compared_by_their_words(title: str, near: bool) -> None:
    brief = tried("DEPTH = 4  #", "DEPTH = 5  #", title="Rotary position embeddings")
    found = near_trial(brief, changed("def main", "def other(): ...\n\n\ndef main"), title)
    assert (found is not None) is near
    if found is not None:
        assert found.by == "intent"


def test_what_the_machinery_broke_was_not_tried() -> None:
    brief = tried("DEPTH = 4  #", "DEPTH = 5  #", verdict=Verdict.FAILED)
    assert near_trial(brief, changed("DEPTH = 4  #", "DEPTH = 5  #"), "x") is None


def test_a_kept_idea_may_be_taken_further() -> None:
    brief = tried(
        "DEPTH = 4  #", "DEPTH = 5  #", title="Rotary position embeddings", verdict=Verdict.KEEP
    )
    other = changed("def main", "def other(): ...\n\n\ndef main")
    assert near_trial(brief, other, "Rotary position embeddings") is None


def test_the_trial_under_way_counts_though_nothing_is_known_of_it() -> None:
    (change,) = tried("DEPTH = 4  #", "DEPTH = 5  #").tried
    meanwhile = UnderWay(number=2, title="Rotary position embeddings", diff=change.diff)
    brief = sample_brief(under_way=meanwhile)
    found = near_trial(brief, changed("DEPTH = 4  #", "DEPTH = 5  #"), "x")
    assert found is not None
    assert (found.number, found.by, found.outcome) == (2, "change", "It is training now.")
    other = changed("def main", "def other(): ...\n\n\ndef main")
    named = near_trial(brief, other, "Rotary position embeddings")
    assert named is not None
    assert named.by == "intent"
    assert near_trial(brief, other, "Another title altogether") is None
