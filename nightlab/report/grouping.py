"""Repeats of one kind of study as one curve with a band, and the rows of a comparison's table."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import median

from nightlab.records import Frozen
from nightlab.report.comparison import Arm, Axis, ConfirmedGain, Moment, equal_seconds

_REPEAT = re.compile(r"(.+?)-\d+")


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """Studies that are drawn as one; a study by itself is a group of one."""

    name: str
    arms: tuple[Arm, ...]

    @property
    def confirmed(self) -> tuple[ConfirmedGain, ...]:
        """The confirmed gains of all its studies."""
        return tuple(gain for arm in self.arms for gain in arm.confirmed)


@dataclass(frozen=True, slots=True, kw_only=True)
class Curve:
    """A step curve with its band: lists of one length."""

    amounts: list[float]
    middle: list[float]
    low: list[float]
    high: list[float]


class Row(Frozen):
    """A line of the table. Of a group every number is the median of its studies."""

    name: str
    studies: int
    baseline_bpb: float
    best_bpb: float
    gain_bpb: float
    gain_range_bpb: tuple[float, float] | None = None
    """Least and greatest of a group."""
    equal_gain_bpb: float | None
    """Gain at the training seconds that every study of the comparison has spent."""
    confirmed_gain_bpb: float | None = None
    """The latest; of a group the median, where every study has one."""
    confirmed_interval_bpb: tuple[float, float] | None = None
    """95 % interval; of a group the least and the greatest gain."""
    held: int = 0
    """Studies whose confirmed gain holds."""
    trials: float
    keeps: float
    training_seconds: float
    cost_usd: float | None
    gain_per_hour: float | None


def alone(arms: Sequence[Arm]) -> tuple[Group, ...]:
    """Every study as a group of its own."""
    return tuple(Group(name=arm.name, arms=(arm,)) for arm in arms)


def grouped(arms: Sequence[Arm]) -> tuple[Group, ...]:
    """Studies whose names differ only in a number at the end, behind a dash, together."""
    found: dict[str, list[Arm]] = {}
    for arm in arms:
        match = _REPEAT.fullmatch(arm.name)
        found.setdefault(match[1] if match else arm.name, []).append(arm)
    return tuple(
        Group(name=name if len(members) > 1 else members[0].name, arms=tuple(members))
        for name, members in found.items()
    )


def best_curve(group: Group, axis: Axis) -> Curve | None:
    """The best score so far against what was spent; None where that is not known.

    Of one study the mean of its incumbent, with the standard error as the band; of several their
    median, from least to greatest. A study that ended early keeps its last score.
    """
    if len(group.arms) == 1:
        return _single(group.arms[0], axis)
    return _several(group, axis, lambda moment: moment.best_bpb)


def gain_curve(group: Group, axis: Axis) -> Curve | None:
    """The gain as claimed on ``val`` against what was spent, likewise; of one study no band."""
    return _several(group, axis, lambda moment: moment.gain_bpb)


def table_rows(arms: Sequence[Arm], groups: Sequence[Group]) -> list[Row]:
    """The rows of the table: each group of several before its studies."""
    seconds, rows = equal_seconds(arms), []
    for group in groups:
        members = [_row(arm, seconds) for arm in group.arms]
        if len(members) > 1:
            rows.append(_median_row(group.name, members))
        rows += members
    return rows


def _single(arm: Arm, axis: Axis) -> Curve | None:
    curve = Curve(amounts=[], middle=[], low=[], high=[])
    for moment in arm.moments:
        amount, error = moment.spent.on(axis), moment.error_bpb or 0.0
        if amount is None:
            return None
        curve.amounts.append(amount)
        curve.middle.append(moment.best_bpb)
        curve.low.append(moment.best_bpb - error)
        curve.high.append(moment.best_bpb + error)
    return curve


def _several(group: Group, axis: Axis, value: Callable[[Moment], float]) -> Curve | None:
    spent = [moment.spent.on(axis) for arm in group.arms for moment in arm.moments]
    amounts = sorted({amount for amount in spent if amount is not None})
    if None in spent:
        return None
    curve = Curve(amounts=[], middle=[], low=[], high=[])
    for amount in amounts:
        stood = [arm.at(axis, amount) for arm in group.arms]
        values = [value(moment) for moment in stood if moment is not None]
        if len(values) < len(stood):
            continue  # not all of them have a baseline yet
        curve.amounts.append(amount)
        curve.middle.append(median(values))
        curve.low.append(min(values))
        curve.high.append(max(values))
    return curve


def _row(arm: Arm, seconds: float) -> Row:
    confirmed, equal = arm.confirmed_gain, arm.at(Axis.SECONDS, seconds)
    return Row(
        name=arm.name,
        studies=1,
        baseline_bpb=arm.baseline_bpb,
        best_bpb=arm.best_bpb,
        gain_bpb=arm.gain_bpb,
        equal_gain_bpb=None if equal is None else equal.gain_bpb,
        confirmed_gain_bpb=confirmed.gain_bpb if confirmed else None,
        confirmed_interval_bpb=confirmed.interval_bpb if confirmed else None,
        held=int(confirmed is not None and confirmed.holds),
        trials=arm.spent.trials,
        keeps=arm.keeps,
        training_seconds=arm.spent.training_seconds,
        cost_usd=arm.spent.cost_usd,
        gain_per_hour=arm.gain_per_hour,
    )


def _median_row(name: str, rows: Sequence[Row]) -> Row:
    gains = [row.gain_bpb for row in rows]
    confirmed = [r.confirmed_gain_bpb for r in rows if r.confirmed_gain_bpb is not None]
    complete = len(confirmed) == len(rows)
    return Row(
        name=name,
        studies=len(rows),
        baseline_bpb=median(row.baseline_bpb for row in rows),
        best_bpb=median(row.best_bpb for row in rows),
        gain_bpb=median(gains),
        gain_range_bpb=(min(gains), max(gains)),
        equal_gain_bpb=_median([row.equal_gain_bpb for row in rows]),
        confirmed_gain_bpb=median(confirmed) if complete else None,
        confirmed_interval_bpb=(min(confirmed), max(confirmed)) if complete else None,
        held=sum(row.held for row in rows),
        trials=median(row.trials for row in rows),
        keeps=median(row.keeps for row in rows),
        training_seconds=median(row.training_seconds for row in rows),
        cost_usd=_median([row.cost_usd for row in rows]),
        gain_per_hour=_median([row.gain_per_hour for row in rows]),
    )


def _median(values: Sequence[float | None]) -> float | None:
    """The median of all of them; None where one is not known."""
    known = [value for value in values if value is not None]
    return median(known) if len(known) == len(values) else None
