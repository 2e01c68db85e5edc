"""Knobs: the constants of ``train.py`` that declare in a comment what they may be set to.

Only plain assignments of literals to UPPERCASE names at the top level count, and the
comment on the line where the value ends begins with one of::

    # 2..12              a range with both ends; whole numbers if all three are whole
    # 1e-4..1e-1 log     better searched by factors than by differences
    # 64..512 step 64    steps from the low end
    # one of "L", "SL"   any of these Python literals

and may go on with ``; explanation``. A comment of another form makes no knob, nor do numbers
beyond ``LARGEST`` or ``SMALLEST``, nor a step that divides its range into more than ``MOST_STEPS``.
The source is read as text and never run: it may come from a model.

The comment of any other constant may tie a knob to it, in one of these words::

    # channels of a head; WIDTH must be a multiple of it
    # rows at a time; TOTAL_BATCH_TOKENS must be a multiple of its tokens
"""

import ast
import math
import re
import tokenize
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import TypeGuard

from nightlab.errors import UsageError
from nightlab.settings import TRAINER_FILE
from nightlab.source.source_tree import UNREADABLE, parse_expression, parse_tree, tokens_of

Value = bool | int | float | str

LARGEST = 2.0**53
"""Whole numbers up to here are exact as floats, which is what searches them."""
SMALLEST = 1e-300
"""Smaller numbers other than 0 lose their digits."""
LONGEST_NUMBER = 40
"""Characters; more are a model that repeats itself."""
MOST_STEPS = 1_000_000
LONGEST_COMMENT = 1_000
"""Characters; more are no declaration."""
MOST_SEMICOLONS = 8
"""In the literals of one."""

# Each character can be read in one way only. The dots between two numbers are none of theirs.
_NUMBER = r"[+-]?(?:\d[\d_]*+(?:\.(?!\.(?!\.))[\d_]*+)?|\.\d++)(?:[eE][+-]?\d++)?"
_RANGE = re.compile(
    rf"#\s*(?P<low>{_NUMBER})\s*\.\.\s*(?P<high>{_NUMBER})"
    rf"(?:\s+(?P<log>log)|\s+step\s+(?P<step>{_NUMBER}))?\s*(?:;(?P<explanation>.*))?"
)
_CHOICE = re.compile(r"#\s*one of\s+(?P<rest>.+)")
_TIE = re.compile(r"\b(?P<knob>[A-Z]\w*) must be a multiple of (?P<of>it|its tokens)(?!\w)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Divisor:
    """A constant that a knob's value must be a whole multiple of."""

    name: str
    value: int
    """Above 0."""
    is_rows: bool = False
    """Whether it counts rows, of which the knob counts the tokens: times the sequence length."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Knob:
    """A constant, its value, and what it may be: ``choices``, or ``low`` to ``high``."""

    name: str
    value: Value
    line: int
    """Line number, from 1."""
    low: int | float | None = None
    high: int | float | None = None
    log: bool = False
    step: int | float | None = None
    choices: tuple[Value, ...] | None = None
    explanation: str = ""
    divisor: Divisor | None = None

    @property
    def is_integer(self) -> bool:
        """Whether it is a range of whole numbers."""
        return isinstance(self.low, int)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Constant:
    name: str
    value: Value
    node: ast.expr


def read_knobs(source: str) -> dict[str, Knob]:
    """Read the declared knobs, in the order of the file; a source that is no Python has none."""
    try:
        return knobs_in(parse_tree(source), source)
    except UNREADABLE:
        return {}


def knobs_in(tree: ast.Module, source: str) -> dict[str, Knob]:
    """The same of a text whose syntax tree is known."""
    constants = _constants_in(tree)
    # Positions of nodes count bytes of UTF-8.
    lines = source.encode().splitlines() if constants else []
    knobs: dict[str, Knob] = {}
    divisors: dict[str, Divisor] = {}
    for constant in constants.values():
        comment = _comment_after(constant.node, lines)
        knob = _declared(constant, comment)
        if knob is not None:
            knobs[knob.name] = knob
        divisors.update(_ties(constant, comment))
    return {name: replace(knob, divisor=divisors.get(name)) for name, knob in knobs.items()}


def is_number(value: object) -> TypeGuard[int | float]:
    """Whether a value is a number; a switch is none."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def knob_values(source: str) -> dict[str, Value]:
    """The values of the declared knobs; a source that is no Python has none."""
    return {name: knob.value for name, knob in read_knobs(source).items()}


def set_knobs(source: str, values: Mapping[str, Value]) -> str:
    """Write new values into top-level constants, knobs or not; all else stays as it is.

    Raises:
        UsageError: a name is not a top-level constant of the source.
    """
    constants = _constants(source)
    unknown = [name for name in values if name not in constants]
    if unknown:
        raise UsageError(
            f"{TRAINER_FILE} must assign a literal to {', '.join(unknown)} once at its top level "
            "for it to be set, and does not: put the constant back, or leave it out of the preset."
        )
    if not values:
        return source
    # Positions of nodes count bytes of UTF-8, hence bytes; from the end, so that they hold.
    lines = source.encode().splitlines(keepends=True)
    for constant in sorted((constants[name] for name in values), key=_place, reverse=True):
        node = constant.node
        first, last = node.lineno - 1, (node.end_lineno or node.lineno) - 1
        head = lines[first][: node.col_offset]
        tail = lines[last][node.end_col_offset or 0 :]
        literal = _literal(values[constant.name], constant.value)
        lines[first : last + 1] = [head + literal.encode() + tail]
    return b"".join(lines).decode()


def _place(constant: _Constant) -> tuple[int, int]:
    return constant.node.lineno, constant.node.col_offset


def _constants(source: str) -> dict[str, _Constant]:
    """Top-level UPPERCASE names to which a literal is assigned, once."""
    try:
        return _constants_in(parse_tree(source))
    except UNREADABLE:
        return {}


def _constants_in(tree: ast.Module) -> dict[str, _Constant]:
    found: dict[str, list[_Constant]] = {}
    for node in tree.body:
        match node:
            case (
                ast.Assign(targets=[ast.Name(id=name)], value=value)
                | ast.AnnAssign(target=ast.Name(id=name), value=ast.expr() as value)
            ) if name.isupper():
                literal = _value_of(value)
                if literal is not None:
                    constant = _Constant(name=name, value=literal, node=value)
                    found.setdefault(name, []).append(constant)
    return {name: constants[0] for name, constants in found.items() if len(constants) == 1}


def _value_of(node: ast.expr) -> Value | None:
    try:
        value = ast.literal_eval(node)
    except UNREADABLE:
        return None
    return value if isinstance(value, bool | int | float | str) else None


def _comment_after(node: ast.expr, lines: Sequence[bytes]) -> str:
    """The comment at the end of the line on which a value ends; empty where it is too long."""
    rest = lines[(node.end_lineno or node.lineno) - 1][node.end_col_offset or 0 :].decode()
    comment = ""
    # What stands between may be the beginning of something longer.
    with suppress(*UNREADABLE):
        for token in tokens_of(rest.lstrip()):
            comment = token.string if token.type == tokenize.COMMENT else comment
    return comment if len(comment) <= LONGEST_COMMENT else ""


def _declared(constant: _Constant, comment: str) -> Knob | None:
    if match := _CHOICE.fullmatch(comment):
        return _with_choices(constant, match["rest"])
    match = _RANGE.fullmatch(comment)
    value = constant.value
    if match is None or not is_number(value):
        return None
    if any(len(match[part] or "") > LONGEST_NUMBER for part in ("low", "high", "step")):
        return None
    low, high = _number(match["low"]), _number(match["high"])
    step = _number(match["step"]) if match["step"] else None
    if not all(_is_searchable(part) for part in (value, low, high, step or 0)):
        return None
    whole = all(isinstance(part, int) for part in (value, low, high, step) if part is not None)
    if not whole:
        low, high, step = float(low), float(high), None if step is None else float(step)
    fits = low < high and (step is None or 0 < (high - low) / MOST_STEPS <= step <= high - low)
    if not fits or (match["log"] and not (low > 0 and math.isfinite(high / low))):
        return None
    return Knob(
        name=constant.name,
        value=value if whole else float(value),
        line=constant.node.lineno,
        low=low,
        high=high,
        log=bool(match["log"]),
        step=step,
        explanation=(match["explanation"] or "").strip(),
    )


def _ties(constant: _Constant, comment: str) -> dict[str, Divisor]:
    """The knobs whose values a constant divides, as its comment says."""
    value = constant.value
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        return {}
    return {
        found["knob"]: Divisor(name=constant.name, value=value, is_rows=found["of"] == "its tokens")
        for found in _TIE.finditer(comment)
    }


def _number(text: str) -> int | float:
    cleaned = text.replace("_", "")
    return int(cleaned) if re.fullmatch(r"[+-]?\d+", cleaned) else float(cleaned)


def _is_searchable(value: Value) -> bool:
    """Whether a value can be searched, stored and shown."""
    if isinstance(value, str):
        return not any("\ud800" <= character <= "\udfff" for character in value)
    return value == 0 or SMALLEST <= abs(value) <= LARGEST  # which no NaN is


def _with_choices(constant: _Constant, rest: str) -> Knob | None:
    """Read literals up to the first ``;`` that is not inside one of them."""
    value = constant.value
    parts = rest.split(";")
    for count in range(1, min(len(parts), MOST_SEMICOLONS) + 1):
        try:
            text = f"({';'.join(parts[:count]).strip()},)"
            choices = ast.literal_eval(parse_expression(text))
        except UNREADABLE:
            continue
        known = [choice for choice in choices if isinstance(choice, bool | int | float | str)]
        if len(known) < max(2, len(choices)) or not all(map(_is_searchable, (*known, value))):
            return None
        return Knob(
            name=constant.name,
            value=value,
            line=constant.node.lineno,
            choices=tuple(known),
            explanation=";".join(parts[count:]).strip(),
        )
    return None


def _literal(value: Value, old: Value) -> str:
    """A value as Python, written as the constant was: a float stays one, quotes are double."""
    if isinstance(value, str):
        escaped = value.encode("unicode_escape").decode().replace('"', '\\"')
        return f'"{escaped}"'
    if isinstance(old, float) and isinstance(value, int) and not isinstance(value, bool):
        value = float(value)
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) >= 10_000:
        return f"{value:_}"
    return repr(value)
