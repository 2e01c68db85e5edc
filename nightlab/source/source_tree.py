"""Syntax trees, parsed by one thread at a time.

CPython 3.11 counts the depth of the tree that it is building once for all threads. A thread that
takes over in the midst of it (a finalizer is enough) parses too, and one of them is told "AST
constructor recursion depth mismatch", a ``SystemError``
(https://github.com/python/cpython/issues/106905). A session parses in two threads: the trial's and
the one that asks for the next idea.
"""

import ast
import threading
from collections.abc import Callable
from typing import TypeVar

ATTEMPTS = 5
"""Libraries parse in threads of theirs, which the lock does not hold."""

Tree = TypeVar("Tree", ast.Module, ast.Expression)

_one_at_a_time = threading.Lock()


def parse_tree(source: str) -> ast.Module:
    """Parse a Python text.

    Raises:
        SyntaxError: it is no Python.
        ValueError: it has null bytes, in some releases of Python.
        RecursionError, MemoryError: it is nested too deeply.
        SystemError: other threads disturbed every attempt.
    """
    return _parsed(lambda: ast.parse(source))


def is_same_program(one: str, other: str) -> bool:
    """Whether two Python texts differ in nothing but comments and white space.

    Raises:
        SyntaxError, ValueError, RecursionError, MemoryError: as ``parse_tree``.
    """
    return one == other or ast.dump(parse_tree(one)) == ast.dump(parse_tree(other))


def parse_expression(source: str) -> ast.Expression:
    """Parse one Python expression; raises as ``parse_tree`` does."""
    return _parsed(lambda: ast.parse(source, mode="eval"))


def _parsed(parse: Callable[[], Tree]) -> Tree:
    with _one_at_a_time:
        for _ in range(ATTEMPTS - 1):
            try:
                return parse()
            except SystemError:
                continue
        return parse()
