"""Small faults that can be planted in a module: cosmic-ray's, and two of our own.

A *site* is a place and a kind of change; of the ways to change it one is drawn. What is drawn
hangs on the seed and on the text of the line, not on its number: an edit elsewhere in the tree
leaves the sample nearly as it was, and the reasons that are written down with it.
"""

import difflib
import functools
import hashlib
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cosmic_ray.ast import ast_nodes, get_ast
from cosmic_ray.mutating import mutate_code
from cosmic_ray.operators.operator import Operator
from cosmic_ray.operators.provider import OperatorProvider
from parso.python.tree import Keyword

Position = tuple[int, int]
_MEASURE = re.compile(r"_?[A-Z_]+_(SECONDS|BYTES|MB)\b[^=]*= [\d_.* ]+(#.*)?$")
"""A limit's own value: one second or byte more is another choice, no fault."""


class LeaveOutStatement(Operator):  # type: ignore[misc]
    """A call whose result nobody wants, a raise or a change in place becomes ``pass``."""

    def mutation_positions(self, node: Any) -> list[tuple[Position, Position]]:
        """Where there is something to leave out."""
        if node.type != "simple_stmt":
            return []
        statement = node.children[0]
        changed = statement.type == "expr_stmt" and (
            statement.children[0].type == "atom_expr"
            or statement.children[1].get_code().strip() in ("+=", "-=", "|=", "&=", "*=", "/=")
        )
        if changed or statement.type in ("atom_expr", "await", "raise_stmt", "del_stmt"):
            return [(statement.start_pos, statement.end_pos)]
        return []

    def mutate(self, node: Any, index: int) -> Any:
        """Leave it out."""
        first = node.get_first_leaf()
        node.children[0] = Keyword("pass", first.start_pos, first.prefix)
        return node

    @classmethod
    def examples(cls) -> tuple[()]:
        """None."""
        return ()


class LeaveOutElement(Operator):  # type: ignore[misc]
    """One of several elements of a display, or of the named arguments of a call, is left out."""

    def mutation_positions(self, node: Any) -> list[tuple[Position, Position]]:
        """Where there is something to leave out."""
        return [
            (node.children[place].start_pos, node.children[place].end_pos)
            for place in self._places(node)
        ]

    def mutate(self, node: Any, index: int) -> Any:
        """Leave it out."""
        place = self._places(node)[index]
        # With its comma, or the one before it where it is the last.
        end = place + 2
        start = place if end <= len(node.children) else max(place - 1, 0)
        del node.children[start:end]
        return node

    @staticmethod
    def _places(node: Any) -> list[int]:
        if node.type == "arglist" and not _constructs(node):
            return [
                place
                for place, child in enumerate(node.children)
                if child.type == "argument" and child.children[0].type == "name"
            ]
        if node.type == "testlist_comp" and node.children[1].get_code().strip() == ",":
            return list(range(0, len(node.children), 2))
        return []

    @classmethod
    def examples(cls) -> tuple[()]:
        """None."""
        return ()


def _constructs(arguments: Any) -> bool:
    """Whether a class is called: of those nearly all arguments are asked for."""
    leaf = arguments.parent.get_first_leaf().get_previous_leaf()
    return bool(leaf is not None and leaf.value[:1].isupper())


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """A place in a module, and the ways of one kind to change it."""

    path: str
    line: str
    number: int
    kind: str
    ways: tuple[tuple[str, int], ...]
    """Operators by name, each with the occurrence at which it comes to this place."""

    def rank(self, seed: int, number: int) -> str:
        """Where it stands in the drawing; ``number`` tells it from others of its line."""
        words = (str(seed), self.path, self.kind, self.line, str(number))
        return hashlib.sha256("\0".join(words).encode()).hexdigest()


@dataclass(frozen=True, slots=True, kw_only=True)
class Mutant:
    """A module with one fault."""

    path: str
    kind: str
    source: str
    diff: str

    @property
    def key(self) -> str:
        """What it is, in words that stay when lines around it come and go."""
        lines = [line for line in self.diff.splitlines() if line[:1] in "-+"]
        gone, come = (
            " ".join(line[1:].strip() for line in lines if line[0] == sign) for sign in "-+"
        )
        return f"{self.path}: {gone} -> {come}"


@functools.cache
def operators() -> dict[str, Operator]:
    """Every operator by its name, but for those that have arguments of their own."""
    core = OperatorProvider()
    found = {name: core[name] for name in core if not core[name].arguments()}
    found |= {kind.__name__: kind for kind in (LeaveOutStatement, LeaveOutElement)}
    return {name: kind() for name, kind in found.items()}


def sites(root: Path, path: str) -> list[Site]:
    """All sites of a module, in its order."""
    text = (root / path).read_text(encoding="utf-8")
    lines = text.splitlines()
    nodes = list(ast_nodes(get_ast(text)))
    found: dict[tuple[Position, str], list[tuple[str, int]]] = {}
    for name, operator in operators().items():
        occurrence = 0
        for node in nodes:
            for start, _ in operator.mutation_positions(node):
                if not _is_dull(node, start) and not _MEASURE.match(lines[start[0] - 1]):
                    kind = name.removeprefix("core/").partition("_")[0]
                    found.setdefault((start, kind), []).append((name, occurrence))
                occurrence += 1
    return [
        Site(
            path=path,
            line=lines[start[0] - 1].strip(),
            number=start[0],
            kind=kind,
            ways=tuple(ways),
        )
        for (start, kind), ways in sorted(found.items())
    ]


def _is_dull(node: Any, start: Position) -> bool:
    """Types and decorators: what is wrong there the type checker and the import say."""
    while node.parent is not None:
        kind, parent = node.type, node.parent
        if kind in ("decorator", "annassign") and (kind != "annassign" or _in_type(node, start)):
            return True
        if kind == "tfpdef":
            return True
        if parent.type == "funcdef" and node is parent.annotation:
            return True
        node = parent
    return False


def _in_type(node: Any, start: Position) -> bool:
    return bool(node.children[1].start_pos <= start < node.children[1].end_pos)


def draw(root: Path, paths: Iterable[str], seed: int, size: int) -> list[Mutant]:
    """A random sample of mutants, the same for the same seed and source."""
    ranked: list[tuple[str, Site]] = []
    for path in paths:
        seen: dict[tuple[str, str], int] = {}
        for site in sites(root, path):
            number = seen[site.kind, site.line] = seen.get((site.kind, site.line), 0) + 1
            ranked.append((site.rank(seed, number), site))
    drawn: list[Mutant] = []
    for rank, site in sorted(ranked, key=lambda pair: pair[0]):
        if len(drawn) == size:
            break
        name, occurrence = site.ways[int(rank, 16) % len(site.ways)]
        if (mutant := plant(root, site, name, occurrence)) is not None:
            drawn.append(mutant)
    return drawn


def plant(root: Path, site: Site, name: str, occurrence: int) -> Mutant | None:
    """The module with the fault; None where what comes of it is no Python, or no change."""
    text = (root / site.path).read_text(encoding="utf-8")
    changed = mutate_code(text, operators()[name], occurrence)
    try:
        compile(changed, site.path, "exec")
    except SyntaxError:
        return None
    lines = difflib.unified_diff(text.splitlines(), changed.splitlines(), lineterm="", n=0)
    diff = "\n".join(line for line in lines if not line.startswith(("---", "+++", "@@")))
    return Mutant(path=site.path, kind=site.kind, source=changed, diff=diff) if diff else None
