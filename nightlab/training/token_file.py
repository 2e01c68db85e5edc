"""The training tokens as every training gets them: one sealed file in memory."""

import fcntl
import os
from pathlib import Path
from types import TracebackType
from typing import Self

from nightlab.errors import CorpusError

TOKEN_BYTES = 2


class TokenFile:
    """The training tokens in a sealed memory file, made once and passed to every training.

    The seals are the kernel's: no process can write, grow or shrink the file, nor take
    the seals off, whoever owns it. (A read-only descriptor of a plain file would not do:
    its owner can open it anew for writing through /proc.)
    """

    def __init__(self, descriptor: int, num_tokens: int) -> None:
        self._descriptor = descriptor
        self.num_tokens = num_tokens

    @classmethod
    def from_path(cls, path: Path, most_tokens: int | None = None) -> "TokenFile":
        """Copy a file of uint16 tokens into memory and seal it.

        Args:
            path: the file; documents stand in it in the order of a hash.
            most_tokens: take in no more than so many, from the beginning; None for all.

        Raises:
            CorpusError: the file is missing, empty or of odd length.
        """
        descriptor = os.memfd_create("tokens", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
        try:
            with path.open("rb") as file:
                size = left = os.fstat(file.fileno()).st_size
                if most_tokens is not None:
                    left = min(left, TOKEN_BYTES * most_tokens)
                while left and (sent := os.sendfile(descriptor, file.fileno(), None, left)):
                    left -= sent
        except OSError as error:
            os.close(descriptor)
            raise CorpusError(
                f"Training needs the tokens in {path}, and reading them failed ({error}): prepare "
                "the corpus again."
            ) from error
        if size == 0 or size % TOKEN_BYTES:
            os.close(descriptor)
            raise CorpusError(
                f"Training needs 16-bit tokens in {path}, and the file has {size} bytes: prepare "
                "the corpus again."
            )
        seals = fcntl.F_SEAL_WRITE | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_SEAL
        fcntl.fcntl(descriptor, fcntl.F_ADD_SEALS, seals)
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
        """The descriptor to pass on."""
        return self._descriptor

    def close(self) -> None:
        """Let the memory go; trainings that have it keep it."""
        os.close(self._descriptor)
