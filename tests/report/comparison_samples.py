"""Studies to compare."""

from datetime import timedelta

from nightlab.ledger import ConfirmationRecord
from nightlab.records import ProposalCost, TrialRecord, Verdict
from nightlab.report.comparison import Arm, read_arm
from tests.report.samples import BEGAN, FixedStudy, trial
from tests.report.samples import baseline as paid_baseline


class SourcedStudy(FixedStudy):
    """A ledger whose trainer is known."""

    code = "DEPTH = 4\n"

    def source(self, commit: str) -> str:
        return self.code


def changed(record: TrialRecord, **values: object) -> TrialRecord:
    return record.model_copy(update=values)


def baseline(noise: float = 0.004) -> TrialRecord:
    return changed(paid_baseline(noise=noise), cost=ProposalCost())


def kept(number: int, *scores: float, cost_usd: float | None = None) -> TrialRecord:
    return trial(number, Verdict.KEEP, scores, cost_usd=cost_usd)


def study(name: str, *records: TrialRecord) -> SourcedStudy:
    """A study whose trials follow one another, each on the code that stood."""
    parent, chained = records[0].commit, []
    for record in records:
        chained.append(changed(record, parent=parent))
        if record.verdict is Verdict.KEEP:
            parent = record.commit
    return SourcedStudy(study=name, all_records=chained)


def confirmed(number: int, after: int, gain: float, holds: bool = True) -> ConfirmationRecord:
    moment = BEGAN + timedelta(minutes=after, seconds=50)
    return ConfirmationRecord(
        study="x",
        number=number,
        baseline_commit="0" * 40,
        incumbent_commit="1" * 40,
        incumbent_trial=after,
        wanted=3,
        claimed_gain_bpb=0.1,
        gain_bpb=gain,
        interval_bpb=(gain - 0.01, gain + 0.01),
        holds=holds,
        started_at=moment,
        finished_at=moment,
    )


def arm(name: str, *scores: float, cost_usd: float | None = 0.01) -> Arm:
    """A study that kept a trial a score, after a baseline of 2 bpb."""
    records = [kept(n, score, cost_usd=cost_usd) for n, score in enumerate(scores, start=1)]
    return read_arm(study(name, baseline(), *records))
