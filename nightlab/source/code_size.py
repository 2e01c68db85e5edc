"""How much code a file is, however it is laid out."""

import ast

from nightlab.source.source_tree import parse_tree


def code_lines(source: str) -> int:
    """Count the lines of a Python text in its canonical layout.

    So neither a shorter comment nor several statements on one line make code simpler.

    Raises:
        SyntaxError: the text does not parse.
    """
    return len(canonical_code(source).splitlines())


def canonical_code(source: str) -> str:
    """Lay a Python text out in one way, without comments and docstrings, a statement a line.

    Raises:
        SyntaxError: the text does not parse.
    """
    tree = parse_tree(source)
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            node.body = [each for each in node.body if not _is_text(each)] or [ast.Pass()]
    return ast.unparse(tree)


def _is_text(statement: ast.stmt) -> bool:
    return (
        isinstance(statement, ast.Expr)
        and isinstance(statement.value, ast.Constant)
        and isinstance(statement.value.value, str)
    )


LEAST_SAVING = 0.01
CHARACTERS_PER_NODE = 8
"""A string constant counts a node for so many characters: code can hide in strings."""


def code_nodes(source: str) -> int:
    """Count the nodes of a Python text's syntax tree, without comments and docstrings.

    Raises:
        SyntaxError: the text does not parse.
    """
    count = 0
    for node in ast.walk(parse_tree(canonical_code(source))):
        count += 1
        if isinstance(node, ast.Constant) and isinstance(node.value, str | bytes):
            count += len(node.value) // CHARACTERS_PER_NODE
    return count


def is_clearly_less(candidate: str, parent: str) -> bool:
    """Whether a candidate has at least 1 % fewer nodes than its parent."""
    return code_nodes(candidate) <= (1 - LEAST_SAVING) * code_nodes(parent)
