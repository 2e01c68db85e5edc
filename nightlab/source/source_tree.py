"""Syntax trees, parsed by one thread at a time.

CPython 3.11 counts the depth of the tree that it is building once for all threads. A thread that
takes over in the midst of it (a finalizer is enough) parses too, and one of them is told "AST
constructor recursion depth mismatch", a ``SystemError``
(https://github.com/python/cpython/issues/106905). A session parses in two threads: the trial's and
the one that asks for the next idea.
"""

import ast
import io
import threading
import tokenize
import warnings
from collections.abc import Callable, Iterator
from typing import TypeVar

ATTEMPTS = 5
"""Libraries parse in threads of theirs, which the lock does not hold."""

UNREADABLE = (
    *(SyntaxError, ValueError, TypeError, RecursionError, MemoryError, SystemError),
    tokenize.TokenError,
)
"""What reading a text may raise that did not pass the gate (``contract.check_source``)."""

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


def parse_source(source: str) -> ast.Module:
    """Parse a Python text, and say in words why it is none.

    Raises:
        ValueError: the source is no Python (``SyntaxError``, null bytes, too deep nesting).
    """
    try:
        return parse_tree(source)
    except SyntaxError as error:
        raise ValueError(f"line {error.lineno}: {error.msg}") from error
    except (RecursionError, MemoryError) as error:
        raise ValueError("it is nested too deeply") from error


def is_same_program(one: str, other: str) -> bool:
    """Whether two Python texts differ in nothing but comments and white space.

    Raises:
        SyntaxError, ValueError, RecursionError, MemoryError: as ``parse_tree``.
    """
    return one == other or ast.dump(parse_tree(one)) == ast.dump(parse_tree(other))


def parse_expression(source: str) -> ast.Expression:
    """Parse one Python expression; raises as ``parse_tree`` does."""
    return _parsed(lambda: ast.parse(source, mode="eval"))


def tokens_of(source: str) -> Iterator[tokenize.TokenInfo]:
    """The tokens of a Python text, comments among them.

    Raises:
        TokenError, SyntaxError: it is no Python.
    """
    return tokenize.generate_tokens(io.StringIO(source).readline)


def _parsed(parse: Callable[[], Tree]) -> Tree:
    # A text's own warnings are not for the terminal.
    with _one_at_a_time, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for _ in range(ATTEMPTS - 1):
            try:
                return parse()
            except SystemError:
                continue
        return parse()
