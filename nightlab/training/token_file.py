"""The training tokens as a training gets them: a sealed file in memory, its own.

Which text a training sees, and in which order, is drawn by its seed and by nothing else, so that
codes which are trained with the same seed differ in the code alone.
"""

import fcntl
import os
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np

from nightlab.errors import CorpusError

TOKEN_BYTES = 2

MOST_BYTES = 2**30
"""Of one training's text: half a billion tokens, what the fastest GPU sees in five minutes. It
counts as memory of the candidate once that has it. Whoever comes to its end sees it again."""

_PIECE_TOKENS = 2**23


class TokenFile:
    """The training tokens of one training, in a sealed memory file.

    The seals are the kernel's: no process can write, grow or shrink the file, nor take
    the seals off, whoever owns it. (A read-only descriptor of a plain file would not do:
    its owner can open it anew for writing through /proc.)

    What else a candidate can do to it (attributes, its mode, times, a place in it, locks) the
    kernel keeps with the file or its descriptor. So both go with the training that gets them.
    """

    def __init__(self, descriptor: int, num_tokens: int) -> None:
        self._descriptor: int | None = descriptor
        self._is_given = False
        self.num_tokens = num_tokens

    @classmethod
    def from_path(cls, path: Path) -> "TokenFile":
        """Copy a file of uint16 tokens into memory as it is, and seal it.

        Raises:
            CorpusError: the file is missing, empty or of odd length.
        """
        tokens = _open_tokens(path)
        pieces = (
            tokens[at : at + _PIECE_TOKENS].tobytes() for at in range(0, len(tokens), _PIECE_TOKENS)
        )
        return cls._sealed(path, pieces)

    @classmethod
    def from_windows(
        cls, path: Path, *, seed: int, sequence_length: int, most_tokens: int | None = None
    ) -> "TokenFile":
        """Gather windows from all of a file of uint16 tokens, in an order that the seed draws.

        A window is a row with its targets: ``sequence_length`` tokens and the next one, with
        which the window after it in the text begins. The seed draws where the first one begins,
        below their length, then their order.

        Args:
            path: the file.
            seed: of the training.
            sequence_length: tokens of a row.
            most_tokens: a training's budget in tokens: it gets as many whole rows as that holds.
                None for all windows once. ``MOST_BYTES`` of them are the most in any case.

        Raises:
            CorpusError: the file is missing, or holds no window.
        """
        tokens, width = _open_tokens(path), sequence_length + 1
        if len(tokens) < width:
            raise CorpusError(
                f"A row of length {sequence_length} needs {width} training tokens, and {path} has "
                f"{len(tokens)}: prepare a larger corpus."
            )
        random = np.random.default_rng(seed)
        offset = int(random.integers(0, min(sequence_length, len(tokens) - sequence_length)))
        count = (len(tokens) - 1 - offset) // sequence_length
        most = MOST_BYTES // (TOKEN_BYTES * width)
        if most_tokens is not None:
            most = min(most, most_tokens // sequence_length)
        starts = offset + sequence_length * random.permutation(count)[:most]
        return cls._sealed(path, _gather(tokens, starts, width))

    @classmethod
    def _sealed(cls, path: Path, pieces: Iterator[bytes]) -> "TokenFile":
        try:
            descriptor = _memory_file(pieces)
        except OSError as error:
            raise CorpusError(
                f"Training needs the tokens in {path} in memory, and putting them there failed "
                f"({error}): free some memory, or prepare the corpus again."
            ) from error
        return cls(descriptor, os.fstat(descriptor).st_size // TOKEN_BYTES)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def fileno(self) -> int:
        """The descriptor.

        Raises:
            ValueError: it is closed.
        """
        if self._descriptor is None:
            raise ValueError("the tokens are used after they were let go")
        return self._descriptor

    def give(self) -> int:
        """The descriptor, for the one job that may have it.

        Raises:
            ValueError: a job had it before, or it is closed.
        """
        if self._is_given:
            raise ValueError("the tokens of one training are given to another")
        self._is_given = True
        return self.fileno()

    def close(self) -> None:
        """Let the memory go, if not done yet; the training that has it keeps it."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None


def _memory_file(pieces: Iterator[bytes]) -> int:
    """A descriptor for reading of a file that nobody can write any more."""
    made = os.memfd_create("tokens", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    with open(made, "wb") as file:
        file.writelines(pieces)
        file.flush()
        os.fchmod(made, 0o400)
        seals = fcntl.F_SEAL_WRITE | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_SEAL
        fcntl.fcntl(made, fcntl.F_ADD_SEALS, seals)
        return os.open(f"/proc/self/fd/{made}", os.O_RDONLY | os.O_CLOEXEC)


def _open_tokens(path: Path) -> np.ndarray:
    try:
        size = path.stat().st_size
        if size and size % TOKEN_BYTES == 0:
            return np.memmap(path, "<u2", "r")
    except OSError as error:
        raise CorpusError(
            f"Training needs the tokens in {path}, and reading them failed ({error}): prepare "
            "the corpus again."
        ) from error
    raise CorpusError(
        f"Training needs 16-bit tokens in {path}, and the file has {size} bytes: prepare the "
        "corpus again."
    )


def _gather(tokens: np.ndarray, starts: np.ndarray, width: int) -> Iterator[bytes]:
    rows = max(1, _PIECE_TOKENS // width)
    steps = np.arange(width)
    for at in range(0, len(starts), rows):
        yield tokens[starts[at : at + rows, None] + steps].tobytes()
