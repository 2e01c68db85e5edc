"""What is printed, without keys: whoever prints it, Nightlab, a library, or a traceback."""

import sys
from collections.abc import Iterable
from typing import Any, TextIO, cast

from nightlab.redaction import redact


def redact_terminal() -> None:
    """Keep keys out of this process's standard output and error from now on."""
    sys.stdout = cast("TextIO", _RedactedStream(sys.stdout))
    sys.stderr = cast("TextIO", _RedactedStream(sys.stderr))


class _RedactedStream:
    """A text stream that redacts what is written to it, and is the one below in all else."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        self._stream.write(redact(text))
        return len(text)

    def writelines(self, lines: Iterable[str]) -> None:
        self.write("".join(lines))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)
