"""Dealing documents out to ``train``, ``val`` and ``holdout``.

Documents stand in the order of the hash of their words, which is as good as shuffled and
the same on every machine. ``val`` takes them from one end until it holds its quota of
text, ``holdout`` from the other; ``train`` is the rest: the evaluation splits are as
large as they must be and no larger, whatever the size of the corpus. Documents that
overlap (``overlap.py``) are then dropped from ``holdout`` where they meet ``val``, and
from ``train`` where they meet either.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from nightlab.corpus.documents import Documents, Progress
from nightlab.corpus.overlap import overlapping
from nightlab.errors import CorpusError

SPLITS = ("train", "val", "holdout")
QUOTAS_NEEDED = 4
"""A corpus must hold this many quotas: one each for val and holdout, two for train."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Division:
    """Which documents each split holds, by number: int64 [documents of the split] each."""

    train: npt.NDArray[np.int64]
    """In the source's order."""
    val: npt.NDArray[np.int64]
    holdout: npt.NDArray[np.int64]
    dropped_train: int
    """Documents dropped from train for overlap with val or holdout."""
    dropped_train_bytes: int
    dropped_holdout: int
    """Documents dropped from holdout for overlap with val."""

    def split(self, name: str) -> npt.NDArray[np.int64]:
        """Return the documents of one of ``SPLITS``."""
        return {"train": self.train, "val": self.val, "holdout": self.holdout}[name]


def divide(documents: Documents, quota_bytes: int, progress: Progress) -> Division:
    """Deal the documents out.

    Args:
        documents: All documents.
        quota_bytes: UTF-8 bytes that val and holdout must hold, each.
        progress: Told how far the comparison is.

    Raises:
        CorpusError: there is too little text.
    """
    found = documents.intake.bytes
    if found < QUOTAS_NEEDED * quota_bytes:
        raise _too_little(
            QUOTAS_NEEDED * quota_bytes, found, cap_reached=documents.intake.cap_reached
        )
    order = np.argsort(documents.keys, kind="stable")
    sizes = documents.sizes[order]
    val_count = _count_for(sizes, quota_bytes)
    holdout_count = _count_for(sizes[::-1], quota_bytes)
    val = order[:val_count]
    holdout = order[len(order) - holdout_count :][::-1]
    train = np.sort(order[val_count : len(order) - holdout_count])

    holdout_overlaps = overlapping(documents, holdout, val, progress)
    # Against the whole of holdout: what it lost, it lost because it resembles val.
    train_overlaps = overlapping(documents, train, np.concatenate([val, holdout]), progress)
    kept = int(documents.sizes[train[~train_overlaps]].sum())
    if kept < quota_bytes:
        raise CorpusError(
            f"train needs at least {quota_bytes / 1e6:.2f} MB of text that neither val nor holdout "
            f"resembles, found {kept / 1e6:.2f} MB: give more text, or text with fewer copies."
        )
    return Division(
        train=train[~train_overlaps],
        val=val,
        holdout=holdout[~holdout_overlaps],
        dropped_train=int(train_overlaps.sum()),
        dropped_train_bytes=int(documents.sizes[train[train_overlaps]].sum()),
        dropped_holdout=int(holdout_overlaps.sum()),
    )


def _too_little(needed_bytes: int, found_bytes: int, *, cap_reached: bool) -> CorpusError:
    """Say how much text was needed and found, and what mends it."""
    remedy = (
        "the cap on the corpus is reached, so take a smaller --preset"
        if cap_reached
        else "give more text, or take another --corpus or a smaller --preset"
    )
    return CorpusError(
        f"the splits need at least {needed_bytes / 1e6:.2f} MB of text without repeats, "
        f"found {found_bytes / 1e6:.2f} MB: {remedy}."
    )


def _count_for(sizes: npt.NDArray[np.int64], quota_bytes: int) -> int:
    """Return how many of the first documents make up the quota."""
    return int(np.searchsorted(np.cumsum(sizes), quota_bytes)) + 1
