"""Tests of nightlab/source/source_tree.py."""

import ast
import gc
import threading
import time
from collections.abc import Callable

import pytest

from nightlab.source import source_tree
from nightlab.source.source_tree import parse_expression, parse_tree

DEEP = "value = " + " + ".join(f"({number} * [{number}, ({number},)])" for number in range(300))
ROUNDS = 10


class Litter:
    """Garbage in a cycle, whose finalizer lets another thread run."""

    def __init__(self) -> None:
        self.itself = self

    def __del__(self) -> None:
        time.sleep(0.0005)


def test_parses_what_the_standard_library_does() -> None:
    assert ast.dump(parse_tree("a = 1\nb = a")) == ast.dump(ast.parse("a = 1\nb = a"))
    assert ast.literal_eval(parse_expression("(1, 'two',)")) == (1, "two")


def test_bad_text_is_refused_as_the_standard_library_does() -> None:
    with pytest.raises(SyntaxError):
        parse_tree("a =")
    with pytest.raises(SyntaxError):
        parse_expression("1; 2")


def test_threads_that_parse_do_not_disturb_each_other(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(source_tree, "ATTEMPTS", 1)
    assert _system_errors_in_threads(parse_tree) == []


def test_a_library_that_parses_meanwhile_costs_another_attempt(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    parse, fails = ast.parse, iter([True, True, False])

    def disturbed(source: str) -> ast.Module:
        if next(fails):
            raise SystemError("AST constructor recursion depth mismatch (before=18, after=116)")
        return parse(source)

    # Not for longer: what prints a failure parses too.
    with monkeypatch.context() as patched:
        patched.setattr(ast, "parse", disturbed)
        assert isinstance(parse_tree("a = 1"), ast.Module)


def _system_errors_in_threads(parse: Callable[[str], ast.AST]) -> list[SystemError]:
    errors: list[SystemError] = []

    def run() -> None:
        for _ in range(ROUNDS):
            for _ in range(20):
                Litter()
            try:
                parse(DEEP)
            except SystemError as error:
                errors.append(error)

    threads = [threading.Thread(target=run) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    gc.collect()
    return errors
