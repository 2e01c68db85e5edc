"""The audit of claimed losses: which positions to ask again, and what the answers say.

Pure arithmetic; nothing here knows of sandboxes. Let ``c_i`` be the loss that a candidate
claimed for position i with the answer before its eyes, and ``y_i`` the loss of its answer
when it could not know it. The sum that is wanted, over all N counted positions, is

    sum y_i  =  sum c_i  +  sum d_i,        d_i = y_i - c_i,

of which the first sum is known and the second is estimated from few positions, drawn in
secret after the claims were committed. Position i is drawn with a known probability pi_i
above zero, so that the sum of d_i / pi_i over the drawn ones has the right expectation
whatever the claims are (Horvitz and Thompson, "A generalization of sampling without
replacement from a finite universe", JASA 1952). How the pi_i are chosen decides only how
fast a lie is found: half of the weight is spread evenly, half follows the suspicion

    s_i = max(0, reference_i + margin - c_i),

how much less the candidate claims to lose than a simple model of the text does
(``reference``), and a little more, so that stopping right at that model is suspicious too.
At most one position of a row is drawn, since a longer prefix of a row holds
the answer to a shorter one: rows by systematic sampling in random order with probability
proportional to size (Madow, "On the theory of systematic sampling, II", 1949), then one
position in each.
"""

import math
import secrets
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

EVEN_SHARE = 0.5
"""Share of the drawing probability that does not depend on what was claimed."""

SUSPICION_MARGIN_NATS = 1.0
"""Claims up to so much above the reference are suspicious."""

RESOLUTION_NATS = 5e-9
"""How well arithmetic settles the mean loss of a token, where answers and claims agree to the
last bit; where they do not, their own spread says more. Measured: decision 0006."""

_CERTAIN = 1 - 1e-9

Floats = npt.NDArray[np.floating[Any]]
Integers = npt.NDArray[np.integer[Any]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Design:
    """How likely every position is to be drawn, before it is said how many are."""

    row_weights: npt.NDArray[np.float64]
    """[rows], sums to 1."""
    within: npt.NDArray[np.float64]
    """[rows, T]: probability of each position, once its row is drawn; rows sum to 1, or to 0
    where nothing counts."""

    @property
    def drawable_rows(self) -> int:
        """Rows that have a position to draw."""
        return int(np.count_nonzero(self.row_weights))


@dataclass(frozen=True, slots=True, kw_only=True)
class Draw:
    """Positions that were drawn, at most one a row; arrays of one length."""

    rows: npt.NDArray[np.int64]
    positions: npt.NDArray[np.int64]
    probabilities: npt.NDArray[np.float64]
    """With which each position was to be drawn: the pi_i."""
    row_weights: npt.NDArray[np.float64]
    """Of each position's row."""
    certain: npt.NDArray[np.bool_]
    """Whether the row was certain to be drawn, so that only the position was left to chance."""

    def __len__(self) -> int:
        return len(self.rows)

    def take(self, places: npt.NDArray[np.int64]) -> "Draw":
        """The drawn positions at ``places``, in that order."""
        return Draw(
            rows=self.rows[places],
            positions=self.positions[places],
            probabilities=self.probabilities[places],
            row_weights=self.row_weights[places],
            certain=self.certain[places],
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Correction:
    """What is to be added to the sum of the claims, in nats."""

    nats: float
    standard_error: float | None
    """None with a single position."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tolerances:
    """How far honest answers may lie from the claims; past that a trial ends.

    Measured on honest models: docs/decisions/0006-audited-evaluation.md.
    """

    largest_nats: float = 0.5
    """No position may deviate by more."""
    large_nats: float = 0.1
    large_share: float = 0.005
    """At most this share of the positions may deviate by more than ``large_nats``."""
    mean_nats: float = 0.005
    """The mean absolute deviation may not be more: finds what gains a little everywhere."""


TOLERANCES = Tolerances()


def secret_generator() -> np.random.Generator:
    """A generator that nobody can foresee: seeded by the system, new for every draw."""
    return np.random.default_rng(secrets.randbits(256))


def design_draw(claims: Floats, reference: Floats, counted: npt.NDArray[np.bool_]) -> Design:
    """Weigh rows, and positions within rows: half evenly, half by suspicion, on both levels.

    The even half of a row is a share of *its* probability, so no claim anywhere makes any
    position less likely than ``EVEN_SHARE**2`` times its even chance; and where every row is
    drawn, than ``EVEN_SHARE`` times.

    Args:
        claims: claimed losses [rows, T].
        reference: what they are compared with, [rows, T].
        counted: the positions that enter the score, [rows, T]; at least one.
    """
    excess = reference + SUSPICION_MARGIN_NATS - claims
    suspicion = np.where(counted, np.maximum(0.0, excess), 0.0).astype(np.float64)
    even = counted.astype(np.float64)
    row_weights = _mixed(even.sum(axis=1), suspicion.sum(axis=1))
    return Design(row_weights=row_weights, within=_mixed_rows(even, suspicion))


def draw_positions(design: Design, count: int, random: np.random.Generator) -> Draw:
    """Draw positions, at most one a row.

    Args:
        design: the probabilities.
        count: how many; all rows that can be drawn, where there are fewer.
        random: from ``secret_generator``, where it matters.

    Returns:
        Positions in random order.
    """
    chances = inclusion_probabilities(design.row_weights, count)
    rows = _systematic(chances, random)
    places = design.within[rows].cumsum(axis=1)
    thresholds = random.random(len(rows)) * places[:, -1]
    positions = (places <= thresholds[:, None]).sum(axis=1)
    return Draw(
        rows=rows,
        positions=positions,
        probabilities=chances[rows] * design.within[rows, positions],
        row_weights=design.row_weights[rows],
        certain=chances[rows] >= _CERTAIN,
    )


def inclusion_probabilities(weights: Floats, count: int) -> npt.NDArray[np.float64]:
    """Probabilities in proportion to weights that sum to ``count``, none above 1.

    What would be above 1 is drawn for certain, and the rest shared out anew.

    Args:
        weights: [n], not negative.
        count: the sum; at most the number of weights above zero is reached.
    """
    chances = np.zeros(len(weights))
    open_ = weights > 0
    count = min(count, int(open_.sum()))
    while True:
        left = count - int((chances == 1.0).sum())
        if left <= 0:
            return chances
        if left == int(open_.sum()):
            chances[open_] = 1.0
            return chances
        shared = left * weights[open_] / weights[open_].sum()
        chances[open_] = shared
        certain = open_ & (chances >= _CERTAIN)
        if not certain.any():
            return chances
        chances[certain] = 1.0
        open_ = open_ & ~certain


def estimate_correction(draw: Draw, deviations: Floats, population: int) -> Correction:
    """Estimate the sum of all deviations from the drawn ones.

    Where rows were drawn by chance, the variance is that of drawing with replacement (Hansen
    and Hurwitz, "On the theory of sampling from finite populations", 1943), the usual one for
    systematic sampling in random order. Rows that were certain are strata with one position
    each; they are collapsed in pairs of like weight (Cochran, "Sampling Techniques", 5A.12).
    Both err a little on the large side.

    Args:
        draw: what was drawn.
        deviations: answered less claimed loss of each, in nats: [n].
        population: how many positions count.
    """
    expanded = np.asarray(deviations, dtype=np.float64) / draw.probabilities
    total = float(expanded.sum())
    if len(expanded) < 2:
        return Correction(nats=total, standard_error=None)
    certain = draw.certain if draw.certain.sum() > 1 else np.zeros(len(draw), dtype=bool)
    if len(draw) - certain.sum() == 1:
        certain = np.ones(len(draw), dtype=bool)
    by_weight = np.argsort(draw.row_weights[certain], kind="stable")
    variance = _collapsed_variance(expanded[certain][by_weight])
    variance += _with_replacement_variance(expanded[~certain])
    error = math.hypot(math.sqrt(variance), RESOLUTION_NATS * population)
    return Correction(nats=total, standard_error=error)


def breach_of_claims(deviations: Floats, tolerances: Tolerances = TOLERANCES) -> str | None:
    """Say how answers differ too much from claims, for people; None where they do not.

    Args:
        deviations: answered less claimed loss, in nats: [n].
        tolerances: what is let pass.
    """
    found = _breach(deviations, tolerances)
    if found is None:
        return None
    return (
        f"The claimed losses do not hold without the answers in view: {found}. Honest causes are "
        "attention that sees later tokens, normalisation over time or over the batch, and "
        "randomness at evaluation (dropout left on)."
    )


def breach_of_independence(deviations: Floats, tolerances: Tolerances = TOLERANCES) -> str | None:
    """The same for answers that were asked for twice, in another process and company.

    Args:
        deviations: second less first loss, in nats: [n].
        tolerances: what is let pass.
    """
    found = _breach(deviations, tolerances)
    if found is None:
        return None
    return (
        "A row's answer depends on what else the model was shown: asked again in a fresh process, "
        f"in another order, {found}. Honest causes are statistics over the batch, capacity limits "
        "shared between rows, state kept from row to row, and randomness at evaluation."
    )


def _breach(deviations: Floats, tolerances: Tolerances) -> str | None:
    """Which tolerance is exceeded, in the engine's words alone.

    The other side chooses by how much and how often, with text before its eyes, and the next prompt
    quotes this: a number of its making would carry that text out.
    """
    sizes = np.abs(deviations)
    if not len(sizes):
        return None
    if sizes.max() > tolerances.largest_nats:
        return (
            f"the largest deviation in a secret position is over {tolerances.largest_nats:g} nats"
        )
    if (sizes > tolerances.large_nats).sum() > tolerances.large_share * len(sizes):
        return (
            f"more than {tolerances.large_share:.1%} of the secret positions deviate by more than "
            f"{tolerances.large_nats:g} nats"
        )
    if sizes.mean() > tolerances.mean_nats:
        return f"the mean deviation is more than {tolerances.mean_nats:g} nats"
    return None


def _mixed(even: npt.NDArray[np.float64], suspicion: npt.NDArray[np.float64]) -> Any:
    """Probabilities [n] from even and suspicious weights."""
    if suspicion.sum() <= 0:
        return even / even.sum()
    return EVEN_SHARE * even / even.sum() + (1 - EVEN_SHARE) * suspicion / suspicion.sum()


def _mixed_rows(even: npt.NDArray[np.float64], suspicion: npt.NDArray[np.float64]) -> Any:
    """The same for every row of [rows, T]; a row without even weight gets zeros."""
    sums = suspicion.sum(axis=1, keepdims=True)
    share = np.where(sums > 0, EVEN_SHARE, 1.0)
    counts = even.sum(axis=1, keepdims=True)
    spread = share * even / np.maximum(counts, 1.0)
    return spread + (1 - share) * suspicion / np.where(sums > 0, sums, 1.0)


def _with_replacement_variance(expanded: npt.NDArray[np.float64]) -> float:
    """Variance of a sum of at least two draws, from the draws; 0 for none."""
    count = len(expanded)
    if not count:
        return 0.0
    return count / (count - 1) * float(((expanded - expanded.mean()) ** 2).sum())


def _collapsed_variance(expanded: npt.NDArray[np.float64]) -> float:
    """Variance of a sum over strata with a draw each, neighbours taken to be alike; 0 for none."""
    if len(expanded) % 2:
        triple, pairs = expanded[:3], expanded[3:]
    else:
        triple, pairs = expanded[:0], expanded
    differences = pairs[0::2] - pairs[1::2]
    return float((differences**2).sum()) + _with_replacement_variance(triple)


def _systematic(
    chances: npt.NDArray[np.float64], random: np.random.Generator
) -> npt.NDArray[np.int64]:
    """Draw each entry with its chance, a fixed number in all; in random order."""
    certain = np.flatnonzero(chances >= _CERTAIN)
    others = random.permutation(np.flatnonzero((chances > 0) & (chances < _CERTAIN)))
    count = round(float(chances[others].sum()))
    drawn = others[:0]
    if count:
        ends = chances[others].cumsum()
        ends *= count / ends[-1]
        drawn = others[np.searchsorted(ends, random.random() + np.arange(count), side="right")]
    return random.permutation(np.concatenate([certain, drawn])).astype(np.int64)
