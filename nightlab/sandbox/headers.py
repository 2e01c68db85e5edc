"""The C++ headers that compiled code includes, found by following ``#include``.

Every branch of every conditional is followed, so the set does not depend on a
processor's features or a compiler's flags; it is a superset of what one run would read.
"""

import re
from collections.abc import Iterable
from pathlib import Path

_INCLUDE = re.compile(r'^\s*#\s*(?:include|include_next)\s*([<"])([^>"\n]+)[>"]', re.MULTILINE)
_INCLUDE_IN_A_TEXT = re.compile(r'#\s*include\s*[<"]([\w./+-]+)[>"]')
# A comment, or something that may look as if it held one. Raw strings end at their own
# delimiter; a backslash before the end of a line continues a line comment.
_TOKEN = re.compile(
    r"""
    (?P<comment> //(?:\\\r?\n|[^\n])*  |  /\*.*?\*/ )
  | (?P<kept>
        R"(?P<mark>[^()\\\s]{0,16})\(.*?\)(?P=mark)"
      | "(?:\\.|[^"\\\n])*"
      | (?<![0-9A-Fa-f])'(?:\\.|[^'\\\n])*'
      | \#[ \t]*(?:error|warning)(?:\\\r?\n|[^\n])*
    )
    """,
    re.VERBOSE | re.DOTALL,
)


def follow(roots: Iterable[str], folders: Iterable[Path]) -> frozenset[Path]:
    """Find all headers that some includes lead to.

    Args:
        roots: what is included first, as in ``#include <root>``.
        folders: where the compiler searches, in any order: a name that several folders
            have is taken from each, for ``#include_next``.

    Returns:
        Their paths; names that are found nowhere are left out.
    """
    places = tuple(folders)
    found: set[Path] = set()
    waiting = [path for root in roots for path in _candidates(root, places)]
    while waiting:
        header = waiting.pop()
        if header in found:
            continue
        found.add(header)
        text = header.read_text(encoding="utf-8", errors="replace")
        for mark, name in _INCLUDE.findall(text):
            near = (header.parent, *places) if mark == '"' else places
            waiting.extend(_candidates(name, near))
    return frozenset(found)


def included_names(text: str) -> frozenset[str]:
    """What a text includes, wherever in it: in templates of code, for one."""
    return frozenset(_INCLUDE_IN_A_TEXT.findall(text))


def without_comments(text: str) -> str:
    """Take comments out of C++ text, the line ends in them too.

    A comment that spans lines may stand in a macro, whose text must not end there.
    """
    stripped = _TOKEN.sub(lambda match: match["kept"] or " ", text)
    return re.sub(r"[ \t]+$", "", stripped, flags=re.MULTILINE)


def _candidates(name: str, folders: Iterable[Path]) -> list[Path]:
    paths = (folder / name for folder in folders)
    return [path for path in paths if path.is_file()]
