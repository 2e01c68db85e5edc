"""What is under way in a study, as its page shows it: the trainings, and the pairs in hand."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from statistics import fmean

from nightlab.records import CurvePoint, Pair
from nightlab.report.shapes import Scale, circle, element, line, nice_steps, path, text

WIDTH, HEIGHT = 510, 230
LEFT, RIGHT, TOP, BOTTOM = 44, 12, 12, 40
BUCKETS = 120
"""Points of a drawn curve: each the mean of what was reported in its share of the budget."""
STEEP_SHARE = 0.08
"""The beginning of the budget, where the loss falls so steeply that it would flatten the rest."""

MOST_LOSS = 1e6
"""In nats per token: candidates may report any number, and no chart holds a larger one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingUnderWay:
    """One training, while it runs or until its trial has its verdict."""

    seed: int
    whose: str
    """``incumbent``, ``baseline`` …; empty for the trial's own code."""
    stage: str
    """``starting up``, ``training``, ``scoring`` or ``done``."""
    budget_seconds: float | None
    """None before its clock has started."""
    budget_tokens: int | None
    name: str
    """Whose it is, for people."""
    points: tuple[CurvePoint, ...] = ()

    @property
    def share(self) -> float | None:
        """How much of the budget is gone, 0 to 1; None before its clock has started."""
        if self.budget_seconds is None:
            return None
        return min(1.0, _gone(self.points[-1], self)) if self.points else 0.0

    @property
    def told(self) -> str:
        """Where it stands, in words."""
        last = self.points[-1] if self.points else None
        if self.stage != "training" or last is None or self.budget_seconds is None:
            return self.stage
        spent = f"{last.seconds:.0f} of {self.budget_seconds:.0f} s"
        if self.budget_tokens is not None:
            spent = f"{last.tokens or 0:,} of {self.budget_tokens:,} tokens"
        loss = "" if last.loss is None else f", loss {last.loss:.3f}"
        rate = (
            f", {last.tokens / last.seconds:,.0f} tokens/s" if last.tokens and last.seconds else ""
        )
        return f"{spent}{loss}{rate}"


@dataclass(frozen=True, slots=True, kw_only=True)
class UnderWay:
    """What a session does at a moment."""

    number: int | None
    """Of the trial; None for what is the session's own."""
    step: str
    title: str
    detail: str
    seconds: float
    """How long the step has been going on."""
    trainings: tuple[TrainingUnderWay, ...] = ()
    twins: Mapping[int, Sequence[CurvePoint]]
    """By seed, the incumbent's finished trainings that are followed."""
    pairs: tuple[Pair, ...] = ()
    probability_better: float | None = None
    needed: float
    """Probability from which a change is kept."""
    notice: str = ""
    """What was said last."""
    written_at: datetime

    def charts(self) -> list[tuple[int, str]]:
        """The curves of each seed that has any, as drawings."""
        drawn = []
        for seed in dict.fromkeys(each.seed for each in self.trainings):
            trainings = [each for each in self.trainings if each.seed == seed]
            chart = draw_curves(trainings, self.twins.get(seed, ()))
            if chart:
                drawn.append((seed, chart))
        return drawn


def draw_curves(trainings: Sequence[TrainingUnderWay], twin: Sequence[CurvePoint]) -> str:
    """Loss along the budget of trainings with one seed, the incumbent's beside them.

    Args:
        trainings: with the same seed and the same budget.
        twin: the incumbent's training with this seed, where it is done; may be empty.

    Returns:
        An ``svg`` element; empty where no loss was reported yet.
    """
    first = trainings[0]
    curves = [("twin", _buckets(twin, first))]
    curves += [("twin" if each.whose else "own", _buckets(each.points, each)) for each in trainings]
    late = [loss for _, curve in curves for share, loss in curve if share >= STEEP_SHARE]
    known = late or [loss for _, curve in curves for _, loss in curve]
    if not known:
        return ""
    margin = 0.06 * (max(known) - min(known)) + 0.01
    up = Scale(min(known) - margin, max(known) + margin, HEIGHT - BOTTOM, TOP)
    end = float(first.budget_tokens or first.budget_seconds or 1.0)
    across = Scale(0.0, end, LEFT, WIDTH - RIGHT)
    unit = "training tokens" if first.budget_tokens else "seconds of the budget"
    parts = [*_axes(across, up, unit)]
    for kind, curve in curves:
        places = [(across(share * end), up(loss)) for share, loss in curve if loss <= up.high]
        if len(places) > 1:
            parts.append(path(places, f"curve {kind}"))
        if places and kind == "own":
            parts.append(circle(*places[-1], 3.5, "head"))
    label = "training loss of the candidate and of the incumbent with the same seed"
    box = f"0 0 {WIDTH} {HEIGHT}"
    return element("svg", "".join(parts), viewBox=box, role="img", aria_label=label)


def difference_bar(pair: Pair, pairs: Sequence[Pair]) -> str:
    """A bar from the middle: to the left where the candidate is better, to the right if worse."""
    most = max(abs(each.difference_bpb) for each in pairs) or 1.0
    length = 48 * pair.difference_bpb / most
    kind = "better" if length < 0 else "worse"
    x = 50 + min(0.0, length)
    bar = f'<rect x="{x:.1f}" y="3" width="{abs(length):.1f}" height="8" rx="2" class="{kind}"/>'
    return element("svg", bar + line(50, 0, 50, 14, "zero"), viewBox="0 0 100 14", class_="bar")


def _axes(across: Scale, up: Scale, unit: str) -> list[str]:
    parts = []
    for value, said in nice_steps(up.low, up.high, 5):
        parts.append(line(LEFT, up(value), WIDTH - RIGHT, up(value), "grid"))
        parts.append(text(LEFT - 6, up(value) + 4, said, "tick", "end"))
    for value, _ in nice_steps(across.low, across.high, 5):
        parts.append(text(across(value), HEIGHT - BOTTOM + 18, f"{value:,.0f}", "tick", "middle"))
    middle = (LEFT + WIDTH - RIGHT) / 2
    return [*parts, text(middle, HEIGHT - 6, f"loss along {unit}", "tick", "middle")]


def _gone(point: CurvePoint, training: TrainingUnderWay) -> float:
    """Share of the budget that is gone at a point; a twin's may know its seconds alone."""
    if training.budget_tokens is not None and point.tokens is not None:
        return point.tokens / training.budget_tokens
    return point.seconds / training.budget_seconds if training.budget_seconds else 0.0


def _buckets(points: Sequence[CurvePoint], training: TrainingUnderWay) -> list[tuple[float, float]]:
    """Mean loss in equal shares of the budget, each with where in the budget it lies, 0 to 1."""
    found: dict[int, list[tuple[float, float]]] = {}
    for point in points:
        share = _gone(point, training)
        if point.loss is None or not abs(point.loss) <= MOST_LOSS or not 0 <= share <= 1:
            continue
        found.setdefault(int(share * BUCKETS), []).append((share, point.loss))
    return [
        (fmean(share for share, _ in each), fmean(loss for _, loss in each))
        for _, each in sorted(found.items())
    ]
