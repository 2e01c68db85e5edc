"""All that this process prints: without keys, and with no text that steers the terminal.

Whatever is printed, by Nightlab, by a library or as a traceback, passes one of two sinks. The
process's streams let colours through and nothing else, since libraries print those; a ``Terminal``
is told which words are whose, so it prints colours of its own and takes none from a text.
"""

import re
import sys
from collections.abc import Callable, Iterable, Iterator
from typing import Any, TextIO, cast

from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment
from rich.status import Status
from rich.syntax import Syntax
from rich.text import Text

from nightlab.redaction import redact
from nightlab.shown import for_terminal

PLAIN_WIDTH = 120
_COLOUR = re.compile(r"(\x1b\[[\d;]{0,40}m)")


def guard_terminal() -> None:
    """Keep keys, and what steers a terminal, out of this process's streams from now on."""
    sys.stdout = cast("TextIO", _GuardedStream(sys.stdout, _colours_alone))
    sys.stderr = cast("TextIO", _GuardedStream(sys.stderr, _colours_alone))


def make_console(*, is_error: bool = False) -> "Terminal":
    """The terminal; a file or a pipe is taken to be wide enough for a table."""
    stream = sys.stderr if is_error else sys.stdout
    return Terminal(getattr(stream, "drawn", stream))


def write_data(text: str) -> None:
    """Write what programs read, lines and tabs and all."""
    sys.stdout.write(for_terminal(text))


def code(text: str, language: str) -> Syntax:
    """Code in colours; what Python takes for the end of a line and no terminal shows is seen."""
    return Syntax(for_terminal(text), language, background_color="default")


class Terminal(Console):
    """Rich's console, in which words are words: only a ``Text`` or a style brings colours.

    Args:
        stream: where it is drawn.
        named: as rich's has it.
    """

    def __init__(self, stream: TextIO, **named: Any) -> None:
        super().__init__(file=stream, markup=False, highlight=False, emoji=False, **named)
        if not self.is_terminal and "width" not in named:
            self.width = PLAIN_WIDTH

    def say(self, text: str, style: str | None = None) -> None:
        """Print a sentence or a path as one line, however long it is."""
        self.print(text, style=style, soft_wrap=True)

    def status(self, status: RenderableType, **named: Any) -> Status:
        """A spinner beside words, which rich takes for markup."""
        return super().status(Text(status) if isinstance(status, str) else status, **named)

    def render_str(self, text: str, **named: Any) -> Text:
        """A string as rich's text, which else drops carriage returns without a word."""
        return super().render_str(for_terminal(text), **named)

    def render(
        self, renderable: RenderableType, options: ConsoleOptions | None = None
    ) -> Iterator[Segment]:
        """What is drawn, whoever made the text in it; rich's own controls pass."""
        for drawn in super().render(renderable, options):
            yield drawn if drawn.control else Segment(for_terminal(drawn.text), drawn.style)


def _colours_alone(text: str) -> str:
    pieces = _COLOUR.split(redact(text))
    return "".join(each if place % 2 else for_terminal(each) for place, each in enumerate(pieces))


class _GuardedStream:
    """A text stream that cleans what is written to it, and is the one below in all else."""

    def __init__(self, stream: TextIO, clean: Callable[[str], str]) -> None:
        self._stream = stream
        self._clean = clean

    @property
    def drawn(self) -> TextIO:
        """The same for a ``Terminal``, which sees to controls itself."""
        return cast("TextIO", _GuardedStream(self._stream, redact))

    def write(self, text: str) -> int:
        self._stream.write(self._clean(text))
        return len(text)

    def writelines(self, lines: Iterable[str]) -> None:
        self.write("".join(lines))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)
