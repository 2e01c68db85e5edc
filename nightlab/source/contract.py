"""What can be known about a candidate without running it.

A check for mistakes, made before training seconds are spent on them. It is no defence:
containment is the sandbox's, and scores are the engine's own.
"""

import ast
import sys
import warnings
from collections.abc import Iterator

from nightlab.settings import TRAINER_FILE
from nightlab.source.candidate import oversized
from nightlab.source.source_tree import parse_tree

ALLOWED_PACKAGES = ("torch", "numpy", "runtime")
"""Besides the standard library."""
REQUIRED_FUNCTIONS = ("build_model", "main")
DEEPEST = 100
"""Levels of a syntax tree: written code has a few dozen, and Python's own tools recurse over them
several frames a level."""


def parse_source(source: str) -> ast.Module:
    """Parse without letting the text's own warnings reach the terminal.

    Raises:
        ValueError: the source is no Python (``SyntaxError``, null bytes, too deep nesting).
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return parse_tree(source)
    except SyntaxError as error:
        raise ValueError(f"line {error.lineno}: {error.msg}") from error
    except (RecursionError, MemoryError) as error:
        raise ValueError("it is nested too deeply") from error


def _read(source: str) -> ast.Module | str:
    """The source's syntax tree, or one sentence on why it has none."""
    too_long = oversized(source)
    if too_long is not None:
        return too_long
    try:
        return parse_source(source)
    except ValueError as error:
        return f"{TRAINER_FILE} would not parse: {error}."


def check_syntax(source: str) -> str | None:
    """Return one sentence on why the source is no Python that the engine can read, or None."""
    tree = _read(source)
    return tree if isinstance(tree, str) else None


def check_source(source: str) -> str | None:
    """Return one sentence on how the source breaks the trainer's contract, or None."""
    tree = _read(source)
    if isinstance(tree, str):
        return tree
    depth = _depth(tree)
    if depth > DEEPEST:
        return (
            f"{TRAINER_FILE} is nested too deeply: an expression or block has {depth} levels, and "
            f"{DEEPEST} are the most."
        )
    defined = {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}
    for name in REQUIRED_FUNCTIONS:
        if name not in defined:
            return f"{TRAINER_FILE} must define the function {name} at its top level."
    if not any(_is_guard(node) for node in tree.body):
        return f'{TRAINER_FILE} must call main() under `if __name__ == "__main__":`.'
    for module in _imported_modules(tree):
        package = module.partition(".")[0]
        if package not in ALLOWED_PACKAGES and package not in sys.stdlib_module_names:
            return (
                f"{TRAINER_FILE} may import {', '.join(ALLOWED_PACKAGES)} and the standard library "
                f"only, and would import {module}."
            )
    return None


def _depth(tree: ast.AST) -> int:
    """Levels of a syntax tree, without recursion."""
    deepest, waiting = 0, [(tree, 1)]
    while waiting:
        node, level = waiting.pop()
        deepest = max(deepest, level)
        waiting += [(child, level + 1) for child in ast.iter_child_nodes(node)]
    return deepest


def _is_guard(node: ast.stmt) -> bool:
    match node:
        case ast.If(test=ast.Compare(left=left, ops=[ast.Eq()], comparators=[right])):
            sides = {ast.unparse(left), ast.unparse(right)}
            return sides == {"__name__", "'__main__'"} and any(map(_calls_main, node.body))
    return False


def _calls_main(node: ast.stmt) -> bool:
    return any(
        isinstance(part, ast.Call) and isinstance(part.func, ast.Name) and part.func.id == "main"
        for part in ast.walk(node)
    )


def _imported_modules(tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        match node:
            case ast.Import(names=names):
                yield from (alias.name for alias in names)
            case ast.ImportFrom(module=module, names=names, level=level):
                yield "." * level + (module or names[0].name)
