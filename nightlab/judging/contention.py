"""Contention: replicates that trained while something else used their machine.

Under a budget in seconds a training that was slowed has seen less text, and its score is
worse for it. So what a replicate did in a second is compared with two records of its own
code, as the engine's clock and the candidate's reports give them:

- *With the other replicates*: its tokens per second against their median. Departures count
  only where they stand out: in a record that wanders anyhow, the noise floor, which is measured
  on the same machine, holds the wandering already. Of two that disagree nobody can say which is
  usual; but contention only slows, so the slower is taken for contended. Where a few in a row
  all lie apart from those before, on one side, the machine has changed: the record begins with
  them, and what departs from it and is older is outdated rather than contended.
- *With itself*: the rate in each quarter of its time against the median of the four. This needs
  no other replicate. It asks the same of every quarter, so a trainer that warms up for a few
  steps is not touched; one whose steps become dearer (a longer sequence, say) falls in all of
  its replicates, and what most of them do is the code's way.

Asking for replicates until one stands unmarked ends: of three or more at least one always does.
Candidates report their tokens themselves, so one can have its own replicates marked: what that is
worth to it stands in docs/security.md.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import median

from nightlab.records import CurvePoint, Replicate

DEPARTURE_SHARE = 0.10
"""Rates this close to the median of the code's replicates are its own; measured in
docs/decisions/0009-contention-and-token-budgets.md."""

PAIR_SHARE = 0.20
"""How much slower the slower one of two replicates may be: both may be off by a departure."""

OUTLYING_SPREADS = 3.0
"""How many typical deviations from the median stand out."""

CHANGED_AFTER = 3
"""Trainings in a row that lie apart from all before, after which the machine is another one."""

MAD_TO_SIGMA = 1.4826
"""Of normal noise, the standard deviation in median absolute deviations (Hampel, "The Influence
Curve and Its Role in Robust Estimation", 1974)."""

FALL_SHARE = 0.20
"""How far the rate may fall for a quarter of the training; measured likewise."""

QUARTERS = 4
POINTS_PER_QUARTER = 4
"""Below so many reports to a quarter, single steps would decide."""


def mark_contended(
    replicates: Sequence[Replicate], *, counts_tokens: bool = False
) -> tuple[Replicate, ...]:
    """Mark the replicates whose throughput departs from their own code's record.

    Marks are set anew each time: a replicate that looked odd beside one other may be the usual
    one beside two.

    Args:
        replicates: all of one commit, in the order in which they were trained; those that failed
            are left as they are.
        counts_tokens: whether the study has a token budget: then throughput does not enter
            scores, and nothing is marked.

    Returns:
        The same replicates in the same order, with ``contended`` and ``outdated`` set or cleared.
    """
    trained = _of_todays_machine(replicates)
    contended: set[int] = set()
    outdated: set[int] = set()
    if not counts_tokens:
        contended, outdated = _departing(trained)
        departed = contended | outdated
        contended |= _falling([each for each in trained if each.seed not in departed])

    def marked(each: Replicate) -> Replicate:
        is_outdated = each.precedes_change or each.seed in outdated
        marks = {"contended": each.seed in contended, "outdated": is_outdated}
        return each.model_copy(update=marks)

    return tuple(marked(each) if each.failure is None else each for each in replicates)


def first_since_change(replicates: Sequence[Replicate]) -> Replicate | None:
    """The first training of a code on the machine as it is now; None where it never changed.

    Args:
        replicates: all of one commit, in the order in which they were trained.
    """
    trained = _of_todays_machine(replicates)
    rates = _rates(trained)
    since = _last_change(list(rates.values()))
    if not since:
        return None
    seed = list(rates)[since]
    return next(each for each in trained if each.seed == seed)


def contention_sentence(
    replicates: Sequence[Replicate], seed: int, *, counts: bool = False
) -> str | None:
    """What to tell people of the replicate with ``seed``; None where it is not contended.

    Args:
        replicates: all of its commit, as ``mark_contended`` returned them.
        seed: of the replicate that was trained last.
        counts: whether its score counts all the same, since too many others are contended too.
    """
    found = next((each for each in replicates if each.seed == seed and each.contended), None)
    if found is None:
        return None
    why = _departure_clause(found, replicates) or _fall_clause(found)
    outcome = "It decides nothing"
    if counts:
        outcome = "It still counts, since most of this code's trainings are like it"
    return (
        f"The training with seed {seed} was contended: {why}. {outcome}; stop what else uses this "
        "machine, or begin a study that counts tokens (--budget-tokens)."
    )


def slowest_quarter(curve: Sequence[CurvePoint]) -> float | None:
    """Rate in the slowest quarter of a training, as a share of the median quarter's.

    Quarters are of the time from the first report to the last, so what comes before the first
    one (a step, and the report's own delay) is left out. None where reports are too few.
    """
    points = [(point.seconds, point.tokens) for point in curve if point.tokens is not None]
    if len(points) < QUARTERS * POINTS_PER_QUARTER + 1:
        return None
    first, last = points[0][0], points[-1][0]
    bounds = [first + (last - first) * index / QUARTERS for index in range(QUARTERS + 1)]
    tokens = [_tokens_at(points, moment) for moment in bounds]
    gains = [after - before for before, after in pairwise(tokens)]
    usual = median(gains)
    return min(gains) / usual if usual > 0 else None


def _departing(trained: Sequence[Replicate]) -> tuple[set[int], set[int]]:
    """Seeds of the replicates whose rate stands out: from the others', and of another machine."""
    rates = _rates(trained)
    if len(rates) < 2:
        return set(), set()
    since = _last_change(list(rates.values()))
    usual = _usual_rate(list(rates.values())[since:])
    departed = [usual.departs(rate) for rate in rates.values()]
    seeds = list(rates)
    return (
        {seed for seed, departs in zip(seeds[since:], departed[since:], strict=True) if departs},
        {seed for seed, departs in zip(seeds[:since], departed[:since], strict=True) if departs},
    )


def _last_change(rates: Sequence[float]) -> int:
    """Where the record begins: after the last change of the machine, or at the first rate."""
    since = 0
    for end in range(2 * CHANGED_AFTER, len(rates) + 1):
        earlier, latest = rates[since : end - CHANGED_AFTER], rates[end - CHANGED_AFTER : end]
        if len(earlier) < CHANGED_AFTER:
            continue
        before = _middle(earlier)
        is_slower = all(rate < before.rate - before.below for rate in latest)
        is_faster = all(rate > before.rate + before.above for rate in latest)
        if is_slower or is_faster:
            since = end - CHANGED_AFTER
    return since


@dataclass(frozen=True, slots=True)
class _Usual:
    """The rate of a code on its machine, and how far from it is no departure."""

    rate: float
    below: float
    above: float

    def departs(self, rate: float) -> bool:
        return not self.rate - self.below <= rate <= self.rate + self.above


def _usual_rate(rates: Sequence[float]) -> _Usual:
    """What two or more rates of one machine say is usual."""
    if len(rates) == 2:
        faster = max(rates)
        return _Usual(faster, below=PAIR_SHARE * faster, above=0.0)
    return _middle(rates)


def _middle(rates: Sequence[float]) -> _Usual:
    usual = median(rates)
    spread = MAD_TO_SIGMA * median(abs(rate - usual) for rate in rates)
    allowed = max(DEPARTURE_SHARE * usual, OUTLYING_SPREADS * spread)
    return _Usual(usual, below=allowed, above=allowed)


def _falling(trained: Sequence[Replicate]) -> set[int]:
    """Seeds of the replicates whose rate fell on the way, where that is not the code's way."""
    fell = {
        each.seed
        for each in trained
        if (share := _slowest_quarter(each)) is not None and share < 1 - FALL_SHARE
    }
    is_usual = len(trained) > 1 and 2 * len(fell) > len(trained)
    return set() if is_usual else fell


def _of_todays_machine(replicates: Sequence[Replicate]) -> list[Replicate]:
    """Those that ended, less those of a machine that is known to have been another one."""
    return [each for each in replicates if each.failure is None and not each.precedes_change]


def _slowest_quarter(replicate: Replicate) -> float | None:
    noted = replicate.training.slowest_quarter
    return slowest_quarter(replicate.training.curve) if noted is None else noted


def _rates(trained: Sequence[Replicate]) -> dict[int, float]:
    """Tokens per second by seed, where they are known."""
    rates = {each.seed: each.training.tokens_per_second for each in trained}
    return {seed: rate for seed, rate in rates.items() if rate}


def _tokens_at(points: Sequence[tuple[float, int]], moment: float) -> float:
    """Tokens at a moment between the first and the last point, on a line between its two."""
    for (start, fewer), (end, more) in pairwise(points):
        if moment <= end:
            share = (moment - start) / (end - start) if end > start else 1.0
            return fewer + share * (more - fewer)
    return points[-1][1]


def _departure_clause(found: Replicate, replicates: Sequence[Replicate]) -> str:
    trained = _of_todays_machine(replicates)
    rates = _rates(trained)
    if found.seed not in _departing(trained)[0]:
        return ""
    usual = _usual_rate(list(rates.values())[_last_change(list(rates.values())) :]).rate
    word = "slower" if rates[found.seed] < usual else "faster"
    share = abs(rates[found.seed] - usual) / usual
    return (
        f"{rates[found.seed]:,.0f} tokens per second, {share:.0%} {word} than the "
        f"{usual:,.0f} of the same code's other trainings"
    )


def _fall_clause(found: Replicate) -> str:
    share = _slowest_quarter(found)
    if share is None:
        return "its throughput departs from the same code's record"
    return f"for a quarter of its time it had only {share:.0%} of its own usual throughput"
