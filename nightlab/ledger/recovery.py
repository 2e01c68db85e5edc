"""What a kill can leave behind, and how it is mended.

Git's files back end applies a transaction of refs one rename at a time. A kill of the
session does not stop git (see plumbing.py), but a kill of git itself, or a power cut,
can leave a first part of a transaction, and the locks of the rest. A transaction's
commands are ordered so that every first part is mendable:

    evidence, record, branch, mark      (the record is the moment from which it counts)

    evidence without a record   → dropped: the trial is still in flight
    a keep without its move     → the branch is moved: the record says so
    a mark with a record        → dropped: the trial is finished

Locks are removed only while the study's session is held, only those of this study's
refs, and only when they are older than a few seconds with no git at work in the
repository. ``packed-refs.lock`` is shared with all of the repository: it is removed only
when it lies beside a stale lock of this study, of the same moment.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil

from nightlab.errors import LedgerError
from nightlab.ledger.names import StudyRefs
from nightlab.ledger.plumbing import Plumbing
from nightlab.records import TrialRecord, Verdict

_POLL_SECONDS = 0.2
_PATIENCE_SECONDS = 30.0
_SAME_MOMENT_SECONDS = 2.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Recovery:
    """What was mended; all empty after a session that ended well."""

    locks: tuple[str, ...] = ()
    """Names of the stale lock files that were removed."""
    dropped: tuple[str, ...] = ()
    """Refs that were dropped: marks of recorded trials, evidence of unrecorded ones."""
    moved_to: str | None = None
    """The commit that the branch was moved to, for a keep that was cut short."""


def recover(
    plumbing: Plumbing,
    refs: StudyRefs,
    read_records: Callable[[], Sequence[TrialRecord]],
    quiet_seconds: float,
) -> Recovery:
    """Mend a study's refs. Only for the holder of the study's session.

    Args:
        plumbing: the repository.
        refs: the study.
        read_records: reads the study's records.
        quiet_seconds: how old a lock must be before it is taken for stale.

    Raises:
        LedgerError: the study's refs stay locked by a git that is at work, or git refused.
    """
    locks = _remove_stale_locks(plumbing, refs, quiet_seconds)
    found = plumbing.refs(refs.branch, refs.root)
    recorded = set(refs.numbers(found, "trials"))
    dropped = [
        refs.inflight(number) for number in refs.numbers(found, "inflight") if number in recorded
    ]
    dropped += [
        refs.evidence(number)
        for number in refs.numbers(found, "evidence")
        if number not in recorded
    ]
    commands = [f"delete {ref} {found[ref]}" for ref in dropped]
    head = found.get(refs.branch)
    target = _head_of(head, read_records()) if head is not None else None
    if head is not None and target is not None and target != head:
        commands.insert(0, f"update {refs.branch} {target} {head}")
    if commands:
        plumbing.transaction(commands)
    return Recovery(
        locks=locks, dropped=tuple(dropped), moved_to=target if target != head else None
    )


def _head_of(head: str, records: Sequence[TrialRecord]) -> str:
    """Follow the kept records from where the branch stands; a person's word moves the others."""
    for record in records:
        if record.verdict is not Verdict.KEEP or record.approval is not None:
            continue
        if record.number > 0 and record.parent == head:
            head = record.commit
    return head


def _remove_stale_locks(
    plumbing: Plumbing, refs: StudyRefs, quiet_seconds: float
) -> tuple[str, ...]:
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while locks := _ages(_lock_files(plumbing, refs)):
        worker = _git_at_work(plumbing)
        if worker is None and min(locks.values()) >= quiet_seconds:
            shared = _shared_lock_files(plumbing, locks)
            for lock in (*locks, *shared):
                lock.unlink(missing_ok=True)
            return tuple(str(lock.name) for lock in (*locks, *shared))
        if time.monotonic() > deadline:
            raise LedgerError(
                f"The refs of study {refs.study!r} need to be free and {next(iter(locks))} locks "
                f"them, with {f'git process {worker}' if worker else 'an unknown git'} at work: "
                "wait for it to end, or delete that file."
            )
        time.sleep(_POLL_SECONDS)
    return ()


def _lock_files(plumbing: Plumbing, refs: StudyRefs) -> list[Path]:
    branches = [refs.branch, refs.consolidated]
    locks = [plumbing.common_directory / f"{branch}.lock" for branch in branches]
    folder = plumbing.common_directory / refs.root
    return [*locks, *sorted(folder.rglob("*.lock"))]


def _shared_lock_files(plumbing: Plumbing, locks: dict[Path, float]) -> list[Path]:
    """The repository's own locks that were taken together with this study's."""
    names = ("packed-refs.lock", "packed-refs.new")
    shared = _ages([plumbing.common_directory / name for name in names])
    return [
        path
        for path, age in shared.items()
        if any(abs(age - other) <= _SAME_MOMENT_SECONDS for other in locks.values())
    ]


def _ages(paths: list[Path]) -> dict[Path, float]:
    """Age in seconds of those files that exist."""
    ages = {}
    for path in paths:
        try:
            ages[path] = time.time() - path.stat().st_mtime
        except FileNotFoundError:
            continue
    return ages


def _git_at_work(plumbing: Plumbing) -> int | None:
    """Return the id of a git process in the repository, or None."""
    for process in psutil.process_iter(["name", "cwd"]):
        name, cwd = process.info["name"] or "", process.info["cwd"]
        if cwd is None or not (name == "git" or name.startswith("git-")):
            continue
        if any(Path(cwd).is_relative_to(folder) for folder in plumbing.git_directories):
            return int(process.pid)
    return None
