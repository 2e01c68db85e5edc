"""Ideas that were asked for ahead of time, when their turn comes."""

import pytest

from nightlab.proposers import KnobProposer
from nightlab.proposers.hybrid import HybridProposer
from nightlab.records import Edit, Exchange, InFlight, Proposal, ProposalCost, utc_now
from nightlab.study.prefetch import is_prefetched
from nightlab.study.rebase import asked_of_another, rebase, with_set_aside
from tests.session_samples import ScriptedProposer

OLD, NEW = "a" * 40, "b" * 40
SOURCE = "WIDTH = 64  # 32..256\nDEPTH = 4  # 2..12\n"


def idea(search: str, replace: str, **cost) -> Proposal:
    return Proposal(
        title="Wider",
        proposer="llm",
        edits=(Edit(search=search, replace=replace),),
        cost=ProposalCost(calls=1, **cost),
        exchanges=(Exchange(prompt=f"prompt of {replace}", answer="answer"),),
    )


def waiting(proposal: Proposal | None) -> InFlight:
    return InFlight(
        study="s",
        number=3,
        parent=OLD,
        commit=OLD,
        proposal=proposal,
        attempts=0,
        started_at=utc_now(),
    )


def test_an_idea_stays_where_the_incumbent_does():
    mark = waiting(idea("WIDTH = 64", "WIDTH = 96"))
    assert is_prefetched(mark)
    assert rebase(mark, OLD, SOURCE, "") is mark


def test_an_idea_that_still_applies_moves_to_the_new_incumbent():
    mark = waiting(idea("WIDTH = 64", "WIDTH = 96"))
    moved = rebase(mark, NEW, SOURCE.replace("DEPTH = 4", "DEPTH = 6"), "")
    assert (moved.parent, moved.commit) == (NEW, NEW)
    assert moved.proposal == mark.proposal
    assert moved.set_aside == ()


def test_an_idea_that_does_not_apply_is_set_aside_and_its_cost_stays():
    first = idea("WIDTH = 64", "WIDTH = 96", prompt_tokens=1000, cost_usd=0.25, seconds=3.0)
    moved = rebase(waiting(first), NEW, SOURCE.replace("WIDTH = 64", "WIDTH = 80"), "")
    assert moved.proposal is None
    assert moved.set_aside == (first,)

    second = idea("DEPTH = 4", "DEPTH = 6", prompt_tokens=500, seconds=1.0)
    told = with_set_aside(moved, second)
    assert told.edits == second.edits
    assert told.cost == ProposalCost(calls=2, prompt_tokens=1500, priced_usd=0.25, seconds=4.0)
    assert [each.prompt for each in told.exchanges] == [
        "prompt of WIDTH = 96",
        "prompt of DEPTH = 6",
    ]


def test_an_idea_that_no_longer_makes_python_is_set_aside():
    opened = idea("WIDTH = 64", "WIDTH = (64,")
    moved = rebase(waiting(opened), NEW, SOURCE, "")
    assert (moved.proposal, moved.set_aside) == (None, (opened,))


def test_an_idea_that_never_applied_is_asked_for_anew_where_the_incumbent_changed():
    wrong = idea("HEIGHT = 1", "HEIGHT = 2").model_copy(update={"error": "Not found."})
    assert rebase(waiting(wrong), OLD, SOURCE, "").proposal == wrong
    moved = rebase(waiting(wrong), NEW, SOURCE, "")
    assert moved.proposal is None
    assert moved.set_aside == (wrong,)


def test_an_idea_from_before_the_brief_changed_is_set_aside():
    mark = waiting(idea("WIDTH = 64", "WIDTH = 96")).model_copy(update={"program": "Go wide."})
    assert rebase(mark, OLD, SOURCE, "Go wide.") is mark
    moved = rebase(mark, OLD, SOURCE, "Go deep.")
    assert moved.proposal is None
    assert moved.set_aside == (mark.proposal,)
    assert moved.program == "Go deep."

    retried = mark.model_copy(update={"retry_of": 2})
    assert rebase(retried, OLD, SOURCE, "Go deep.") is retried


class Asked(ScriptedProposer):
    """A proposer by name and model."""

    def __init__(self, name: str, model: str | None) -> None:
        super().__init__(lambda brief: Proposal(title="Unasked", proposer=name), name=name)
        self.model = model


LONG = "agent --prompt " + "x" * 200
AGENT = Asked("command", LONG[:119] + "…")
MODELS = Asked("llm", "openai/a,openai/b")


@pytest.mark.parametrize(
    ("proposer", "model", "asked", "now", "command"),
    [
        ("command", AGENT.model, LONG, AGENT, LONG),
        ("command", AGENT.model, LONG, HybridProposer(AGENT, KnobProposer()), LONG),
        ("llm", "openai/b", None, MODELS, None),
        ("llm", "openai/b", None, HybridProposer(MODELS, KnobProposer()), None),
        ("knobs", None, None, KnobProposer(), None),
        ("knobs", None, LONG, HybridProposer(AGENT, KnobProposer()), LONG),
    ],
)
def test_an_idea_of_who_is_asked_now_is_used(proposer, model, asked, now, command):
    idea = Proposal(title="An idea", proposer=proposer, model=model)
    mark = waiting(idea).model_copy(update={"settings": {"command": asked}})
    assert asked_of_another(mark, now, command) is None


@pytest.mark.parametrize(
    ("proposer", "model", "asked", "now", "command"),
    [
        # They differ after what a sentence shows of them.
        ("command", AGENT.model, LONG, AGENT, LONG + "y"),
        ("command", AGENT.model, LONG, MODELS, None),
        ("command", AGENT.model, LONG, KnobProposer(), None),
        ("llm", "openai/c", None, MODELS, None),
        ("llm", "openai/b", None, AGENT, LONG),
        ("llm", "openai/b", None, KnobProposer(), None),
        ("knobs", None, None, MODELS, None),
    ],
)
def test_an_idea_that_was_asked_of_another_is_named_by_who_had_it(
    proposer, model, asked, now, command
):
    idea = Proposal(title="An idea", proposer=proposer, model=model)
    mark = waiting(idea).model_copy(update={"settings": {"command": asked}})
    said = asked_of_another(mark, now, command)
    assert said == (proposer if model is None else f"{proposer} {model}")
    # A trial that has begun goes on with its idea, and a retry is of that very idea.
    for begun in ({"attempts": 1}, {"retry_of": 1}):
        assert asked_of_another(mark.model_copy(update=begun), now, command) is None
