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
