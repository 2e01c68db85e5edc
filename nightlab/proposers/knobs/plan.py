"""In which order knobs are moved: coarse, one at a time, then finer around what helped.

A fixed budget of seconds is spent best on the right size, and a size that is wrong by a factor
of two costs more than any rate: so sizes come first, smaller before larger (a smaller model
takes more steps in the same time), then choices, the batch, the rates, and the rest. Sizes go in
the order of the file, where an author names what matters most first; the others in one of the
study's seed. An opposite of what hurt clearly goes first of its kind, and nothing goes further
where that hurt. What was kept is taken further at once.

Then finer, several at once (Box and Wilson, 1951, call it response surfaces): single moves that
looked better, not surely enough to be kept, are made together, and where both sides of a value are
known, a parabola through them says where between them the best may lie. Together such leanings
make a difference that one pair can show.
"""

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, zip_longest

from nightlab.proposers.knobs.history import Attempt, History, Outcome
from nightlab.proposers.knobs.moves import (
    FINE,
    Kind,
    at_scale,
    direction_of,
    is_as_far,
    is_ordered,
    kind_of,
    scale_of,
    step,
    with_value,
)
from nightlab.proposers.knobs.space import is_near_value
from nightlab.source.knobs import Knob, Value

PATIENCE = 8
"""After so many trials without a keep, fine moves take turns with what is left of coarse ones."""
MOST_TOGETHER = 4
LEAST_LEANING = 0.15
"""Noises that a leaning must promise to be followed."""
TRUST = 0.5
"""Of what looked better once: how much of it is likely to be there."""
MATTERED = 1.0
"""Noises that a knob must have moved a score by, up or down, for finer steps alone."""
MOST_FINE = 6
"""Knobs that finer steps are made of."""


@dataclass(frozen=True, slots=True)
class Move:
    """An idea: new values of knobs, and why."""

    changes: dict[str, Value]
    why: str


@dataclass(frozen=True, slots=True)
class _Leaning:
    """Where a knob seems to want to go."""

    name: str
    value: Value
    gain: float
    """In noises."""


def plan(history: History, seed: int, number: int, *, counts_tokens: bool) -> Iterator[Move]:
    """The moves that a trial may make, the best first; some may have been tried.

    Where the budget counts tokens, a smaller model gains no steps.
    """
    yield from _further(history)
    kinds = {name: kind_of(knob) for name, knob in history.knobs.items()}
    moves = list(coarse_moves(history, seed, counts_tokens=counts_tokens))
    rest = [move for move in moves if kinds[next(iter(move.changes))] in (Kind.RATE, Kind.SHARE)]
    yield from (move for move in moves if move not in rest)
    finer = list(chain(_together(history), _fine(history)))
    if history.since_keep < PATIENCE:
        yield from chain(rest, finer)
        return
    turns = (finer, rest) if number % 2 else (rest, finer)
    for pair in zip_longest(*turns):
        yield from (move for move in pair if move is not None)


def coarse_moves(history: History, seed: int, *, counts_tokens: bool) -> Iterator[Move]:
    """One coarse step of one knob each, kind by kind."""
    chance = random.Random(f"{seed}/coarse")
    for kind in Kind:
        names = [name for name, knob in history.knobs.items() if kind_of(knob) is kind]
        first = {name: _first_direction(kind, chance, counts_tokens) for name in sorted(names)}
        if kind is not Kind.SIZE:
            names.sort()
            chance.shuffle(names)
        ways = [(name, sign * first[name]) for sign in (1, -1) for name in names]
        for name, direction in sorted(ways, key=lambda way: _rank(history, *way)):
            move = _coarse_move(history, name, direction)
            if move is not None:
                yield move


def _first_direction(kind: Kind, chance: random.Random, counts_tokens: bool) -> int:
    """Smaller first where that makes steps; the next choice; else either way, by chance."""
    either = chance.choice((1, -1))
    if kind in (Kind.SIZE, Kind.BATCH):
        return 1 if counts_tokens and kind is Kind.SIZE else -1
    return 1 if kind is Kind.CHOICE else either


def _rank(history: History, name: str, direction: int) -> int:
    """Before others of its kind where the opposite hurt, after them where that looked better."""
    opposite = history.from_here(name, -direction)
    if opposite is None:
        return 1
    return {Outcome.HURT: 0, Outcome.CRASHED: 0, Outcome.BETTER: 2}.get(opposite.outcome, 1)


def _coarse_move(history: History, name: str, direction: int) -> Move | None:
    knob = history.knobs[name]
    value = step(knob, direction)
    if value is None or history.was_standing(name, value) or history.has_hurt(name, value):
        return None
    if history.from_here(name, direction) is not None:
        return None
    return Move({name: value}, _reason(knob, direction, value))


_REASONS = {
    (Kind.SIZE, -1): "steps that cost less are more steps in the same time",
    (Kind.SIZE, 1): "more of it may learn more from each token than its steps cost",
    (Kind.BATCH, -1): "more steps, each of them noisier",
    (Kind.BATCH, 1): "fewer steps, each of them steadier",
    (Kind.RATE, -1): "one constant alone, by a factor, shows whether its scale is right",
    (Kind.RATE, 1): "one constant alone, by a factor, shows whether its scale is right",
}


def _reason(knob: Knob, direction: int, value: Value) -> str:
    kind = kind_of(knob)
    if kind is Kind.CHOICE:
        return f"Another choice of {knob.name}, alone, shows whether it suits this budget."
    told = _REASONS.get((kind, direction), "half of the way to the end of its range, alone")
    return f"{_how_far(knob, direction, value)} {knob.name}: {told}."


def _how_far(knob: Knob, direction: int, value: Value) -> str:
    if is_ordered(knob) and float(knob.value) > 0:
        ratio = float(value) / float(knob.value)
        if ratio in (0.5, 2.0):
            return "Half of" if ratio < 1 else "Twice"
    return "Much less of" if direction < 0 else "Much more of"


def _further(history: History) -> Iterator[Move]:
    """Go on the way that the last keep went, if that was a move of knobs, as far again."""
    ours = (each for each in reversed(history.attempts) if each.is_tuning)
    kept = next((each for each in ours if _stands(history, each)), None)
    if kept is None:
        return
    changes: dict[str, Value] = {}
    for name, (start, end) in kept.moved.items():
        knob = history.knobs[name]
        direction = direction_of(knob, start, end)
        if direction == 0:
            continue
        coarse = step(with_value(knob, start), direction)
        is_coarse = coarse is not None and is_as_far(knob, end, coarse, direction)
        value = step(knob, direction, 1.0 if is_coarse else FINE)
        if value is None or history.has_hurt(name, value):
            continue
        if history.from_here(name, direction) is None:
            changes[name] = value
    if changes:
        yield Move(changes, "The same way helped and was kept: further.")


def _stands(history: History, attempt: Attempt) -> bool:
    """Whether it is the keep that the incumbent's values come from."""
    return attempt.outcome is Outcome.KEPT and all(
        is_near_value(history.knobs[name], history.knobs[name].value, end)
        for name, (_, end) in attempt.moved.items()
    )


def _together(history: History) -> Iterator[Move]:
    """Several leanings at once: all, then in twos, then each alone if that was not tried here."""
    found = sorted(_leanings(history), key=lambda leaning: (-leaning.gain, leaning.name))
    best = found[:MOST_TOGETHER]
    groups: list[Sequence[_Leaning]] = [best, best[:2], best[2:], *((each,) for each in best)]
    for group in filter(None, groups):
        names = ", ".join(each.name for each in group)
        why = (
            "What was measured of each of these alone leans this way, not surely enough to be "
            "kept; together it may show."
            if len(group) > 1
            else f"What was measured of {names} leans this way, not surely enough to be kept."
        )
        yield Move({each.name: each.value for each in group}, why)


def _leanings(history: History) -> Iterator[_Leaning]:
    for name, knob in history.knobs.items():
        seen = history.seen_from_here(name)
        better = min(seen, key=lambda each: each[1], default=None)
        if better is not None and better[1] < 0:
            leaning = _Leaning(name, better[0], -better[1] * TRUST)
        else:
            between = _parabola(knob, seen)
            if between is None:
                continue
            leaning = _Leaning(name, *between)
        if leaning.gain >= LEAST_LEANING and not history.has_hurt(name, leaning.value):
            yield leaning


def _parabola(knob: Knob, seen: Sequence[tuple[Value, float]]) -> tuple[Value, float] | None:
    """The lowest point between the nearest values on both sides, and the gain there, in noises."""
    here = scale_of(knob, knob.value)
    if here is None:
        return None
    sides: dict[bool, tuple[float, float]] = {}
    for other, loss in seen:
        place = scale_of(knob, other)
        if place is None or place == here:
            continue
        far = place - here
        if (far > 0) not in sides or abs(far) < abs(sides[far > 0][0]):
            sides[far > 0] = (far, loss)
    if len(sides) < 2:
        return None
    (up, loss_up), (down, loss_down) = sides[True], sides[False]
    bend = (loss_up / up - loss_down / down) / (up - down)
    slope = loss_up / up - bend * up
    if bend <= 0:
        return None
    lowest = min(max(-slope / (2 * bend), down), up)
    value = at_scale(knob, here + lowest)
    if value is None or is_near_value(knob, value, knob.value):
        return None
    return value, -(bend * lowest**2 + slope * lowest)


def _fine(history: History) -> Iterator[Move]:
    """Half a coarse step of each knob that mattered, the way that is not known to hurt first."""
    mattered = [
        name
        for name, noises in sorted(history.importance.items(), key=lambda each: -each[1])
        if noises >= MATTERED
    ]
    ways = [(name, way) for name in mattered[:MOST_FINE] for way in (1, -1)]
    for name, direction in sorted(ways, key=lambda way: _loss(history, *way)):
        value = step(history.knobs[name], direction, FINE)
        if value is not None and not history.has_hurt(name, value):
            why = f"{name} mattered: a finer step around the value that stands."
            yield Move({name: value}, why)


def _loss(history: History, name: str, direction: int) -> float:
    known = history.from_here(name, direction)
    if known is None:
        return 0.0
    return known.noises if known.noises is not None else float("inf")
