"""Python files without the text: compiled, documentation taken out.

Run by path as ``python -I -S -B bytecode.py``, and then it imports the standard library
only. It reads pairs of lines, a source file and the place for its stripped form, and
writes ``place``, which is empty but for the parts below, and ``__pycache__/place.pyc``,
which the interpreter takes as it is: it is marked as unchecked (PEP 552). With the file
itself still there, ``__file__``, the names of code's files and the searches of torch's
compiler are what they are in a common installation.

Some code reads its own source at run time. What is kept for it, without comments and
documentation, each line at its number:

* functions and classes that a decorator hands to TorchScript or Triton, or that a call
  of ``torch.jit.script`` names;
* Triton's language: its modules hand functions of one another to what reads them;
* modules that ``install_config_module`` turns into settings: it reads their comments;
* ``__main__.py``, which is run by path.
"""

import ast
import importlib.util
import io
import marshal
import re
import sys
import tokenize
import warnings
from collections.abc import Iterator
from pathlib import Path

_UNCHECKED_HASH = 0b01
_READ_THEIR_SOURCE = frozenset(
    (
        *("jit", "script", "script_method", "script_if_tracing", "_script_if_tracing"),
        *("_overload", "_overload_method", "autotune", "heuristics", "constexpr_function"),
    )
)
"""Decorators by their last name."""
_MENTIONS_A_READER = re.compile(
    "|".join((*sorted(_READ_THEIR_SOURCE), "ScriptModule")).encode("ascii")
)
_KEPT_WHOLE = re.compile(r"/triton/language/|/__main__\.py$")
"""Of places in the tree."""
_SCRIPTING = ("script", "_script_if_tracing")
"""Functions that take a function to read."""
_MEANT_FOR_MACHINES = re.compile(r"#\s*type:|@compile_ignored")
_ADDS_DOCUMENTATION = re.compile(r"add_?(new)?_?doc", re.IGNORECASE)
_PLACEHOLDER = "(documentation left out)"
"""For texts that torch hands to C++, which keeps pointers into them that only survive for
texts of 16 bytes and more: shorter ones lie inside of std::string objects, which move."""
_DEFINITIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
_DOCUMENTED = (ast.Module, *_DEFINITIONS)


def strip_file(source: Path, place: Path) -> bool:
    """Write the stripped form of a Python file.

    Returns:
        Whether it could be compiled; a file that cannot is of no use to anyone.
    """
    data = source.read_bytes()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            tree = ast.parse(data)
            kept = kept_text(data, tree, whole=bool(_KEPT_WHOLE.search(place.as_posix())))
            # "" is not a possible file name: the interpreter puts the real one in its place.
            code = compile(without_documentation(tree), "", "exec", dont_inherit=True, optimize=0)
    except (SyntaxError, ValueError, RecursionError):
        return False
    place.write_text(kept, encoding="utf-8")
    compiled = Path(importlib.util.cache_from_source(str(place), optimization=""))
    compiled.parent.mkdir(exist_ok=True)
    header = importlib.util.MAGIC_NUMBER + _UNCHECKED_HASH.to_bytes(4, "little") + bytes(8)
    compiled.write_bytes(header + marshal.dumps(code))
    return True


def without_documentation(tree: ast.Module) -> ast.Module:
    """Empty documentation in place, so that code which works on ``__doc__`` finds a string."""
    for node in ast.walk(tree):
        if isinstance(node, _DOCUMENTED):
            text = _docstring(node)
            if text is not None:
                text.value = ""
        elif isinstance(node, ast.Call) and _ADDS_DOCUMENTATION.search(_last_name(node.func)):
            for part in (*node.args, *(keyword.value for keyword in node.keywords)):
                _shorten_long_strings(part)
        elif isinstance(node, ast.Assign) and any(map(_is_documentation, node.targets)):
            _shorten_long_strings(node.value)
    return tree


def kept_text(data: bytes, tree: ast.Module, *, whole: bool = False) -> str:
    """Return the parts of a source that its own code reads, each on its own line.

    Args:
        data: the source.
        tree: its syntax tree, not yet stripped.
        whole: keep all of it, whatever it is.
    """
    settings = b"install_config_module(" in data and not _defines(tree, "install_config_module")
    if whole or settings:
        spans = [(1, data.count(b"\n") + 1)]
    else:
        spans = [_span(node) for node in _readers_of_source(data, tree)]
    if not spans:
        return ""
    lines = _without_comments(data, tree)
    wanted = {number for first, last in spans for number in range(first, last + 1)}
    kept = [line if number in wanted else "" for number, line in enumerate(lines, start=1)]
    return "\n".join(kept).rstrip("\n") + "\n"


def _readers_of_source(data: bytes, tree: ast.Module) -> Iterator[ast.stmt]:
    if not _MENTIONS_A_READER.search(data):
        return
    readers = set(_READ_THEIR_SOURCE)
    named = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom):
            readers |= {it.asname for it in node.names if it.asname and it.name in readers}
        elif isinstance(node, ast.Call) and _last_name(node.func) in _SCRIPTING:
            named |= {it.id for it in node.args if isinstance(it, ast.Name)}
    for node in ast.walk(tree):
        if isinstance(node, _DEFINITIONS):
            marks = {_last_name(mark) for mark in node.decorator_list}
            if isinstance(node, ast.ClassDef):
                marks |= {"script" for base in node.bases if _last_name(base) == "ScriptModule"}
            if node.name in named or marks & readers:
                yield node


def _without_comments(data: bytes, tree: ast.Module) -> list[str]:
    encoding, _ = tokenize.detect_encoding(io.BytesIO(data).readline)
    text = io.TextIOWrapper(io.BytesIO(data), encoding).read()
    lines = text.split("\n")
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type == tokenize.COMMENT and not _MEANT_FOR_MACHINES.search(token.string):
            row, column = token.start
            lines[row - 1] = lines[row - 1][:column].rstrip()
    for node in ast.walk(tree):
        literal = _docstring(node) if isinstance(node, _DOCUMENTED) else None
        if literal is not None and literal.end_lineno is not None:
            first, last = literal.lineno - 1, literal.end_lineno - 1
            # Columns of syntax trees are bytes of UTF-8.
            before = lines[first].encode()[: literal.col_offset].decode()
            after = lines[last].encode()[literal.end_col_offset :].decode()
            lines[first : last + 1] = [""] * (last + 1 - first)
            lines[first] = before + '""' + after
    return lines


def _docstring(node: ast.AST) -> ast.Constant | None:
    body = getattr(node, "body", None)
    if body and isinstance(body[0], ast.Expr):
        value = body[0].value
        if isinstance(value, ast.Constant) and isinstance(value.value, str):
            return value
    return None


def _shorten_long_strings(tree: ast.expr) -> None:
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and "\n" in node.value:
            node.value = _PLACEHOLDER


def _is_documentation(target: ast.expr) -> bool:
    return _last_name(target) == "__doc__"


def _last_name(node: ast.expr) -> str:
    match node:
        case ast.Name(id=name) | ast.Attribute(attr=name):
            return name
        case ast.Call(func=function):
            return _last_name(function)
    return ""


def _defines(tree: ast.Module, name: str) -> bool:
    return any(isinstance(node, ast.FunctionDef) and node.name == name for node in tree.body)


def _span(node: ast.stmt) -> tuple[int, int]:
    decorators = getattr(node, "decorator_list", [])
    first = min([node.lineno, *(decorator.lineno for decorator in decorators)])
    return first, node.end_lineno or node.lineno


def main() -> int:
    """Strip the files named on standard input; write those that do not compile."""
    lines = iter(sys.stdin.read().splitlines())
    for source, place in zip(lines, lines, strict=True):
        if not strip_file(Path(source), Path(place)):
            sys.stdout.write(f"{source}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
