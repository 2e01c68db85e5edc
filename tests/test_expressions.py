"""No expression takes more than linear time, so that no text of others holds the engine up."""

import re

import pytest

from nightlab.models.terms import _OTHER_NAMES, _pattern
from nightlab.models.words import Words
from nightlab.redaction import _patterns
from tests.expressions import Expression, expressions, why_slow

EXAMPLES = {
    "found": [each.pattern for each in _patterns("a/ B")],
    "'|'.join(self.value)": ["|".join(words.value) for words in Words],
    "_pattern(name)": [_pattern(name) for name in ("max_tokens", "temperature", *_OTHER_NAMES)],
    r"f'(?<![\\d.,]){digits}(?!\\d)'": [r"(?<![\d.,])3[,.' ]?2[,.' ]?7[,.' ]?6[,.' ]?8(?!\d)"],
    r"f'{re.escape(study)} \\d{{4}}-\\d\\d-\\d\\d \\d\\d:\\d\\d'": [
        r"a\-night \d{4}-\d\d-\d\d \d\d:\d\d"
    ],
    "pattern": [r"refs/nightlab/a\-night/(?:(trials|evidence)/\d{1,9}|(suggestions)/[\w-]+)"],
}
"""Of each expression that is put together as the program runs, by the source of it."""

OURS = {
    "nightlab/sandbox/headers": "the headers of this machine's compilers",
    "nightlab/sandbox/toolchain": "what this machine's compilers say",
    "nightlab/sandbox/torch_closure": "what installed packages require",
    "nightlab/sandbox/peaks": "the name of this machine's GPU",
}
"""Modules that read no text of others, and which they do read."""


def slow(pattern: str, method: str) -> str | None:
    return why_slow(Expression("here", re.compile(pattern), frozenset({method})))


@pytest.mark.parametrize(
    ("pattern", "method"),
    [
        (r"(?:a+)+b", "match"),
        (r"\d+\d+x", "match"),
        (r"\s*,?\s*$", "match"),
        (r"#\s*\d[\d_]*\.?[\d_]*\.\.", "fullmatch"),
        (r"\s+$", "search"),
        (r"a.*b", "search"),
        (r"(?<=://)[^@]*@", "search"),
        (r"(?:if.*:)?(?:raise(?:\(.*\))?)?", "fullmatch"),
    ],
)
def test_what_takes_more_than_linear_time_is_found(pattern, method):
    assert slow(pattern, method) is not None


@pytest.mark.parametrize(
    ("pattern", "method"),
    [(r"\s*+,?\s*+$", "match"), (r"\s*", "search"), (r"a.{0,80}b", "search"), (r"\w+", "findall")],
)
def test_what_takes_linear_time_is_let_pass(pattern, method):
    assert slow(pattern, method) is None


def test_every_expression_takes_linear_time():
    found = list(expressions(EXAMPLES, OURS))
    assert len(found) > 80
    assert list(filter(None, map(why_slow, found))) == []
