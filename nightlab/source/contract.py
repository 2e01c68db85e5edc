"""The gate that every candidate's source goes through before it becomes a commit.

The contract is a check for mistakes, made before training seconds are spent on them. It is no
defence: containment is the sandbox's, and scores are the engine's own. That the engine can read
the source is one: whatever it will do with the text later, at a resume or in a report, is done here
once, so that none of it fails when the text stands in git.
"""

import ast
import sys
from collections.abc import Iterator

from nightlab.settings import TRAINER_FILE
from nightlab.source.candidate import oversized
from nightlab.source.code_size import without_docstrings
from nightlab.source.knobs import knobs_in
from nightlab.source.source_tree import parse_source, parse_tree, tokens_of

ALLOWED_PACKAGES = ("torch", "numpy", "runtime")
"""Besides the standard library."""
REQUIRED_FUNCTIONS = ("build_model", "main")
DEEPEST = 100
"""Levels of a syntax tree: written code has a few dozen, and Python's own tools recurse over them
several frames a level."""
MOST_NODES = 20_000
"""Of a syntax tree. Nightlab's own trainer has 4,900."""


def _read(source: str) -> ast.Module | str:
    """The source's syntax tree, or one sentence on why the engine cannot work with it."""
    too_long = oversized(source)
    if too_long is not None:
        return too_long
    try:
        tree = parse_source(source)
    except ValueError as error:
        return f"{TRAINER_FILE} would not parse: {error}."
    depth, nodes = _extent(tree)
    if depth > DEEPEST:
        return (
            f"{TRAINER_FILE} is nested too deeply: an expression or block has {depth} levels, and "
            f"{DEEPEST} are the most."
        )
    if nodes > MOST_NODES:
        return f"{TRAINER_FILE} may have {MOST_NODES} nodes of syntax and would have {nodes}."
    try:
        _use(source, tree)
    except Exception as error:  # noqa: BLE001 - whatever it is would come again at every resume
        why = type(error).__name__
        return (
            f"{TRAINER_FILE} has a construct that cannot be written out again ({why}), so versions "
            "of it could not be compared: write it plainly."
        )
    return tree


def _use(source: str, tree: ast.Module) -> None:
    """Do all that the engine does with an accepted source and that may fail for its sake."""
    ast.dump(tree)  # as is_same_program does
    knobs_in(tree, source)
    all(tokens_of(source))  # as is_clearly_less does
    parse_tree(ast.unparse(without_docstrings(tree)))  # as touched_schedule does


def check_syntax(source: str) -> str | None:
    """Return one sentence on why the source is no Python that the engine can work with, or None."""
    tree = _read(source)
    return tree if isinstance(tree, str) else None


def check_source(source: str) -> str | None:
    """Return one sentence on how the source breaks the trainer's contract, or None.

    None also promises that nothing raises that the engine does with the source from then on.
    """
    tree = _read(source)
    if isinstance(tree, str):
        return tree
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


def _extent(tree: ast.AST) -> tuple[int, int]:
    """Levels and nodes of a syntax tree, without recursion."""
    levels, count = 0, 0
    level: list[ast.AST] = [tree]
    while level:
        levels, count = levels + 1, count + len(level)
        level = [child for node in level for child in ast.iter_child_nodes(node)]
    return levels, count


def _is_guard(node: ast.stmt) -> bool:
    match node:
        case ast.If(test=ast.Compare(left=left, ops=[ast.Eq()], comparators=[right])):
            sides = {_word(left), _word(right)}
            return sides == {"__name__", "'__main__'"} and any(map(_calls_main, node.body))
    return False


def _word(node: ast.expr) -> str:
    """A name as it is, a text in quotes; empty for anything else."""
    match node:
        case ast.Name(id=name):
            return name
        case ast.Constant(value=str(text)):
            return repr(text)
    return ""


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
