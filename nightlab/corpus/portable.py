r"""The tokenizer for programs without tiktoken: its pattern as Python's own ``re`` reads it.

``re`` knows no ``\p{L}``, and what it takes for white space, or a Python's ``unicodedata`` for
letters, is not what the engine of tiktoken does. So that engine is asked, for every character there
is, and the pattern is written out with what it said.
"""

import json
import re
import sys
from functools import cache
from pathlib import Path

import tiktoken

SPACE = r"\s"
_SURROGATES = range(0xD800, 0xE000)
_PART = re.compile(r"\\p\{\w+\}|\\[sS]|\\.|[\[\]]")


def portable_tokenizer(path: Path) -> str:
    """A saved tokenizer's JSON, with ``python_pattern`` beside its pattern."""
    content = json.loads(path.read_text(encoding="utf-8"))
    content["python_pattern"] = python_pattern(content["pattern"])
    return json.dumps(content, indent=0) + "\n"


def python_pattern(pattern: str) -> str:
    r"""Write a pattern of tiktoken's for ``re``; it may use ``\p{…}``, ``\s`` and ``\S``."""
    inside = False

    def rewritten(found: re.Match[str]) -> str:
        nonlocal inside
        part = found[0]
        if part in "[]":
            inside = part == "["
        if part == r"\S":
            if inside:
                raise ValueError(f"{part} inside of brackets has no counterpart: {pattern}")
            return f"[^{members(SPACE)}]"
        if part == SPACE or part.startswith(r"\p"):
            return members(part) if inside else f"[{members(part)}]"
        return part

    return _PART.sub(rewritten, pattern)


@cache
def members(kind: str) -> str:
    """The characters of a class, as ranges for the brackets of a pattern."""
    every = "".join(chr(code) for code in range(sys.maxunicode + 1) if code not in _SURROGATES)
    ranks = {bytes([byte]): byte for byte in range(256)}
    # What its pattern does not match, it leaves out.
    engine = tiktoken.Encoding(kind, pat_str=kind, mergeable_ranks=ranks, special_tokens={})
    found = [ord(each) for each in engine.decode(engine.encode_ordinary(every))]
    runs: list[list[int]] = []
    for code in found:
        if runs and runs[-1][1] == code - 1:
            runs[-1][1] = code
        else:
            runs.append([code, code])
    return "".join(f"{_escaped(first)}-{_escaped(last)}" for first, last in runs)


def _escaped(code: int) -> str:
    return f"\\U{code:08x}"
