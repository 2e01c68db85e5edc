"""The checkpoints of a trial: one stands until the verdict, that of its best training so far."""

from collections.abc import Iterable
from pathlib import Path

from nightlab.judging.decision import Subject
from nightlab.records import Replicate
from nightlab.study.session import Session


def checkpoint_path(session: Session, number: int, subject: Subject, seed: int) -> Path:
    """Where the checkpoint of one training of a trial stands."""
    return session.work / f"{number:04d}-{subject.value}-{seed}.pt"


def best_replicate(
    session: Session, number: int, replicates: Iterable[Replicate]
) -> Replicate | None:
    """The best training of a trial's own code whose checkpoint stands here."""
    here = [
        (each.val_bpb, each.seed, each)
        for each in replicates
        if each.val_bpb is not None and own_checkpoint(session, number, each).is_file()
    ]
    return min(here)[2] if here else None


def own_checkpoint(session: Session, number: int, replicate: Replicate) -> Path:
    """Where the checkpoint of a training of the trial's own code stands, if it does."""
    return checkpoint_path(session, number, Subject.CANDIDATE, replicate.seed)


def drop_checkpoints(
    session: Session, number: int, *, but_best_of: Iterable[Replicate] = ()
) -> None:
    """Remove the checkpoints of a trial, or all but the best of some trainings."""
    best = best_replicate(session, number, but_best_of)
    stays = own_checkpoint(session, number, best) if best is not None else None
    for path in session.work.glob(f"{number:04d}-*.pt"):
        if path != stays:
            path.unlink(missing_ok=True)
