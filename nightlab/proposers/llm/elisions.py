"""Placeholders for code that a model did not write out, as ``# ... existing code ...``.

A REPLACE is put in as it stands, so a placeholder deletes what it stands for. A line is taken for
one where it is new, code of the SEARCH is gone, and it says no more than that something is as it
was: three dots alone, or a comment of words for being left out and for code. A comment that says
anything else is a comment, and ``...`` is Python wherever it is no statement or a new function's
whole body.
"""

import re
from collections import Counter
from collections.abc import Iterator, Sequence

from nightlab.models.texts import one_line
from nightlab.records import Edit

_SHOWN_LINES = 8
_SHOWN_CHARACTERS = 200
_LONGEST = 120
"""Characters of a placeholder."""

_FEW_WORDS = 6
"""Of a placeholder that names what it stands for."""

_COMMENT = re.compile(r"#+|(?<!\S)(?://+|/\*+|\*+|--+|<!--+|;+|%+|\{/\*+)")
"""Where one begins."""
_KEYWORD = r"(?:async|def|class|if|elif|else|for|while|with|try|except|finally|match|case)\b"
# What stands before a comment that may be a placeholder: nothing, or a body of no effect.
_STUB = re.compile(
    rf"(?:(?:{_KEYWORD}.*:\s*)?(?:pass|\.{{3}}|return(?:\s+(?:None|\.{{3}}))?"
    r"|raise\s+NotImplementedError(?:\((?s:.*))?))?"
)
_SOME_DOTS = re.compile(r"\.(?:\s?\.){2,}|[…⋯⋮]+")
_ELLIPSIS = re.compile(
    rf"(?:{_KEYWORD}.*:)?\s*(?:[\[({{<]\s*)?(?:{_SOME_DOTS.pattern})\s*[\])}}>]?"
)
_HEADER = re.compile(rf"\s*{_KEYWORD}.*:")
_DEFINED = re.compile(r"\s*(?:async\s+)?(?:def|class)\s+(?P<name>\w+)")
_EDGES = " \t()[]{}<>*-=~_`'\"/#:!,;"

_LEFT_OUT = re.compile(
    r"\b(?:unchanged|unmodified|untouched|unaltered|intact|omitted|elided|truncated|abbreviated"
    r"|snip(?:ped)?|brevity|as (?:it )?(?:is|was|were|before|above)|(?:see|same as) above"
    r"|not shown|(?:no|not|without) (?:other |further |more )?chang(?:es?|ed)|goes? here"
    r"|nothing else changes|and so (?:on|forth)|(?:same|identical|as|like) (?:in |to |per )?"
    r"(?:the )?original|(?:is|are|stays?|remains?) identical)\b"
)
_ENDS_SO = re.compile(rf"(?:{_LEFT_OUT.pattern}|(?P<same>\bthe same))(?: for (?:clarity|now))?$")
_OF_OTHERS = re.compile(
    r"(?:(?:and|keep|leave|the|all) )*(?:rest|remainder|remaining|others?|everything)\b"
)
_OF_CODE = re.compile(
    r"codes?|implementation|logic|functions?|methods?|class(?:es)?|bod(?:y|ies)|file|script"
    r"|program|source|definitions?|imports?|statements?|loop|pass|blocks?|stuff|everything"
    r"|constants|setup|contents?|lines?"
)
_AS_IT_WAS = re.compile(
    r"existing|original|previous|prior|old|current|rest|remaining|remainder|same|others?|else|here"
    r"|your"
)
_FILLING = re.compile(
    r"the|of|an?|and|as|is|are|was|were|be|been|its?|this|that|these|those|in|to|for|from|on|with"
    r"|by|all|before|above|below|after|up|stays?|remains?|go|goes|continues?|ke(?:ep|eps|pt)"
    r"|leaves?|left|exactly|completely|fully|still|just|again|also|so|both|no|not|change[sd]?"
    r"|shown|clarity|etc|todo|note|insert|add|paste|copy|fill|implement|put|use|included?|follows?"
    r"|removed|skipped|like|parts?|section|training|model|forward|init|main|layers|module|more"
)
_KNOWN = re.compile("|".join(each.pattern for each in (_OF_CODE, _AS_IT_WAS, _FILLING)))


def elision(edits: Sequence[Edit]) -> str | None:
    """One sentence on the first block that leaves code out, with the code; None where none does."""
    for number, edit in enumerate(edits, start=1):
        lines = [edit.search.split("\n")[at] for at in _lines_missing(edit.search, edit.replace)]
        gone = [line for line in lines if not line.lstrip().startswith("#")]
        said = next(_placeholders(edit), None) if gone else None
        if said is not None:
            shown = "\n".join(line[:_SHOWN_CHARACTERS] for line in gone[:_SHOWN_LINES])
            more = "\n…" * (len(gone) > _SHOWN_LINES)
            return (
                f"Block {number} of {len(edits)} leaves code out where its REPLACE says "
                f"'{one_line(said, _LONGEST)}'. REPLACE is put in as it stands, so these lines of "
                f"SEARCH would be gone:\n{shown}{more}\nWrite out every line that is to stay."
            )
    return None


def _lines_missing(text: str, there: str) -> list[int]:
    """Indices of the lines of a text that do not stand there, but for white space."""
    left = Counter(line.strip() for line in there.split("\n"))
    missing = []
    for index, line in enumerate(text.split("\n")):
        if left[line.strip()] > 0:
            left[line.strip()] -= 1
        elif line.strip():
            missing.append(index)
    return missing


def _placeholders(edit: Edit) -> Iterator[str]:
    """New lines of the REPLACE that stand for code."""
    names = {match["name"] for match in map(_DEFINED.match, edit.search.split("\n")) if match}
    lines, new = edit.replace.split("\n"), _lines_missing(edit.replace, edit.search)
    for index in new:
        text = lines[index].strip()
        if len(text) <= _LONGEST and _is_placeholder(lines, index, names, new):
            yield text


def _is_placeholder(lines: Sequence[str], index: int, names: set[str], new: Sequence[int]) -> bool:
    text = lines[index].strip()
    if _ELLIPSIS.fullmatch(text):
        return not _is_new_body(lines[: index + 1], names)
    comment = _COMMENT.search(text)
    if comment is not None:
        code, said = text[: comment.start()].rstrip(), text[comment.end() :]
        describes = _describes_new_code(lines, index, new)
        return _STUB.fullmatch(code) is not None and _says_so(said, describes)
    is_wrapped = text[0] in "([{<" and text[-1] in ")]}>" and " " in text
    return bool(is_wrapped or _SOME_DOTS.match(text)) and _says_so(text, describes=True)


def _is_new_body(lines: Sequence[str], names: set[str]) -> bool:
    """Whether the last line is the whole body of a function or class that SEARCH has not."""
    code = [line for line in lines if line.strip() and not line.lstrip().startswith(("#", '"'))]
    *above, header = code
    if _HEADER.match(header) is None:
        if not above or not above[-1].rstrip().endswith(":"):
            return False
        header = above[-1]
    if header.lstrip().startswith(")"):  # The end of a signature of several lines.
        header = next(filter(_DEFINED.match, reversed(above)), header)
    defined = _DEFINED.match(header)
    if defined is not None:
        return defined["name"] not in names
    return header.lstrip().startswith("except")


def _describes_new_code(lines: Sequence[str], index: int, new: Sequence[int]) -> bool:
    """Whether new code follows on a line's own indentation, of which it may be the comment."""
    after = next((at for at in range(index + 1, len(lines)) if lines[at].strip()), index)
    return (
        index < after
        and after in new
        and not lines[after].lstrip().startswith("#")
        and _indentation(lines[after]) == _indentation(lines[index])
    )


def _indentation(line: str) -> str:
    return line[: len(line) - len(line.lstrip())]


def _says_so(said: str, describes: bool) -> bool:
    """Whether a comment, which may describe the code below it, says only that code was left out."""
    text = _SOME_DOTS.sub("...", said).strip(_EDGES).lower()
    words = re.findall(r"[^\W\d_]+", text)
    plain = " ".join(words)
    leads = text.startswith("...")
    as_it_was = any(map(_AS_IT_WAS.fullmatch, words))
    of_code = any(map(_OF_CODE.fullmatch, words))
    left_out = _LEFT_OUT.search(plain) is not None
    signs = leads + text.endswith("...") + 2 * left_out + as_it_was * (1 + of_code)
    if signs >= 2 and (leads or all(map(_KNOWN.fullmatch, _LEFT_OUT.sub(" ", plain).split()))):
        return True
    # What else is named may be what was left out.
    ending = _ENDS_SO.search(plain)
    is_short = len(words) <= _FEW_WORDS and not describes
    return ending is not None and (
        _OF_OTHERS.match(plain) is not None or (is_short and not ending["same"])
    )
