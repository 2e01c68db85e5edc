"""The rooms of nightlab/ and the one way that imports run, read from the source."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import ROOT

ROOMS = (
    *("doctor", "study", "report", "tracking", "proposers", "models", "ledger", "evaluation"),
    *(
        "training",
        "judging",
        "sandbox",
        "source",
        "corpus",
        "settings",
        "presets",
        "machine",
        "events",
    ),
    *("records", "errors", "redaction", "shown"),
)
"""Each imports only from those after it."""

LOOSE = {"__init__", "doctor", "presets", "events", "redaction", "errors", "shown"}
"""Modules that stand in nightlab/ itself: words that all rooms use, and what tries them all."""


def imported(source: str) -> Iterator[str]:
    """The rooms that a module's text imports from."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ImportFrom) and node.module == "nightlab":
            yield from (each.name for each in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level:
            yield "." * node.level  # the room depends on the place: imports name theirs
        elif isinstance(node, ast.ImportFrom) and node.module is not None:
            parts = node.module.split(".")
            if parts[0] == "nightlab":
                yield parts[1]
        elif isinstance(node, ast.Import):
            for each in node.names:
                package, _, rest = each.name.partition(".")
                if package == "nightlab" and rest:
                    yield rest.partition(".")[0]


def upward(room: str, source: str) -> list[str]:
    """Imports of a module that do not run down, as sentences."""
    below = ROOMS[ROOMS.index(room) + 1 :]
    return [
        f"{room} imports {other}, which is not below it"
        for other in imported(source)
        if other not in (room, "__version__", *below)
    ]


def rooms() -> Iterator[tuple[str, Path]]:
    """Every module of nightlab/, with the room that it stands in."""
    package = ROOT / "nightlab"
    for path in sorted(package.rglob("*.py")):
        room = path.relative_to(package).parts[0].removesuffix(".py")
        if room != "__init__":
            yield room, path


def test_imports_run_one_way() -> None:
    found = [
        f"{path.relative_to(ROOT)}: {arrow}"
        for room, path in rooms()
        for arrow in upward(room, path.read_text(encoding="utf-8"))
    ]
    assert found == []


def test_every_room_is_in_the_list_and_nothing_stands_in_the_hall() -> None:
    assert {room for room, _ in rooms()} == set(ROOMS)
    assert {path.stem for path in (ROOT / "nightlab").glob("*.py")} == LOOSE


@pytest.mark.parametrize(
    "line",
    [
        "from nightlab.study.session import Session",
        "from nightlab.study import session",
        "from nightlab import study",
        "import nightlab.study.session",
        "def late():\n    from nightlab.study.trial import begin_trial",
        "from ..study import session",
        "from .. import study",
    ],
)
def test_an_arrow_upwards_is_seen_however_it_is_written(line: str) -> None:
    other = ".." if ".." in line else "study"
    assert upward("judging", line) == [f"judging imports {other}, which is not below it"]
    assert upward("judging", "from nightlab.records import Verdict") == []


def test_the_page_about_the_rooms_has_them_in_the_same_order() -> None:
    text = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `(\w+)(?:/|\.py)` \|", text, re.MULTILINE)
    assert tuple(rows) == ROOMS
