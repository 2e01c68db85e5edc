"""Text of others, made fit for a terminal, for Markdown and for HTML.

Others are candidates, models, agents, providers, remotes and whoever names a file. What they write
reaches people through one of these functions: it is read there, and does nothing. Each takes any
text, raises nothing, and needs time in proportion to its length.
"""

import re
import string
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from markupsafe import Markup

# What steers (controls, directions, halves of surrogate pairs, separators of lines), and what
# Unicode shows as nothing (its property Default_Ignorable_Code_Point, and noncharacters).
_UNSEEN = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\xad\u034f\u0600-\u0605\u061c\u06dd\u070f\u08e2\u115f\u1160"
    "\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u2028-\u202e\u2060-\u206f\u2800\u3164\ud800-\udfff"
    "\ufdd0-\ufdef\ufe00-\ufe0e\ufeff\uffa0\ufff0-\ufffb\ufffe\uffff\U000110bd\U000110cd"
    "\U00013430-\U0001343f\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e0fff]"
    # An emoji's variant is no secret behind a sign that has one.
    "|(?<![\u2190-\u2bff\U0001f000-\U0001faff])\ufe0f"
)
# All that begins anything in Markdown; what does so only where a line begins; what makes a link of
# an address that nobody marked as one.
_MARKING = re.compile(
    r"[\\`*_{}\[\]<>|~&$@]|\A(?:[-+=#]+|\d{1,9}[.)](?=\s|\Z))|:(?=\S)|(?<=[wW]{3})\."
)
_COMMAND = re.compile(r"`(nightlab [\w ./-]{1,200})`")
_BACKTICKS = re.compile("`+")
_SHORTEST_FENCE = 3


def for_terminal(text: str) -> str:
    """The text with what steers a terminal, or shows as nothing, written out as Python does."""
    if text.isascii() and text.isprintable():
        return text
    return _UNSEEN.sub(_written_out, text.replace("\r\n", "\n"))


def for_html(text: str) -> "Markup":
    """The text as HTML or XML, for between tags and between quotes."""
    from markupsafe import Markup, escape

    return text if isinstance(text, Markup) else escape(for_terminal(text))


class Markdown(str):
    """Markdown of our own. Only a text that stands in the source is made one by this name."""

    __slots__ = ()

    def filled(self, *texts: object, **named: object) -> Self:
        """Put texts of others into the places that ``format`` would fill."""
        return type(self)(_Filling().vformat(self, texts, named))

    def joined(self, parts: Iterable[str]) -> Self:
        """Texts with this one between them; those that are empty are left out."""
        return type(self)(self.join(for_markdown(part) for part in parts if part))


def for_markdown(text: str) -> Markdown:
    """The text as Markdown that shows it, on one line; what is Markdown already stays as it is.

    References to characters are what all readers of Markdown take for text and nothing else; of
    escapes with a backslash each has its own list. A command of ours between backticks is code.
    """
    if isinstance(text, Markdown):
        return text
    pieces = _COMMAND.split(" ".join(for_terminal(text).split()))
    return Markdown(
        "".join(
            f"`{piece}`" if place % 2 else _MARKING.sub(_referred, piece)
            for place, piece in enumerate(pieces)
        )
    )


def fenced(text: str, language: str = "", most: int | None = None) -> Markdown:
    """The text as a block of code, between fences that nothing in it closes; empty if it is blank.

    Args:
        text: cut where the block were longer than ``most`` characters.
        language: of the code.
        most: None for a block of any length.
    """
    inner = for_terminal(text).rstrip()
    longest = max(map(len, _BACKTICKS.findall(inner)), default=0)
    fence = "`" * max(_SHORTEST_FENCE, longest + 1)
    if most is not None:
        inner = inner[: max(0, most - len(f"{fence}{language}\n\n{fence}"))]
    return Markdown(f"{fence}{language}\n{inner}\n{fence}" if inner else "")


def _written_out(found: re.Match[str]) -> str:
    return found[0].encode("unicode_escape").decode()


def _referred(found: re.Match[str]) -> str:
    return "".join(f"&#{ord(each)};" for each in found[0])


class _Filling(string.Formatter):
    def format_field(self, value: Any, format_spec: str) -> str:
        """Markdown as it is, and anything else as text."""
        if isinstance(value, Markdown):
            return value
        return for_markdown(format(value, format_spec))
