"""A session's folder for checkpoints between training and evaluation.

A killed session leaves its folder behind, with checkpoints that nothing asks for any more: what
was not evaluated is trained again. So the next session that starts here, of whatever study and
clone, removes it.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from nightlab.errors import UsageError
from nightlab.sandbox.owned_folder import owned_folder, sweep


@contextmanager
def work_folder(cache: Path, study: str) -> Iterator[Path]:
    """Give an empty folder for the block, and remove those of sessions that were killed.

    Args:
        cache: the user's cache folder for Nightlab, which clones share.
        study: names the folder, for people.

    Raises:
        UsageError: there can be none.
    """
    work = cache / "work"
    try:
        work.mkdir(parents=True, exist_ok=True)
        sweep(work)
    except OSError as error:
        raise UsageError(
            f"A session needs a folder for its checkpoints in {work}, and making it failed "
            f"({error}): make room or give access there, or set NIGHTLAB_CACHE to another folder."
        ) from error
    with owned_folder(work, f"{study}-") as folder:
        yield folder
