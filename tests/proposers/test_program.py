"""What became of each version of the research brief."""

from dataclasses import dataclass, field
from pathlib import Path

import pytest

from nightlab.errors import UsageError
from nightlab.proposers.program import program_history, program_version, read_program
from nightlab.records import Evidence, Proposal, Reason, TrialRecord, Verdict
from nightlab.settings import Places, SessionSettings
from tests.samples import sample_record

FIRST, SECOND = "Be bold.\nUse SSSL.\n", "Be bold.\nUse less memory.\n"


@dataclass
class Texts:
    """A ledger of trials that were told given texts."""

    trials: list[tuple[TrialRecord, str]] = field(default_factory=list)

    def add(self, text: str, **values: object) -> None:
        record = sample_record(len(self.trials), **values)  # type: ignore[arg-type]
        record = record.model_copy(update={"program_version": program_version(text)})
        self.trials.append((record, text))

    def records(self) -> tuple[TrialRecord, ...]:
        return tuple(record for record, _ in self.trials)

    def evidence(self, number: int) -> Evidence:
        proposal = Proposal(title="x", proposer="llm")
        return Evidence(proposal=proposal, program=self.trials[number][1])


def begun(text: str = FIRST) -> Texts:
    told = Texts()
    told.add(text, scores=(2.0, 2.2), verdict=Verdict.KEEP, reason=Reason.BASELINE)
    return told


def test_a_version_is_the_texts_and_none_is_empty() -> None:
    assert program_version("") == ""
    assert program_version(FIRST) == program_version(FIRST) != program_version(SECOND)
    assert len(program_version("half \ud83d")) == 10


def test_each_version_has_its_trials_its_keeps_its_gain_and_its_cost() -> None:
    told = begun()
    told.add(FIRST, scores=(1.9,), verdict=Verdict.KEEP, reason=Reason.IMPROVED, cost_usd=0.25)
    told.add(FIRST, scores=(2.4,), cost_usd=0.5)
    told.add(SECOND, verdict=Verdict.CRASH, reason=Reason.OOM)
    told.add(SECOND, scores=(1.6,), verdict=Verdict.KEEP, reason=Reason.IMPROVED, cost_usd=1.0)
    first, second = program_history(told)
    assert (first.version, second.version) == (program_version(FIRST), program_version(SECOND))
    assert (first.text, second.text) == (FIRST, SECOND)
    spans = [
        (each.first_trial, each.last_trial, each.trials, each.keeps) for each in (first, second)
    ]
    assert spans == [(0, 2, 3, 1), (3, 4, 2, 1)]
    assert (first.before_bpb, first.after_bpb) == (2.1, 1.9)
    assert (second.before_bpb, second.after_bpb) == (1.9, 1.6)
    assert second.gain_bpb == pytest.approx(0.3)
    assert (first.cost_usd, second.cost_usd) == (0.75, 1.0)
    assert first.diff == ""
    assert "-Use SSSL.\n+Use less memory.\n" in second.diff
    assert second.diff.startswith(f"--- program.md {first.version}\n+++ program.md")


def test_a_text_that_comes_back_stands_there_again() -> None:
    told = begun()
    told.add(SECOND)
    told.add(FIRST)
    versions = program_history(told)
    assert [each.version for each in versions] == [
        program_version(FIRST),
        program_version(SECOND),
        program_version(FIRST),
    ]
    assert "+Use SSSL." in versions[2].diff
    assert [each.gain_bpb for each in versions] == [0, 0, 0]
    assert [each.cost_usd for each in versions] == [None] * 3


def test_trials_from_before_have_an_unknown_version() -> None:
    told = begun("")
    told.add(FIRST)
    unknown, known = program_history(told)
    assert (unknown.version, unknown.text, unknown.trials) == ("unknown", "", 1)
    assert known.diff == ""


def test_a_study_without_trials_has_seen_nothing() -> None:
    assert program_history(Texts()) == ()
    broken = Texts()
    broken.add(FIRST, verdict=Verdict.CRASH, reason=Reason.EXCEPTION)
    (only,) = program_history(broken)
    assert (only.before_bpb, only.gain_bpb, only.keeps) == (None, None, 0)


def test_a_missing_brief_is_told_in_a_sentence(tmp_path: Path) -> None:
    places = Places(root=tmp_path, cache=tmp_path, tracking_uri="", mlruns=tmp_path)
    with pytest.raises(UsageError, match=r"'program\.md' needs to be a readable text file"):
        read_program(SessionSettings(), places)
    (tmp_path / "program.md").write_text(FIRST)
    assert read_program(SessionSettings(), places) == FIRST
