"""How much code a file is, however it is laid out."""

import ast
import keyword
import re
import tokenize
from collections import Counter

from nightlab.source.source_tree import UNREADABLE, parse_tree, tokens_of

LEAST_SAVING = 0.01
"""Share of its parent's nodes that a candidate must save to be clearly less code."""
WRITABLE_BYTES = 1_000
"""Python refuses to write integers of much more as decimals."""

_WORD = re.compile(r"\w+|\W")
_LAYOUT = (tokenize.NEWLINE, tokenize.NL, tokenize.INDENT, tokenize.DEDENT, tokenize.ENDMARKER)


def code_nodes(source: str) -> int:
    """Count the nodes of a Python text's syntax tree, without comments and docstrings.

    Constants count by their bytes besides.

    Raises:
        SyntaxError: the text does not parse.
    """
    count = 0
    for node in ast.walk(without_docstrings(parse_tree(source))):
        # Whether a name is read or written is no code of its own.
        if not isinstance(node, ast.expr_context):
            count += 1
        if isinstance(node, ast.Constant):
            count += _length(node.value)
    return count


def is_clearly_less(candidate: str, parent: str) -> bool:
    """Whether a candidate is clearly less code than its parent: in nodes, and in what it adds.

    A program can read all of its own file, and run what it reads: texts, docstrings and comments,
    the names of things. So what is new in a file counts by its length, wherever it stands. What can
    not be read is not less.
    """
    try:
        size = code_nodes(candidate) + new_text(candidate, parent)
        return size <= (1 - LEAST_SAVING) * code_nodes(parent)
    except UNREADABLE:
        return False


def new_text(source: str, parent: str) -> int:
    """Bytes of the words and white space that a Python text has more of than its parent.

    Words are told apart by where they stand: what was code and is a text now, is new.

    Raises:
        TokenError, SyntaxError: one of them is no Python.
    """
    new = _words(source) - _words(parent)
    return sum(len(word.encode()) * count for (_, word), count in new.items())


def _words(source: str) -> Counter[tuple[int, str]]:
    words: Counter[tuple[int, str]] = Counter()
    for token in tokens_of(source):
        if token.type in (tokenize.NAME, tokenize.NUMBER, tokenize.OP):
            words[token.type, token.string] += not keyword.iskeyword(token.string)
        elif token.type not in _LAYOUT:
            words.update((token.type, word) for word in _WORD.findall(token.string))
    words[tokenize.NL, " "] = sum(map(str.isspace, source))
    return words


def canonical_code(source: str) -> str:
    """Lay a Python text out in one way, without comments and docstrings, a statement a line.

    Raises:
        SyntaxError: the text does not parse.
    """
    return ast.unparse(without_docstrings(parse_tree(source)))


def without_docstrings(tree: ast.Module) -> ast.Module:
    """Take the docstrings out of a tree, and write numbers that are too large as texts."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            node.body = [each for each in node.body if not _is_text(each)] or [ast.Pass()]
        if isinstance(node, ast.Constant) and _length(node.value) > WRITABLE_BYTES:
            node.value = hex(node.value) if isinstance(node.value, int) else node.value
    return tree


def _length(constant: object) -> int:
    """Bytes of a text, of bytes and of whole numbers; other constants are short."""
    if isinstance(constant, int):
        return constant.bit_length() // 8
    if isinstance(constant, str):
        return len(constant.encode("utf-8", "surrogatepass"))
    return len(constant) if isinstance(constant, bytes) else 0


def _is_text(statement: ast.stmt) -> bool:
    return (
        isinstance(statement, ast.Expr)
        and isinstance(statement.value, ast.Constant)
        and isinstance(statement.value.value, str)
    )
