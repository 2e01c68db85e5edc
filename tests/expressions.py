"""The regular expressions of the tree, and texts made to take each of them long."""

import ast
import functools
import importlib
import itertools
import re
import string
import time
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from re import _constants as codes  # type: ignore[attr-defined]
from re import _parser as parser
from typing import Any

from tests.conftest import ROOT

PACKAGES = ("nightlab", "flows", "tasks")
LOOPS = (codes.MAX_REPEAT, codes.MIN_REPEAT, codes.POSSESSIVE_REPEAT)
ENDLESS = 1_000
"""A repetition that may go on for longer than this is taken to have no end."""
CHARACTERS = string.printable + "\0\x1b\x7f\x85\xa0é…思\u2028\u200b"
SHORT, MIDDLE, LONG = 24, 500, 4_000
LONGEST_SECONDS = 0.002
"""For SHORT characters: where it takes longer, it doubles with each one."""
QUICK_SECONDS = 0.0002
"""For LONG characters: what takes no longer is linear."""
STEEPEST = 24.0
"""Eight times as much text takes eight times as long, not 64 times; the rest is for noise."""


@dataclass(frozen=True, slots=True)
class Expression:
    """One expression, and by which methods it is used."""

    place: str
    pattern: re.Pattern[str]
    methods: frozenset[str]


def expressions(
    examples: dict[str, list[str]], besides: Collection[str] = ()
) -> Iterator[Expression]:
    """Every expression in the tree.

    Args:
        examples: patterns of those that are put together as the program runs, by the source of
            what is put together.
        besides: modules that are left out.
    """
    for path in sorted(each for name in PACKAGES for each in (ROOT / name).rglob("*.py")):
        place = path.relative_to(ROOT).with_suffix("").as_posix()
        if place in besides:
            continue
        tree = ast.parse(path.read_text(encoding="utf-8"))
        named = {
            node.value: node.targets[0].id
            for node in tree.body
            if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name)
        }
        for call in filter(_uses_re, ast.walk(tree)):
            # Also map(re.compile, …).
            function, given = call.func, call.args[0]
            if not _is_of_re(function):
                function, given = call.args[:2]
            written, method = ast.unparse(given), function.attr
            if call in named and method == "compile":
                pattern = getattr(importlib.import_module(place.replace("/", ".")), named[call])
                found = [(pattern, _methods_of(named[call], tree))]
            else:
                made = [given.value] if isinstance(given, ast.Constant) else examples[written]
                flags = _flags(call)
                found = [(re.compile(each, flags), frozenset({method})) for each in made]
            for pattern, methods in found:
                if isinstance(pattern.pattern, str):
                    yield Expression(f"{place}: {written[:60]}", pattern, methods)


def _uses_re(node: ast.AST) -> bool:
    return isinstance(node, ast.Call) and any(map(_is_of_re, (node.func, *node.args[:1])))


def _is_of_re(node: ast.AST) -> bool:
    """Whether it is a function of ``re`` that takes an expression."""
    return (
        isinstance(node, ast.Attribute)
        and isinstance(node.value, ast.Name)
        and node.value.id == "re"
        and node.attr.islower()
        and node.attr not in ("escape", "purge")
    )


def _flags(call: ast.Call) -> int:
    """The flags of a call of a function of ``re``, by name or by place."""
    given = [each.value for each in call.keywords if each.arg == "flags"]
    given += [each for each in call.args[2:] if "re." in ast.unparse(each)]
    return sum(int(eval(ast.unparse(each), {"re": re})) for each in given)


def _methods_of(name: str, tree: ast.Module) -> frozenset[str]:
    used = {
        node.attr
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute)
        and isinstance(node.value, ast.Name)
        and node.value.id == name
    }
    return frozenset(used - {"pattern"}) or frozenset({"search"})


def attacks(pattern: re.Pattern[str]) -> Iterator[tuple[str, str, str]]:
    """Beginnings, parts to repeat and endings, made of the parts of an expression itself.

    What takes long has two ways to read the same text: two loops that both may, or one loop that is
    begun anew at each place. So whatever leads to each loop, and whatever it repeats, is repeated.
    """
    tree = parser.parse(pattern.pattern, pattern.flags)
    letters = _letters(tree, pattern.flags)
    seen = set()
    for before, body in _loops(list(tree)):
        for letter, is_rich in itertools.product(letters, (False, True)):
            start = _sample(before, letter, pattern.flags, is_rich)
            part = _sample(body, letter, pattern.flags, is_rich)
            for head, pump in (
                (start, part),
                ("", start + part),
                (start + part, start),
                ("", part),
            ):
                if pump and (head, pump) not in seen:
                    seen.add((head, pump))
                    yield head, pump, "\0"
                    yield head, pump, "\n!"


def _loops(nodes: list[Any], before: tuple[Any, ...] = ()) -> Iterator[tuple[list[Any], list[Any]]]:
    """Each loop's body, with what stands before it."""
    for index, (code, argument) in enumerate(nodes):
        led = [*before, *nodes[:index]]
        for inner in _inner(code, argument):
            yield from _loops(list(inner), tuple(led))
        if code in LOOPS and argument[1] > ENDLESS:
            yield led, list(argument[2])


def _inner(code: Any, argument: Any) -> list[Any]:
    if code in LOOPS:
        return [argument[2]]
    if code is codes.BRANCH:
        return list(argument[1])
    if code is codes.SUBPATTERN:
        return [argument[3]]
    if code is codes.ATOMIC_GROUP:
        return [argument]
    if code in (codes.ASSERT, codes.ASSERT_NOT):
        return [argument[1]]
    return []


def _letters(tree: Any, flags: int) -> list[str]:
    """One character of each kind that the expression's loops tell apart."""
    tests: list[Callable[[str], bool]] = []

    def gather(nodes: Any, is_looped: bool) -> None:
        for code, argument in nodes:
            test = _single(code, argument, flags)
            if test is not None and is_looped:
                tests.append(test)
            for inner in _inner(code, argument):
                gather(inner, is_looped or (code in LOOPS and argument[1] > ENDLESS))

    gather(tree, is_looped=False)
    kinds = {tuple(test(each) for test in tests): each for each in reversed(CHARACTERS)}
    return list(kinds.values())


def _single(code: Any, argument: Any, flags: int) -> Callable[[str], bool] | None:
    """Whether a character is read by a node that reads one; None of another node."""
    if code is codes.LITERAL:
        other = chr(argument).swapcase() if flags & re.IGNORECASE else chr(argument)
        return lambda each: each in (chr(argument), other)
    if code is codes.NOT_LITERAL:
        return lambda each: each != chr(argument)
    if code is codes.ANY:
        return lambda each: bool(flags & re.DOTALL) or each != "\n"
    if code is codes.IN:
        negated = argument[0][0] is codes.NEGATE
        return lambda each: any(_is_in(item, each) for item in argument[negated:]) is not negated
    return None


_CATEGORIES = {
    codes.CATEGORY_DIGIT: r"\d",
    codes.CATEGORY_NOT_DIGIT: r"\D",
    codes.CATEGORY_SPACE: r"\s",
    codes.CATEGORY_NOT_SPACE: r"\S",
    codes.CATEGORY_WORD: r"\w",
    codes.CATEGORY_NOT_WORD: r"\W",
}


def _is_in(item: tuple[Any, Any], each: str) -> bool:
    code, argument = item
    if code is codes.LITERAL:
        return ord(each) == argument
    if code is codes.RANGE:
        return argument[0] <= ord(each) <= argument[1]
    return re.match(_CATEGORIES[argument], each) is not None


def _sample(nodes: Any, letter: str, flags: int, is_rich: bool) -> str:
    """A short text that nodes read, made of one letter wherever that will do.

    A rich one has what may be left out.
    """
    text = ""
    for code, argument in nodes:
        single = _single(code, argument, flags)
        if single is not None:
            text += next((each for each in (letter, *CHARACTERS) if single(each)), "思")
        elif code in LOOPS:
            once = _sample(argument[2], letter, flags, is_rich)
            is_wanted = is_rich or (bool(once) and set(once) == {letter})
            text += once * max(argument[0], int(is_wanted))
        elif code is codes.BRANCH:
            ways = [_sample(way, letter, flags, is_rich) for way in argument[1]]
            text += next((way for way in ways if way and set(way) == {letter}), ways[0])
        elif code is codes.ASSERT:
            text += _sample(argument[1], letter, flags, is_rich) if argument[0] < 0 else ""
        elif code is not codes.ASSERT_NOT:
            text += "".join(
                _sample(inner, letter, flags, is_rich) for inner in _inner(code, argument)
            )
    return text


def why_slow(expression: Expression) -> str | None:
    """A text that takes more than linear time, described; None where none was found."""
    for method in sorted(expression.methods):
        call = _caller(expression.pattern, method)
        for head, pump, end in attacks(expression.pattern):
            seconds = functools.partial(_seconds, call, head, pump, end)
            if seconds(SHORT) > LONGEST_SECONDS or _is_steep(seconds):
                return f"{expression.place} by {method}: {head!r} + {pump!r} * n + {end!r}"
    return None


def _seconds(call: Callable[[str], object], head: str, pump: str, end: str, size: int) -> float:
    """What one call takes of the processor, on so many characters of what is repeated."""
    text = head + pump * (size // len(pump)) + end
    began = time.thread_time()
    call(text)
    return time.thread_time() - began


def _is_steep(seconds: Callable[[int], float]) -> bool:
    for _ in range(3):  # In a moment of noise, once more.
        many = seconds(LONG)
        if many < max(QUICK_SECONDS, STEEPEST * seconds(MIDDLE)):
            return False
    return True


def _caller(pattern: re.Pattern[str], method: str) -> Callable[[str], object]:
    if method in ("sub", "subn"):
        return lambda text: pattern.sub("", text)
    if method == "finditer":
        return lambda text: sum(1 for _ in pattern.finditer(text))
    if method == "compile":
        return pattern.search
    return getattr(pattern, method)
