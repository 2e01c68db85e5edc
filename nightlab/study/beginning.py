"""What a study begins with: the committed train.py, with the constants of its preset and device.

From then on the study has its own file, on its branch: what happens to the one in the clone is
said, and changes nothing.
"""

from nightlab import events
from nightlab.errors import UsageError
from nightlab.judging.scores import find_baseline
from nightlab.ledger import Ledger
from nightlab.proposers import set_knobs
from nightlab.records import Verdict
from nightlab.sandbox.device import Device
from nightlab.settings import TRAINER_FILE, SessionSettings
from nightlab.study.checks import first_file
from nightlab.study.session import Session

PRECISIONS = ("TRAINING_PRECISION", "ORTHOGONAL_PRECISION")


def begin_study(session: Session) -> str:
    """Make the study's branch where there is none; return the incumbent's commit."""
    ledger = session.ledger
    if ledger.exists():
        _say_edited(ledger)
        return ledger.incumbent()
    source = first_file(ledger)
    if not _is_file_of(ledger, "HEAD"):
        events.publish(
            events.Notice(
                text=f"{TRAINER_FILE} has changes that are not committed: the study begins from "
                "the committed file."
            )
        )
    return ledger.create(
        first_source(source, session.settings, session.device),
        f"Set the constants of study {ledger.study} for its preset and device",
    )


def _say_edited(ledger: Ledger) -> None:
    """Say that the clone's file is neither what the study began with nor what it has kept."""
    records = ledger.records()
    baseline = find_baseline(records)
    first = baseline.commit if baseline is not None else ledger.incumbent()
    # A study's first commit may only set the constants, on top of the file that it began with.
    known = [f"{first}^", first, *(r.commit for r in records if r.verdict is Verdict.KEEP)]
    if any(_is_file_of(ledger, commit) for commit in known):
        return
    commit_it = "" if _is_file_of(ledger, "HEAD") else "commit it and "
    events.publish(
        events.Notice(
            text=f"{TRAINER_FILE} is not the file that study {ledger.study!r} began with, and the "
            f"study goes on from its own: `git diff {ledger.branch} -- {TRAINER_FILE}` shows the "
            f"difference. To begin anew from yours, {commit_it}name another study with --study."
        )
    )


def _is_file_of(ledger: Ledger, commit: str) -> bool:
    """Whether the clone's train.py is a commit's, as git would store it (line ends and all)."""
    here = ledger.plumbing.line("hash-object", "--", TRAINER_FILE)
    return ledger.plumbing.resolve(f"{commit}:{TRAINER_FILE}") == here


def first_source(source: str, settings: SessionSettings, device: Device) -> str:
    """What train.py is for a new study: with its preset's constants, as they fit the device.

    A precision that each training would measure is measured once, here: near the threshold,
    replicates would differ in it. A study that goes on elsewhere keeps its file: its constants
    are part of what was tried.
    """
    constants = settings.sizes.knobs_on(device.memory_mb)
    if device.precision is not None:
        measured = [name for name in PRECISIONS if _says(source, name, "probe")]
        constants = {**dict.fromkeys(measured, device.precision), **constants}
    return set_knobs(source, constants)


def _says(source: str, name: str, value: str) -> bool:
    """Whether a top-level constant has a value: then setting it changes nothing."""
    try:
        return set_knobs(source, {name: value}) == source
    except UsageError:  # there is none of this name
        return False
