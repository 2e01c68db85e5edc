"""Studies by the knobs proposer on scores that are known, without training."""

import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from nightlab.proposers import KnobProposer, apply_edits, check_source, knob_values
from nightlab.records import Proposal, Reason, TrialRecord, Verdict
from tests.conftest import ROOT
from tests.proposers.trainer_sample import SOURCE, sample_brief
from tests.samples import sample_record

NOISE = 0.005
SHIPPED = (ROOT / "trainer" / "train.py").read_text()
_END = SOURCE[SOURCE.index("\n\ndef build_model") :]
TRAINER = SHIPPED[SHIPPED.index("import math") : SHIPPED.index("\n\ndef check_settings")] + _END
"""The shipped trainer's constants; without the rest, which takes time to read."""
NAMED_OTHERWISE = f"""\
import math

import runtime
import torch

BATCH = 32  # 8..256; rows
STEP_SIZE = 3e-4  # 1e-5..1e-2 log
DROPOUT = 0.1  # 0.0..0.5
LAYERS = 6  # 1..16
CHANNELS = 96  # 32..512 step 32
DEPTH = WIDTH = 1
{_END}"""


def record_of(number: int, source: str, score: float | None, **changes: Any) -> TrialRecord:
    """A trial that was set aside, of the baseline if nothing else is said."""
    scores = () if score is None else (score,)
    record = sample_record(number, scores=scores)
    return record.model_copy(update={"knobs": knob_values(source), **changes})


def propose(
    source: str, records: list[TrialRecord], number: int | None = None, **changes: Any
) -> Proposal:
    """What the proposer would do next, without a warning."""
    number = len(records) if number is None else number
    brief = sample_brief(number, tuple(records), incumbent_source=source, **changes)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        return KnobProposer().propose(brief)


def applied(source: str, proposal: Proposal) -> str:
    """The candidate."""
    outcome = apply_edits(source, proposal.edits)
    assert outcome.error is None
    assert check_source(outcome.source) is None
    return outcome.source


@dataclass
class KnobStudy:
    """Keeps what is better by twice the noise."""

    source: str
    score: Callable[[dict[str, Any]], float | None]
    """Of a candidate's knobs; None is a crash."""
    seed: int = 7
    records: list[TrialRecord] = field(default_factory=list)
    titles: list[str] = field(default_factory=list)
    standing: float = 0.0

    def __post_init__(self) -> None:
        known = self.score(knob_values(self.source))
        assert known is not None
        self.standing = known
        record = record_of(0, self.source, known, parent=f"{0:040x}")
        self.records.append(judged(record, Verdict.KEEP, Reason.BASELINE, None))

    @property
    def knobs(self) -> dict[str, Any]:
        """As they stand."""
        return dict(knob_values(self.source))

    def run(self, trials: int) -> "KnobStudy":
        """Go on for so many trials."""
        for _ in range(trials):
            self.step()
        return self

    def step(self) -> None:
        """One trial."""
        number = len(self.records)
        parent = [r for r in self.records if r.verdict is Verdict.KEEP][-1].commit
        idea = propose(self.source, self.records, seed=self.seed, incumbent_commit=parent)
        candidate = applied(self.source, idea)
        score = self.score(dict(knob_values(candidate)))
        record = record_of(number, candidate, score, parent=parent, title=idea.title)
        self.titles.append(idea.title)
        if score is None:
            self.records.append(judged(record, Verdict.CRASH, Reason.OOM, None))
            return
        difference = score - self.standing
        if difference < -2 * NOISE:
            self.records.append(judged(record, Verdict.KEEP, Reason.IMPROVED, difference))
            self.source, self.standing = candidate, score
        else:
            self.records.append(judged(record, Verdict.DISCARD, Reason.WITHIN_NOISE, difference))


def judged(
    record: TrialRecord,
    verdict: Verdict,
    reason: Reason,
    difference: float | None,
    probability: float | None = None,
) -> TrialRecord:
    """The record with another decision."""
    decision = record.decision.model_copy(
        update={
            "verdict": verdict,
            "reason": reason,
            "difference_bpb": difference,
            "noise_bpb": NOISE,
            "probability_better": probability,
        }
    )
    return record.model_copy(update={"decision": decision})
