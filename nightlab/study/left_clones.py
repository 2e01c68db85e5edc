"""Clones that a killed Prefect worker left in the system's temporary folder.

A worker makes one for each run, ``tmp????????prefect/…``, and removes it at the run's end; killed,
it does not. Such a clone can be known: Nightlab keeps its locks and notes in ``.git/nightlab``. It
goes once no session holds it, nothing began or ended there for an hour, and all that its studies
have recorded is in this clone too, into which the remote's was just fetched. Else it stays: it may
hold the only copy.
"""

import fcntl
import os
import tempfile
import time
from pathlib import Path

from nightlab import events
from nightlab.errors import LedgerError
from nightlab.ledger import Ledger
from nightlab.ledger.plumbing import Plumbing
from nightlab.sandbox.scratch import remove_tree

QUIET_SECONDS = 3600.0
UNDER_WAY = ("/stop", "/session")
"""Ends of refs that are of a session, and no record."""


def sweep_left_clones(ledger: Ledger) -> None:
    """Remove those whose records are all in this clone, and name those that have others.

    Args:
        ledger: of the study that a session works on; its remote was just fetched.
    """
    for notes in Path(tempfile.gettempdir()).glob("tmp*prefect/*/.git/nightlab"):
        clone = notes.parent.parent
        try:
            is_left = clone != ledger.root and _is_left(notes)
            missing = _only_there(Plumbing(clone), ledger) if is_left else None
        except (OSError, LedgerError):  # somebody else's, or just being removed
            continue
        if missing is None:
            continue
        if not missing:
            remove_tree(clone.parent)
        elif any(ledger.refs.kind(ref) is not None for ref in missing):
            events.publish(
                events.Notice(
                    text=f"The clone of a killed run stays in {clone}: it has records of study "
                    f"{ledger.study!r} that are not here ({', '.join(missing)})."
                )
            )


def _is_left(notes: Path) -> bool:
    """Whether it is ours, and no session has had anything to do with it for long."""
    folder = notes.parent.parent.parent
    if folder.lstat().st_uid != os.geteuid() or not (notes / "clone").is_file():
        return False
    if time.time() - notes.stat().st_mtime < QUIET_SECONDS:
        return False
    return all(_is_free(lock) for lock in notes.glob("*.lock"))


def _is_free(lock: Path) -> bool:
    handle = os.open(lock, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    finally:
        os.close(handle)
    return True


def _only_there(left: Plumbing, ledger: Ledger) -> list[str]:
    """Refs of records that are not in this clone; trials and sessions under way are none."""
    recorded = {
        ref: name
        for ref, name in left.refs("refs/nightlab", "refs/heads/nightlab").items()
        if not ref.endswith(UNDER_WAY) and "/inflight/" not in ref
    }
    names = "".join(f"{name}\n" for name in recorded.values())
    answers = ledger.plumbing.line("cat-file", "--batch-check", stdin=names.encode()).splitlines()
    return [ref for ref, said in zip(recorded, answers, strict=True) if said.endswith(" missing")]
