"""How much code a file is, however it is laid out."""

import ast

from nightlab.source.source_tree import parse_tree

LEAST_SAVING = 0.01
"""Share of its parent's nodes that a candidate must save to be clearly less code."""
WRITABLE_BYTES = 1_000
"""Python refuses to write integers of much more as decimals."""


def code_nodes(source: str) -> int:
    """Count the nodes of a Python text's syntax tree, without comments and docstrings.

    Constants count by their length besides, or code could hide, compressed even, in texts and large
    numbers.

    Raises:
        SyntaxError: the text does not parse.
    """
    count = 0
    for node in ast.walk(_tree_without_docstrings(source)):
        # Whether a name is read or written is no code of its own.
        if not isinstance(node, ast.expr_context):
            count += 1
        if isinstance(node, ast.Constant):
            count += _length(node.value)
    return count


def is_clearly_less(candidate: str, parent: str) -> bool:
    """Whether a candidate is clearly less code than its parent.

    Raises:
        SyntaxError: one of them does not parse.
    """
    return code_nodes(candidate) <= (1 - LEAST_SAVING) * code_nodes(parent)


def canonical_code(source: str) -> str:
    """Lay a Python text out in one way, without comments and docstrings, a statement a line.

    Raises:
        SyntaxError: the text does not parse.
    """
    return ast.unparse(_tree_without_docstrings(source))


def _tree_without_docstrings(source: str) -> ast.Module:
    tree = parse_tree(source)
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            node.body = [each for each in node.body if not _is_text(each)] or [ast.Pass()]
        if isinstance(node, ast.Constant) and _length(node.value) > WRITABLE_BYTES:
            node.value = hex(node.value) if isinstance(node.value, int) else node.value
    return tree


def _length(constant: object) -> int:
    """Characters of a text, bytes of bytes and whole numbers; other constants are short."""
    if isinstance(constant, int):
        return constant.bit_length() // 8
    return len(constant) if isinstance(constant, str | bytes) else 0


def _is_text(statement: ast.stmt) -> bool:
    return (
        isinstance(statement, ast.Expr)
        and isinstance(statement.value, ast.Constant)
        and isinstance(statement.value.value, str)
    )
