"""A session's folder for checkpoints between training and evaluation.

A killed session leaves its folder behind, with checkpoints that nothing asks for any more: what
was not evaluated is trained again. So the next session of the same study in the same clone, which
holds the study's lock, removes it.
"""

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def work_folder(cache: Path, study: str, clone: str) -> Iterator[Path]:
    """Give an empty folder for the block, and remove those of sessions that were killed.

    Args:
        cache: the user's cache folder for Nightlab, which clones share.
        study: whose lock the caller holds.
        clone: names the clone; studies of other clones may have the same name.
    """
    work = cache / "work"
    work.mkdir(parents=True, exist_ok=True)
    prefix = f"{study}-{clone}-"
    for left in work.glob(f"{prefix}*"):
        shutil.rmtree(left, ignore_errors=True)
    folder = Path(tempfile.mkdtemp(prefix=prefix, dir=work))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
