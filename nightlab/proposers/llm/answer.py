"""An answer of a model, read: an idea, what it expects, its edits, or what is wrong with them."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from nightlab.proposers.edits import AppliedEdits, apply_edits, parse_edits, pieces
from nightlab.proposers.idea import named_head, read_idea
from nightlab.proposers.llm.elisions import elision
from nightlab.proposers.llm.reasoning import without_reasoning
from nightlab.records import Edit
from nightlab.source.contract import check_source

MOST_CHARACTERS = 2**18
"""Of an answer with its reasoning: twice what ``train.py`` may have."""
_OF_AN_END = re.compile(
    r"stop(?:ped)?|end(?:ed)?|eo[st]|turn|of|sequence|string|token|text|message|completed?|done"
    r"|finish(?:ed)?|endoftext|im|s|normal|natural|matched|str|reason|success|ok|tools?|use|calls?|function|none|null|un(?:known|specified)",
    re.IGNORECASE,
)
"""Words of finish reasons. An answer that ends in the call of a tool is whole, if of no use."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Draft:
    """An answer, read: an idea and its edits, or what keeps them from being used."""

    title: str
    hypothesis: str
    expected_bpb: float | None = None
    edits: tuple[Edit, ...] = ()
    source: str = ""
    """The incumbent's with the edits applied, where they do apply."""
    tolerated: tuple[int, ...] = ()
    """Blocks, from 1, that matched but for white space."""
    error: str | None = None


def read_answer(answer: str, finish_reason: str, source: str) -> Draft:
    """Read an answer and try its edits on the incumbent's source.

    A missing title is no reason to send an edit back: the hypothesis stands in for it. An answer
    that is none, because it was cut off or leaves code out, has no edits.
    """
    if len(answer) > MOST_CHARACTERS:
        too_long = (
            f"The answer may have {MOST_CHARACTERS} characters and has {len(answer)}: shorten it."
        )
        return Draft(title="An answer that is too long", hypothesis="", error=too_long)
    text = without_reasoning(answer)
    idea = read_idea(text or "")
    edits: tuple[Edit, ...] = ()
    applied = AppliedEdits(source=source)
    error = _why_no_answer(answer, text, finish_reason)
    if error is None and text is not None:
        parsed = parse_edits(text)
        error = parsed.error or _two_answers(text, parsed.edits)
        edits = parsed.edits if error is None else ()
    if edits:
        applied = apply_edits(source, edits)
        left_out = elision(edits) if applied.error is None else None
        error = applied.error or left_out or check_source(applied.source)
        edits = edits if left_out is None else ()
    return Draft(
        title=idea.title,
        hypothesis=idea.hypothesis,
        expected_bpb=idea.expected_bpb,
        edits=edits,
        source=applied.source if error is None else "",
        tolerated=applied.tolerated,
        error=error,
    )


def edits_of(answer: str) -> tuple[Edit, ...]:
    """The blocks of an answer outside its reasoning; none where one is wrong, or it is too long."""
    if len(answer) > MOST_CHARACTERS:
        return ()
    return parse_edits(without_reasoning(answer) or "").edits


def was_cut(finish_reason: str) -> bool:
    """Whether an answer ended otherwise than by its model's own end, as far as its server says.

    The words for an end are few and known; those for a limit, a filter or a failure are not.
    """
    words = re.findall(r"[A-Z]?[a-z]+|[A-Z]+", finish_reason)
    return not all(map(_OF_AN_END.fullmatch, words))


def _why_no_answer(answer: str, text: str | None, finish_reason: str) -> str | None:
    """One sentence where nothing of an answer may be used."""
    if text is not None and not text.strip():
        besides = " but for its reasoning" if answer.strip() else ""
        return f"The answer is empty{besides} (finish reason {finish_reason})."
    if was_cut(finish_reason):
        return (
            f"The answer was cut off (finish reason {finish_reason}), so nothing of it is used: "
            "answer again in full, and if it met a limit, make it shorter."
        )
    if text is None:
        return (
            "The answer begins its reasoning and never ends it, so none of it is an answer: end "
            "the reasoning, and answer after it."
        )
    return None


def _two_answers(text: str, edits: Sequence[Edit]) -> str | None:
    """One sentence where an answer begins anew, so that its first blocks may be a mere draft."""
    parts = pieces(text)
    blocks = [index for index, piece in enumerate(parts) if piece.is_block]
    between = parts[blocks[0] : blocks[-1]] if blocks else ()
    lines = (line for piece in between if not piece.is_block for line in piece.text.split("\n"))
    name = next(filter(None, map(named_head, lines)), None)
    if name is not None:
        return (
            f"The answer has a second {name} after its first block, so that it is not clear which "
            "blocks are meant: answer with one TITLE and the blocks of that idea alone."
        )
    if len({edit.search.strip() for edit in edits}) < len(edits):
        return (
            "The answer has two blocks with the same SEARCH, so that it is not clear which is "
            "meant: answer with one block for each place."
        )
    return None
