"""Reasoning in an answer's text, which is never part of the answer.

Models and servers mark it in many ways: ``<think>``, ``<thinking>``, ``[THINK]``, ``◁think▷``,
``<seed:think>``, ``<|begin_of_thought|>``, the channels of gpt-oss and Gemma. One rule reads them
all: a name in brackets that has to do with thinking opens reasoning, and closes it where it has a
slash or the word "end". Whatever opened it, the next mark that closes ends it. What stands before a
mark that closes what was not opened is reasoning too, since templates leave the opening one out.

Whole blocks are the text of a file, and marks inside them are too.
"""

import re
from collections.abc import Iterator

from nightlab.proposers.edits import pieces

_THOUGHT = re.compile(
    r"think|thought|reason|reflect|analys|scratch ?pad|deliberat|contemplat|monologue|rationale"
    r"|brainstorm|思|推理|\b(?:plan|planning|draft|critique|cot)\b",
    re.IGNORECASE,
)
_CLOSES = re.compile(r"/|\bend\b", re.IGNORECASE)
_MARK = re.compile(
    r"""
    # Nothing else begins one, and most of a text is passed by at this.
    (?=[`<\[◁a]|\A)(?:
    # Code between backquotes, in which a mark is quoted.
    `[^`<\[◁\n]*` | (?<!`)`[<\[◁][^`<>\[\]◁▷\n]{0,60}[>\]▷]`
    # A channel's name stands after its mark, and the one called final is for the reader. Servers
    # that drop such tokens leave the bare words.
    | <\|channel\|?>\s*(?P<channel>\w+)(?:[^\n]{0,80}?<\|message\|>)?
    | (?P<final><channel\|>|assistantfinal) | (?P<analysis>\A\s*analysis(?=[A-Z]))
    # A name in brackets, where angled ones may hold attributes; a link of Markdown has none.
    | (?:<[|｜]?|◁) (?P<name>(?:/\s?)?[^\W\d][\w:.\-▁ ]{0,40}?)
      (?:\s{1,9}\w+\s?=[^<>\n]{0,200})? (?:[|｜]?>|▷)
    | (?:(?<!\w)\[|\[(?=/))(?P<boxed>/?\w*(?:think|thought|reason)\w*)\](?!\()
    )
    """,
    re.VERBOSE | re.IGNORECASE,
)
_TAGS = re.compile(r"\A(?:\s*<[^<>\s]{1,40}>)+")
"""Before the answer, where a server or a model puts what is said between marks too."""


def without_reasoning(answer: str) -> str | None:
    """What a model says outside its reasoning; None where reasoning was begun and never ended."""
    said: list[str] = []
    position, is_open = 0, False
    for (start, end), closes in _marks(answer):
        if not is_open and closes:
            said = []
        elif not is_open:
            said.append(answer[position:start])
        position, is_open = end, not closes
    if is_open:
        return None
    return _TAGS.sub("", "\n".join([*said, answer[position:]]))


def _marks(answer: str) -> Iterator[tuple[tuple[int, int], bool]]:
    """Where each mark stands, and whether it closes reasoning."""
    text = "".join(
        " " * len(piece.text) if piece.is_block else piece.text for piece in pieces(answer)
    )
    for found in _MARK.finditer(text):
        name = (found["name"] or found["boxed"] or "").replace("_", " ")
        if _THOUGHT.search(name):
            yield found.span(), _CLOSES.search(name) is not None
        elif found["channel"] or found["analysis"]:
            yield found.span(), (found["channel"] or "").lower() == "final"
        elif found["final"]:
            yield found.span(), True
