"""A confirmation as MLflow shows it: a run of its own beside the trials."""

from collections.abc import Iterable
from statistics import fmean

from nightlab.judging.case import pairs_of
from nightlab.judging.scores import scores_of
from nightlab.ledger.confirmations import ConfirmationRecord
from nightlab.records import Replicate
from nightlab.redaction import redact
from nightlab.shown import for_markdown
from nightlab.tracking.curves import present
from nightlab.tracking.runs import FINISHED, RunContent, milliseconds
from nightlab.tracking.tags import KIND_TAG, NAME_TAG, STUDY_TAG, note_tag

CONFIRMATION_KIND = "confirmation"
NUMBER_TAG = "nightlab.confirmation"


def describe_confirmation(record: ConfirmationRecord) -> RunContent:
    """Say what MLflow is to show of a finished confirmation."""
    gain, interval = record.gain_bpb, record.interval_bpb
    baseline, incumbent = confirmed_means(record)
    known = {
        "claimed_gain_bpb": record.claimed_gain_bpb,
        "confirmed_gain_bpb": gain,
        "confirmed_gain_low_bpb": interval[0] if interval else None,
        "confirmed_gain_high_bpb": interval[1] if interval else None,
        "holds": None if record.holds is None else float(record.holds),
        **_scores("baseline", record.baseline_replicates, baseline),
        **_scores("incumbent", record.incumbent_replicates, incumbent),
    }
    finished = record.finished_at or record.started_at
    return RunContent(
        status=FINISHED,
        started_ms=milliseconds(record.started_at),
        ended_ms=milliseconds(finished),
        metrics=present({f"{CONFIRMATION_KIND}/{name}": value for name, value in known.items()}),
        tags={
            KIND_TAG: CONFIRMATION_KIND,
            STUDY_TAG: record.study,
            NUMBER_TAG: str(record.number),
            NAME_TAG: f"confirmation of trial {record.incumbent_trial}",
            **note_tag(for_markdown(record.sentence)),
            "baseline_commit": record.baseline_commit,
            "commit": record.incumbent_commit,
            "parent_trial": str(record.incumbent_trial),
            "mlflow.source.git.commit": record.incumbent_commit,
        },
        texts={"confirmation.json": redact(record.model_dump_json(indent=2))},
    )


def confirmed_means(record: ConfirmationRecord) -> tuple[float | None, float | None]:
    """Mean scores of baseline and incumbent on the holdout split, of the seeds both have."""
    baseline = {each.seed: each for each in record.baseline_replicates}
    pairs = pairs_of(record.incumbent_replicates, baseline)
    if not pairs:
        return None, None
    # Of these pairs the baseline is what the incumbent is compared with.
    return fmean(p.incumbent_bpb for p in pairs), fmean(p.candidate_bpb for p in pairs)


def _scores(whose: str, replicates: Iterable[Replicate], mean: float | None) -> dict[str, float]:
    """The mean of what the gain rests on, and every seed's score, on the holdout split."""
    if mean is None:
        return {}
    scores = scores_of(replicates)
    every = {f"{whose}_holdout_bpb_{index}": score for index, score in enumerate(scores)}
    return {f"{whose}_holdout_bpb": mean, **every}
