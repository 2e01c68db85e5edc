"""The hybrid: whose turn it is, near misses, and nights without money for models."""

from dataclasses import dataclass, field
from pathlib import Path

import pytest

from nightlab.errors import BudgetReached, ModelError, ModelRefused, NoEdit
from nightlab.proposers import EndpointError, KnobProposer, apply_edits, read_knobs
from nightlab.proposers.arms import Arm, arm_of
from nightlab.proposers.brief import Brief, NearMiss
from nightlab.proposers.command.proposer import CommandProposer
from nightlab.proposers.hybrid import HybridProposer
from nightlab.records import (
    Edit,
    Mode,
    Proposal,
    Reason,
    Suggestion,
    TrialRecord,
    Verdict,
    utc_now,
)
from tests.proposers.trainer_sample import SOURCE, sample_brief
from tests.samples import sample_record

ADDS_A_KNOB = Edit(search="DEPTH = 4", replace="NOVELTY = 0.5  # 0.1..0.9\nDEPTH = 4")


@dataclass
class Structure:
    """Stands for a model: one idea, or one failure."""

    failure: ModelError | None = None
    name: str = "llm"
    model: str | None = "m"
    reads: bool = True
    needs_money: bool = True
    asked: list[int] = field(default_factory=list)

    def propose(self, brief: Brief) -> Proposal:
        self.asked.append(brief.number)
        if self.failure is not None:
            raise self.failure
        return Proposal(title="Structure", edits=(ADDS_A_KNOB,), proposer="llm", model="m")

    def repair(self, brief: Brief, proposal: Proposal, problem: str) -> Proposal | None:
        return proposal.model_copy(update={"title": "Mended"})


def proposals(hybrid: HybridProposer, count: int = 60, **changes: object) -> list[Proposal]:
    return [hybrid.propose(sample_brief(number=number, **changes)) for number in range(1, count)]


def arms_of(found: list[Proposal]) -> list[Arm]:
    def arm(proposal: Proposal) -> Arm:
        if proposal.rescue_of is not None:
            return Arm.RESCUE
        return Arm.TUNING if proposal.proposer == "knobs" else Arm.STRUCTURE

    return [arm(proposal) for proposal in found]


def won(number: int, proposer: str, gain: float) -> TrialRecord:
    record = sample_record(number, scores=(2.0,), verdict=Verdict.KEEP, reason=Reason.IMPROVED)
    decision = record.decision.model_copy(update={"difference_bpb": -gain, "noise_bpb": 0.01})
    return record.model_copy(update={"decision": decision, "proposer": proposer})


def test_a_new_study_divides_its_turns() -> None:
    found = arms_of(proposals(HybridProposer(Structure(), KnobProposer())))
    assert found.count(Arm.STRUCTURE) > 15
    assert found.count(Arm.TUNING) > 15
    assert Arm.RESCUE not in found


@pytest.mark.parametrize(("winner", "arm"), [("llm", Arm.STRUCTURE), ("knobs", Arm.TUNING)])
def test_turns_go_where_gains_came_from(winner: str, arm: Arm) -> None:
    loser = "knobs" if winner == "llm" else "llm"
    records = [won(n, winner, 0.04) for n in range(1, 4)]
    records += [sample_record(n, scores=(2.1,)) for n in range(4, 10)]
    records[3:] = [record.model_copy(update={"proposer": loser}) for record in records[3:]]
    assert arm_of(records[0]) is arm
    found = arms_of(proposals(HybridProposer(Structure(), KnobProposer()), records=tuple(records)))
    assert found.count(arm) > 45


def test_the_same_trial_gets_the_same_turn() -> None:
    first, second = (proposals(HybridProposer(Structure(), KnobProposer())) for _ in range(2))
    assert first == second


def test_a_near_miss_is_tried_again_with_its_own_knob_moved() -> None:
    miss = NearMiss(number=7, title="Novelty", edits=(ADDS_A_KNOB,), difference_bpb=0.001)
    found = proposals(HybridProposer(Structure(), KnobProposer()), near_misses=(miss,))
    rescues = [each for each in found if each.rescue_of is not None]
    assert len(rescues) > 8
    for rescue in rescues:
        assert (rescue.rescue_of, rescue.mode, rescue.proposer) == (7, Mode.RESCUE, "knobs")
        assert "with trial 7" in rescue.title
        applied = apply_edits(SOURCE, rescue.edits)
        assert applied.error is None
        assert read_knobs(applied.source)["NOVELTY"].value != 0.5


def test_a_miss_whose_edit_no_longer_applies_is_left() -> None:
    gone = Edit(search="NOT THERE = 1", replace="NOT THERE = 2")
    miss = NearMiss(number=7, title="Gone", edits=(gone,), difference_bpb=0.001)
    found = proposals(HybridProposer(Structure(), KnobProposer()), near_misses=(miss,))
    assert Arm.RESCUE not in arms_of(found)


@pytest.mark.parametrize(
    "failure",
    [
        BudgetReached("$1 is spent."),
        EndpointError("It is away."),
        NoEdit("It changed nothing."),
    ],
)
def test_the_optimiser_takes_the_turns_of_a_model_that_cannot(failure: ModelError) -> None:
    structure = Structure(failure)
    found = proposals(HybridProposer(structure, KnobProposer()))
    assert structure.asked
    assert set(arms_of(found)) == {Arm.TUNING}
    noted = [each for each in found if str(failure) in each.note]
    assert len(noted) == len(structure.asked)


def test_a_suggestion_goes_to_the_model() -> None:
    wish = Suggestion(study="s", name="0001", text="Try RMSNorm.", made_at=utc_now())
    found = proposals(HybridProposer(Structure(), KnobProposer()), suggestions=(wish,))
    assert set(arms_of(found)) == {Arm.STRUCTURE}
    away = HybridProposer(Structure(EndpointError("It is away.")), KnobProposer())
    (first, *_) = proposals(away, suggestions=(wish,))
    assert "1 suggestion waits for the model" in first.note


def test_without_knobs_the_model_has_all_turns() -> None:
    bare = "\n".join(line.partition("  #")[0] for line in SOURCE.splitlines()) + "\n"
    structure = Structure()
    found = proposals(HybridProposer(structure, KnobProposer()), incumbent_source=bare)
    assert set(arms_of(found)) == {Arm.STRUCTURE}
    structure.failure = EndpointError("It is away.")
    with pytest.raises(EndpointError):
        proposals(HybridProposer(structure, KnobProposer()), incumbent_source=bare)


def test_where_all_values_were_tried_the_model_has_the_turn() -> None:
    bare = "\n".join(line.partition("  #")[0] for line in SOURCE.splitlines()) + "\n"
    source = bare + 'MODE = "a"  # one of "a", "b"\n'
    record = sample_record(1, scores=(2.0,)).model_copy(update={"knobs": {"MODE": "b"}})
    hybrid = HybridProposer(Structure(), KnobProposer())
    found = proposals(hybrid, incumbent_source=source, records=(record,))
    assert set(arms_of(found)) == {Arm.STRUCTURE}
    assert any("The model takes the turn of the optimiser" in each.note for each in found)


def test_a_refusal_is_not_hidden() -> None:
    hybrid = HybridProposer(Structure(ModelRefused("Bad key.")), KnobProposer())
    with pytest.raises(ModelRefused):
        proposals(hybrid)


def test_repairs_go_to_whoever_wrote_it() -> None:
    hybrid = HybridProposer(Structure(), KnobProposer())
    written = Proposal(title="Structure", proposer="llm")
    mended = hybrid.repair(sample_brief(), written, "It broke.")
    assert mended is not None
    assert mended.title == "Mended"
    assert hybrid.repair(sample_brief(), Proposal(title="x", proposer="knobs"), "Broke.") is None


def test_the_note_says_whose_turn_it_was() -> None:
    first = HybridProposer(Structure(), KnobProposer()).propose(sample_brief())
    assert first.note.startswith("Hybrid: ")
    assert "structure" in first.note
    assert "tuning" in first.note


def test_an_idle_agent_is_not_paid_for_in_each_of_its_turns(tmp_path: Path) -> None:
    runs = tmp_path / "runs"
    idle = CommandProposer(f"echo . >> {runs}", 30.0)
    wish = Suggestion(study="s", name="0001", text="Try RMSNorm.", made_at=utc_now())
    hybrid = HybridProposer(idle, KnobProposer())
    found = proposals(hybrid, 12, suggestions=(wish,))
    assert set(arms_of(found)) == {Arm.TUNING}
    assert len(runs.read_text().split()) == 2
    assert "so it rests" in found[-1].note
    assert "changed nothing" in found[-1].note
    assert {each.suggestions for each in found} == {()}, "it waits on"
