"""One training as MLflow shows it: a run below its trial's, with the curve."""

from datetime import datetime
from typing import NamedTuple

from nightlab.judging.score_text import audit_sentence
from nightlab.records import Reason, Replicate
from nightlab.shown import for_markdown
from nightlab.tracking.curves import CURVE_KEY, LARGEST_STEP, curve_rows, present
from nightlab.tracking.metrics import replicate_values
from nightlab.tracking.runs import FAILED, FINISHED, RunContent, milliseconds, storable
from nightlab.tracking.tags import (
    CANDIDATE,
    KIND_TAG,
    LONGEST_TAG,
    NAME_TAG,
    SEED_TAG,
    STUDY_TAG,
    SUBJECT_TAG,
    TRIAL_TAG,
    note_tag,
)


class ReplicateKey(NamedTuple):
    """Which training of a trial is meant, as MLflow's tags have it."""

    seed: str
    subject: str = CANDIDATE


def replicate_tags(study: str, number: int, seed: int, subject: str = CANDIDATE) -> dict[str, str]:
    """Tags by which a replicate's run is found; its parent's is added by the store."""
    return {
        SUBJECT_TAG: subject,
        KIND_TAG: "replicate",
        STUDY_TAG: study,
        TRIAL_TAG: str(number),
        SEED_TAG: str(seed),
        NAME_TAG: f"{number:04d} {'' if subject == CANDIDATE else f'{subject} '}seed {seed}",
    }


def describe_replicate(
    study: str, number: int, replicate: Replicate, subject: str, began: datetime
) -> RunContent:
    """Say what MLflow is to show of a finished training.

    Args:
        study: its name.
        number: of the trial that it was made for.
        replicate: with its curve, as the evidence has it.
        subject: whose code was trained.
        began: when, where the record does not say: its trial's start.
    """
    training, evaluation = replicate.training, replicate.evaluation
    tags = replicate_tags(study, number, replicate.seed, subject)
    if replicate.place:
        tags["place"] = storable(replicate.place)[:LONGEST_TAG]
    if replicate.failure is not None:
        tags["reason"] = replicate.failure.value
    said = [training.message]
    if evaluation is not None:
        said += [evaluation.message, audit_sentence(evaluation)]
    message = " ".join(text for text in said if text)
    if message:
        tags |= note_tag(for_markdown(message))
    started_ms = milliseconds(training.started_at or began)
    rows = curve_rows(training.curve, started_ms)
    last = max((row.step for row in rows), default=0)
    crashed = replicate.failure not in (None, Reason.PRUNED)
    return RunContent(
        status=FAILED if crashed else FINISHED,
        started_ms=started_ms,
        ended_ms=started_ms + int(1000 * _seconds(replicate)),
        final_step=max(last, min(training.num_steps or 0, LARGEST_STEP)),
        params={"seed": str(replicate.seed)},
        metrics=present(replicate_values(replicate)),
        tags=tags,
        curve=rows,
        clock=CURVE_KEY,
    )


def _seconds(replicate: Replicate) -> float:
    """How long it took, without the wait between training and evaluation."""
    training, evaluation = replicate.training, replicate.evaluation
    trained = training.wall_seconds or training.training_seconds or 0.0
    evaluated = evaluation.seconds or 0.0 if evaluation is not None else 0.0
    return (training.startup_seconds or 0.0) + trained + evaluated
