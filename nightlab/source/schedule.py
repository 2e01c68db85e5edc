"""Does an edit of train.py touch the schedule, or what the reported loss means?

Where it does, the loss at a share of the budget says something else than it does for the
incumbent, and pruning has nothing to compare. The rule is made of names, so it is the same
every time and errs on the careful side: an edit that is wrongly found to touch the schedule
is trained to its end, that is all.

An edit touches the schedule where a changed line of code, or a function or class around it,
has a name with one of ``SCHEDULE_WORDS`` in it (``warm_up``, ``run.fraction``,
``"peak_lr"``); where a changed line reads a count of steps; and where it sets a constant that a
function of the schedule reads (``schedule`` reads ``FINAL_LEARNING_RATE_SHARE``). The values of
learning rates, sizes and shapes are not a schedule; what is saved instead of the weights that
trained (an average of them) is one, since its gain comes at the end. ``LOSS_WORDS`` are for the
loss: dropout, label smoothing and whatever else asks whether it trains raise what is reported, and
not the score. Comments, docstrings and layout are not looked at.
"""

import ast
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from nightlab.source.code_size import canonical_code
from nightlab.source.lines import opcodes
from nightlab.source.source_tree import UNREADABLE, parse_tree

SCHEDULE_WORDS = frozenset(
    {
        "anneal",
        "annealing",
        "average",
        "averaged",
        "averager",
        "averaging",
        "avg",
        "cool",
        "cooldown",
        "elapsed",
        "ema",
        "fraction",
        "lookahead",
        "peak",
        "polyak",
        "progress",
        "ramp",
        "remaining",
        "save",
        "saved",
        "schedule",
        "scheduled",
        "scheduler",
        "shadow",
        "swa",
        "warm",
        "warmdown",
        "warmup",
    }
)
LOSS_WORDS = frozenset(
    {
        "auxiliary",
        "drop",
        "dropout",
        "droppath",
        "entropy",
        "loss",
        "losses",
        "nll",
        "noise",
        "penalty",
        "report",
        "reporter",
        "smoothing",
        "training",
    }
)
COUNTERS = frozenset({"batch_number", "iteration", "share", "step", "steps"})
"""Names of what tells how far a training is; ``step`` as a variable only, for optimisers have a
method of that name."""

_NO_CLOCK = frozenset({"peak", "warm", "warmup"})
"""Words of the schedule that compilation and the like use too: what such functions read is none."""

_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+")


@dataclass(slots=True)
class _Line:
    text: str
    names: set[str] = field(default_factory=set)
    variables: set[str] = field(default_factory=set)
    holders: list[str] = field(default_factory=list)


def touched_schedule(before: str, after: str) -> str | None:
    """Name what an edit touches of the schedule or the loss; None where it leaves both alone.

    Args:
        before: the incumbent's source.
        after: the candidate's. A text that cannot be read may touch anything.
    """
    try:
        texts = canonical_code(before), canonical_code(after)
        old, new = map(parse_tree, texts)
    except UNREADABLE:
        return "what cannot be read"
    constants = _read_by_schedules(old) | _read_by_schedules(new)
    for line in _changed(*map(_lines, texts, (old, new))):
        touched = {name for name in (*line.names, *line.holders) if _is_of_schedule_or_loss(name)}
        touched |= (line.variables & COUNTERS) | (line.names & (COUNTERS - {"step"}))
        if not line.holders:
            touched |= line.names & constants
        if touched:
            return min(touched)
    return None


def _lines(text: str, tree: ast.Module) -> list[_Line]:
    # As the parser counts them: form feeds and the like in a text end none.
    lines = [_Line(line) for line in text.split("\n")]
    for node in ast.walk(tree):
        if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            for line in lines[node.lineno - 1 : node.end_lineno]:
                line.holders.append(node.name)
        at = getattr(node, "lineno", None)
        if at is None:
            continue
        lines[at - 1].names.update(_names(node))
        if isinstance(node, ast.Name | ast.arg):
            lines[at - 1].variables.update(_names(node))
    return lines


def _names(node: ast.AST) -> Iterator[str]:
    match node:
        case ast.Name(id=name) | ast.Attribute(attr=name) | ast.arg(arg=name):
            yield name
        case ast.keyword(arg=str(name)) | ast.alias(name=name):
            yield name
        case ast.Constant(value=str(text)) if text.isidentifier():
            yield text


def _changed(old: list[_Line], new: list[_Line]) -> Iterator[_Line]:
    steps = opcodes([line.text for line in old], [line.text for line in new])
    for what, old_from, old_to, new_from, new_to in steps:
        if what != "equal":
            yield from old[old_from:old_to]
            yield from new[new_from:new_to]


def _read_by_schedules(tree: ast.Module) -> set[str]:
    """Constants that functions read whose own name or parameters tell of the schedule."""
    constants: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            parameters = (each.arg for each in ast.walk(node.args) if isinstance(each, ast.arg))
            told = {node.name, *parameters}
            if _words(told) & (SCHEDULE_WORDS - _NO_CLOCK):
                read = (each.id for each in ast.walk(node) if isinstance(each, ast.Name))
                constants.update(name for name in read if name.isupper())
    return constants


def _is_of_schedule_or_loss(name: str) -> bool:
    return bool(_words([name]) & (SCHEDULE_WORDS | LOSS_WORDS))


def _words(names: Iterable[str]) -> set[str]:
    """The words of names in snake case and camel case alike, in small letters."""
    return {word.lower() for name in names for word in _WORD.findall(name)}
