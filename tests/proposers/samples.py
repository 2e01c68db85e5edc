"""Histories of studies, made up."""

from nightlab.records import Reason, TrialRecord, Verdict
from tests.samples import sample_record


def history(count: int, title_characters: int = 60) -> tuple[TrialRecord, ...]:
    """A baseline, then trials of which every tenth is kept and every seventh crashes."""
    records = []
    for number in range(count):
        verdict, reason = Verdict.DISCARD, Reason.WITHIN_NOISE
        if number % 10 == 0:
            verdict, reason = Verdict.KEEP, Reason.IMPROVED
        elif number % 7 == 0:
            verdict, reason = Verdict.CRASH, Reason.EXCEPTION
        scores = () if verdict is Verdict.CRASH else (2.0 + number / 1000,)
        record = sample_record(number, scores=scores, verdict=verdict, reason=reason)
        decision = record.decision.model_copy(update={"sentence": f"It broke at part {number}."})
        title = f"idea {number} ".ljust(title_characters, "x")
        records.append(record.model_copy(update={"decision": decision, "title": title}))
    return tuple(records)
