"""Trainings of a study in memory: what they scored, where, and the marks and records of them."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from nightlab.records import (
    Confinement,
    Decision,
    Evaluation,
    InFlight,
    Proposal,
    Reason,
    Replicate,
    TrainingResult,
    TrialRecord,
    Verdict,
    utc_now,
)
from nightlab.settings import SessionSettings
from nightlab.study.session import study_seeds
from nightlab.training.curve import PROFILE_BINS
from tests.session_samples import SilentTracker

SETTINGS = SessionSettings(study="night")
SEEDS = study_seeds(SETTINGS)
HERE = "this machine, a processor, engine 2"
ELSEWHERE = "that machine, a processor, engine 2"
BASELINE, CANDIDATE, SCHEDULED = "b" * 40, "c" * 40, "d" * 40
SOURCES = {
    BASELINE: "DEPTH = 4\n",
    CANDIDATE: "DEPTH = 6\n",
    SCHEDULED: "DEPTH = 4\nWARMUP = 2\n",
}

BETTER, UNCLEAR, WORSE = -0.05, -0.01, 0.05
"""Differences of a first pair that are kept, ask for another pair and are discarded: the usual
noise of a pair is 0.006 bpb."""


def trained(
    index: int,
    score: float | None,
    *,
    place: str = HERE,
    failure: Reason = Reason.OOM,
    seeds: tuple[int, ...] = SEEDS,
) -> Replicate:
    """A training with the study's seed of an index; without a score it failed."""
    if score is None:
        result = TrainingResult(failure=failure, message="Out of memory.")
        return Replicate(seed=seeds[index], training=result, place=place)
    return Replicate(
        seed=seeds[index],
        training=TrainingResult(
            training_seconds=20.0,
            final_loss=score + index / 7,
            num_params=1000,
            loss_profile=(3.0,) * PROFILE_BINS,
        ),
        evaluation=Evaluation(
            val_bpb=score, claimed_bpb=score + index / 7, num_tokens=1000, num_bytes=3000
        ),
        place=place,
    )


def finished(
    number: int,
    commit: str = BASELINE,
    *,
    own: Iterable[Replicate] = (),
    anew: Iterable[Replicate] = (),
    reason: Reason = Reason.WITHIN_NOISE,
    parent: str = BASELINE,
    **decided: Any,
) -> TrialRecord:
    """A record of a trial."""
    kept = (Reason.BASELINE, Reason.IMPROVED, Reason.SIMPLER)
    verdict = Verdict.KEEP if reason in kept else Verdict.DISCARD
    return TrialRecord(
        study="night",
        number=number,
        parent=parent,
        commit=commit,
        title=f"Idea {number}",
        proposer="baseline" if reason is Reason.BASELINE else "knobs",
        decision=Decision(verdict=verdict, reason=reason, sentence="So it is.", **decided),
        replicates=tuple(own),
        incumbent_replicates=tuple(anew),
        confinement=Confinement(rung="none"),
        started_at=utc_now(),
        finished_at=utc_now(),
    )


def session(
    *records: TrialRecord,
    lanes: int = 1,
    place: str = HERE,
    work: Path = Path("work"),
    sources: Mapping[str, str] = SOURCES,
    **settings: Any,
) -> Any:
    """A session of a study with these records; marks that are written stand in ``marked``."""
    marked: list[InFlight] = []
    ledger = SimpleNamespace(
        study="night",
        records=lambda: records,
        source=lambda commit: sources[commit],
        mark=marked.append,
    )
    return SimpleNamespace(
        settings=SETTINGS.model_copy(update=settings),
        ledger=ledger,
        lanes=lanes,
        place=place,
        startup_free_seconds=None,
        answering_allowed=None,
        work=work,
        marked=marked,
        tracker=SilentTracker(),
    )


def begun(*scores: float, place: str = HERE) -> TrialRecord:
    """The record of a baseline that was trained twice."""
    own = [trained(index, score, place=place) for index, score in enumerate(scores or (2.0, 2.0))]
    return finished(0, own=own, reason=Reason.BASELINE)


def under_way(
    *own: Replicate,
    anew: Iterable[Replicate] = (),
    number: int = 1,
    commit: str = CANDIDATE,
    proposer: str = "knobs",
) -> InFlight:
    """The mark of a trial on the baseline."""
    return InFlight(
        study="night",
        number=number,
        parent=BASELINE,
        commit=BASELINE if proposer == "baseline" else commit,
        proposal=Proposal(title="An idea", proposer=proposer),
        replicates=own,
        incumbent_replicates=tuple(anew),
        started_at=utc_now(),
    )
