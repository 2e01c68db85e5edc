"""Simulated nights: ideas, a machine that scores them, and rules for keeping them.

Ideas and scores are those of the notes on the first engine (issue 21, ``discovery/nights.py``).
Ideas have a true effect on the score, in standard deviations of one training (sigma). A score is
code + seed + rest; what trainings of one seed share is ``rho`` of the variance. The engine's rule
is its own code: ``judge``, on cases made of records.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np

from nightlab.judging import bank
from nightlab.judging.case import Case, learnt_from, noise_of
from nightlab.judging.decision import (
    BASELINE_REPLICATES,
    MOST_PAIRS,
    Subject,
    Wanted,
    judge,
    needed_gain_bpb,
)
from nightlab.judging.scores import lost_since_improvement_bpb
from nightlab.records import (
    Confinement,
    Decision,
    Evaluation,
    Forecast,
    Reason,
    Replicate,
    TrainingResult,
    TrialRecord,
    Verdict,
    utc_now,
)

KINDS = ("typical", "scarce", "heavy", "null")
BASELINE_BPB, SIGMA_BPB = 2.0, 0.01
STOPPED_COST = 0.35
"""Of a training that is stopped: from there on its end is foreseen, with an error."""
FORECAST_ERROR = 0.5
"""Of a stopped training's foreseen end, in standard deviations of a pair."""
STOP_CHANCE = 0.1
"""Chance that it would have gone on, up to which a training is stopped."""
SPARED_ONE_IN = 20
WHOLE = TrainingResult()
STARTED = Decision(verdict=Verdict.KEEP, reason=Reason.BASELINE, sentence="")
BLANK = TrialRecord(
    study="night",
    number=0,
    parent="",
    commit="",
    title="",
    proposer="",
    decision=STARTED,
    confinement=Confinement(rung="none"),
    started_at=utc_now(),
    finished_at=utc_now(),
)
"""What a record has besides is of no weight here."""


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """What a night is like."""

    kind: str = "typical"
    rho: float = 0.5
    trainings: int = 100
    stops: bool = True
    """Whether hopeless first trainings are stopped early."""
    lanes: int = 1
    """Trainings side by side; a night then has as many rounds as it has trainings with one."""
    preset_factor: float = 1.0
    """What the preset says of the noise, as a multiple of the truth."""
    drift: float = 0.0
    """How far the machine's scores wander in a hundred trainings: standard deviation, in sigma."""
    jump: float = 0.0
    """Likewise, of jumps that come twice in a hundred trainings."""

    @property
    def pair_noise(self) -> float:
        """Standard deviation of a pair's difference, in sigma."""
        return math.sqrt(2 * (1 - self.rho))


@dataclass(slots=True)
class Outcome:
    """What a night came to."""

    gain: float
    keeps: int = 0
    false: int = 0
    ideas: int = 0
    trainings: int = 0
    expected_false: float = 0.0


def draw_idea(random: np.random.Generator, kind: str) -> float:
    """The true gain of one idea in sigma; negative hurts."""
    if kind == "null":
        return 0.0
    draw = random.random()
    nothing = {"typical": 0.85, "scarce": 0.95, "heavy": 0.9}[kind]
    if draw < 0.6:
        return -random.exponential(4.0 if kind == "heavy" else 3.0)
    if draw < nothing:
        return random.normal(0, 0.3)
    if kind == "heavy":
        return random.pareto(1.5)
    return random.exponential(1.5 if kind == "typical" else 2.0)


class Machine:
    """Scores by code and seed, in sigma; lower is better."""

    def __init__(self, random: np.random.Generator, world: World) -> None:
        self._random, self._world = random, world
        self._shared: dict[int, float] = {}
        self._own = math.sqrt(1 - world.rho)
        self._shift = 0.0

    def score(self, mean: float, seed: int) -> float:
        """One training's."""
        if seed not in self._shared:
            self._shared[seed] = self._random.normal(0, math.sqrt(self._world.rho))
        if self._world.drift:
            self._shift += self._random.normal(0, self._world.drift / 10)
        if self._world.jump and self._random.random() < 0.02:
            self._shift += self._random.normal(0, self._world.jump)
        return mean + self._shift + self._shared[seed] + self._random.normal(0, self._own)


def keep_if_lower(
    random: np.random.Generator, world: World, *, fresh: bool = False, stops: bool = False
) -> Outcome:
    """The original's rule: one training of every idea; whatever is lower is kept.

    With one seed for all; or with fresh ones. The original stops nothing early: ``stops`` says what
    that alone would bring.
    """
    machine, mean, outcome = Machine(random, world), 0.0, Outcome(0.0, trainings=1)
    best, spent = machine.score(mean, 0), 1.0
    while spent < world.trainings:
        gain = draw_idea(random, world.kind)
        outcome.trainings += 1
        outcome.ideas += 1
        score = machine.score(mean - gain, outcome.ideas if fresh else 0)
        error = FORECAST_ERROR * world.pair_noise
        foreseen = best - score + random.normal(0, error) if stops else math.inf
        if _chance_below(foreseen, error) <= STOP_CHANCE and random.integers(SPARED_ONE_IN):
            spent += STOPPED_COST
            continue
        spent += 1
        if score < best:
            best, mean = score, mean - gain
            outcome.keeps += 1
            outcome.false += gain <= 0
    outcome.gain = -mean
    return outcome


@dataclass(slots=True)
class Study:
    """A study whose scores are drawn instead of trained, judged by the engine."""

    random: np.random.Generator
    world: World
    keep_probability: float
    mean: float = 0.0
    """The incumbent's true score."""
    spent: float = 0.0
    records: list[TrialRecord] = field(default_factory=list)
    outcome: Outcome = field(default_factory=lambda: Outcome(0.0))
    machine: Machine = field(init=False)
    preset_noise_bpb: float = field(init=False)

    def __post_init__(self) -> None:
        self.machine = Machine(self.random, self.world)
        self.preset_noise_bpb = SIGMA_BPB * self.world.pair_noise * self.world.preset_factor

    @property
    def commit(self) -> str:
        """The incumbent's."""
        kept = (each for each in reversed(self.records) if each.verdict is Verdict.KEEP)
        return next(kept).commit

    @property
    def is_over(self) -> bool:
        """Whether the night is."""
        return self.spent >= self.world.trainings

    def begin(self) -> None:
        """Train the baseline."""
        seeds = range(BASELINE_REPLICATES)
        self.spent += math.ceil(len(seeds) / self.world.lanes)
        own = [self._train(self.mean, seed) for seed in seeds]
        self._record("0", STARTED, own, [])

    def trial(self, gain: float, *, saves_code: bool = False) -> Decision | None:
        """Try code that is better than the incumbent by ``gain``; None where the night ends."""
        learnt, parent = learnt_from(self.records), self.commit
        lost = lost_since_improvement_bpb(self.records, parent)
        noise = noise_of(learnt.gains_bpb, self.preset_noise_bpb).pair_bpb
        is_checked = bank.is_due(self.records, parent, 0)
        own: list[Replicate] = []
        anew: list[Replicate] = []
        while True:
            twins = bank.bank_of(self.records, parent, "", anew, noise)
            if is_checked and not anew:
                twins.pop(0, None)
            case = Case(
                candidate=own,
                bank=twins,
                seeds=range(MOST_PAIRS),
                learnt=learnt,
                preset_noise_bpb=self.preset_noise_bpb,
                keep_probability=self.keep_probability,
                saves_code=saves_code,
                lost_bpb=lost,
                lanes=self.world.lanes,
            )
            judged = judge(case)
            if isinstance(judged, Decision):
                break
            if self.is_over:
                return None
            self._round(judged, case, gain, own, anew)
        number = str(len(self.records))
        self._record(number, judged, own, anew, parent)
        if judged.verdict is Verdict.KEEP:
            self.mean -= gain
        return judged

    def _round(
        self,
        wanted: Iterable[Wanted],
        case: Case,
        gain: float,
        own: list[Replicate],
        anew: list[Replicate],
    ) -> None:
        """Train what is wanted, side by side; it lasts as long as the longest."""
        longest, is_first = 0.0, not own
        for each in wanted:
            cost = 1.0
            if each.subject is Subject.INCUMBENT:
                anew.append(self._train(self.mean, each.seed))
            else:
                replicate = self._train(self.mean - gain, each.seed)
                if is_first and self.world.stops:
                    replicate = self._stopped(replicate, case)
                if replicate.failure is Reason.PRUNED:
                    cost = STOPPED_COST
                own.append(replicate)
            longest = max(longest, cost)
            self.outcome.trainings += 1
        self.spent += longest

    def _stopped(self, replicate: Replicate, case: Case) -> Replicate:
        """The training, or as it was stopped because its end was foreseen."""
        twin = case.bank.get(replicate.seed)
        if twin is None or twin.val_bpb is None or replicate.val_bpb is None:
            return replicate
        if self.random.integers(SPARED_ONE_IN) == 0:
            return replicate
        error = FORECAST_ERROR * SIGMA_BPB * self.world.pair_noise
        gain = twin.val_bpb - replicate.val_bpb + self.random.normal(0, error)
        if gain > 0:
            return replicate
        needed = needed_gain_bpb(case)
        chance = _chance_below(gain - needed, error)
        if chance > STOP_CHANCE:
            return replicate
        forecast = Forecast(
            share=STOPPED_COST,
            gap_bpb=-gain,
            expected_bpb=twin.val_bpb - gain,
            needed_bpb=twin.val_bpb - needed,
            chance=chance,
            pairs=0,
        )
        stopped = {"failure": Reason.PRUNED, "message": "Stopped.", "forecast": forecast}
        training = WHOLE.model_copy(update=stopped)
        return Replicate(seed=replicate.seed, training=training)

    def _train(self, mean: float, seed: int) -> Replicate:
        score = BASELINE_BPB + SIGMA_BPB * self.machine.score(mean, seed)
        return Replicate(seed=seed, training=WHOLE, evaluation=Evaluation(val_bpb=score))

    def _record(
        self,
        commit: str,
        decision: Decision,
        own: Sequence[Replicate],
        anew: Sequence[Replicate],
        parent: str | None = None,
    ) -> None:
        finished = {
            "parent": commit if parent is None else parent,
            "commit": commit,
            "decision": decision,
            "replicates": tuple(own),
            "incumbent_replicates": tuple(anew),
        }
        self.records.append(BLANK.model_copy(update=finished))


def _chance_below(distance: float, spread: float) -> float:
    return 0.5 * math.erfc(-distance / spread / math.sqrt(2))


def engine(random: np.random.Generator, world: World, *, keep_probability: float) -> Outcome:
    """The engine's own rule."""
    study = Study(random, world, keep_probability)
    study.begin()
    outcome = study.outcome
    while not study.is_over:
        gain = draw_idea(random, world.kind)
        decision = study.trial(gain)
        if decision is None:
            break
        outcome.ideas += 1
        if decision.verdict is Verdict.KEEP:
            outcome.keeps += 1
            outcome.false += gain <= 0
            outcome.expected_false += 1 - (decision.probability_better or 0.0)
    outcome.gain = -study.mean
    return outcome
