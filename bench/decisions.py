"""How often the rule keeps what is no better, and how often it keeps what is.

    .venv/bin/python bench/decisions.py                     # 10,000 studies, some minutes
    .venv/bin/python bench/decisions.py --studies 1000 --pictures docs

Simulated studies with the engine's own ``judge``: normal scores, the noise known from three
trainings of the baseline only, as for real. *Null*: a hundred trials of identical code.
*Gain*: one trial of a study is better by so many standard deviations of one training. Beside
it the rule "keep if lower", which trains every candidate once. *Shorter*: trials whose code is
shorter and worse by so much, one alone and thirty in a row. *Wandering*: identical code where
scores follow the machine's speed, which comes in spells. Not simulated: pruning, contention,
the error of audits, and that a candidate's first training shares a seed with an incumbent's.
"""

import argparse
import math
import random
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import Executor, ProcessPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from statistics import fmean, variance
from typing import TypeVar

from nightlab.judging.case import Case
from nightlab.judging.decision import BASELINE_REPLICATES, Subject, judge
from nightlab.judging.scores import Noise, counted_scores, scores_of
from nightlab.records import Decision, Evaluation, Reason, Replicate, TrainingResult, Verdict

TRIALS = 100
GAINS = (0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 5.0)
PLACES = (0, 50)
"""Earlier trials of the study at which a gain is tried."""
LOSSES = (0.25, 0.5, 1.0, 1.5)
SHORTER_TRIALS = 30
PROMISED_GAIN = 2.0
"""What the rule is made to find: tried in as many studies as there are null ones."""
GAIN_SHARE = 0.4
"""Studies for each other gain, as a share of the null ones."""
WANDERING = ((0.8, 0.5), (0.8, 0.9), (0.5, 0.97))
"""Machines: their share of a score's variance, and how much of one training's the next one has."""
WANDERING_SHARE = 0.1
"""Studies on each of them, as a share of the null ones."""
TRAINED = TrainingResult()
Result = TypeVar("Result")


@dataclass(slots=True)
class Outcome:
    """What one trial came to."""

    kept: bool
    candidate_trainings: int
    incumbent_trainings: int


@dataclass(slots=True)
class SimulatedStudy:
    """A study whose scores are drawn instead of trained; the unit is sigma, lower is better."""

    draw: random.Random
    incumbent_mean: float = 0.0
    incumbent: list[Replicate] = field(default_factory=list)
    reference: list[Replicate] = field(default_factory=list)
    """Trainings of the code that was last kept as an improvement."""
    selected: int = 0
    """How many of the incumbent's trainings won it its place, and so tell nothing of noise."""
    squares: float = 0.0
    degrees: int = 0
    trials: int = 0
    against: int = 0
    since_trained: int = 0
    machine_share: float = 0.0
    memory: float = 0.0
    spell: float = 0.0
    """What the machine does to scores just now."""

    def begin(self) -> None:
        """Train the baseline."""
        self.incumbent = [self._train(0.0) for _ in range(BASELINE_REPLICATES)]
        self.reference = self.incumbent

    def trial(self, gain: float, *, saves_code: bool = False) -> Outcome:
        """Try code that is better than the incumbent by ``gain``, and maybe shorter."""
        mean, candidate, before = self.incumbent_mean - gain, list[Replicate](), len(self.incumbent)
        turn = 0
        while True:
            judged = judge(self._case(candidate, before, saves_code))
            if isinstance(judged, Decision):
                break
            if judged is Subject.CANDIDATE:
                candidate.append(self._train(mean, turn))
            else:
                self.incumbent.append(self._train(self.incumbent_mean, turn))
            turn += 1
        outcome = Outcome(
            judged.verdict is Verdict.KEEP, len(candidate), len(self.incumbent) - before
        )
        self.trials, self.against = self.trials + 1, self.against + 1
        self.since_trained = 0 if outcome.incumbent_trainings else self.since_trained + 1
        if outcome.kept:
            self._pool(self.incumbent[self.selected :])
            self.incumbent, self.incumbent_mean = candidate, mean
            self.against = self.since_trained = 0
            if judged.reason is Reason.IMPROVED:
                self.reference = candidate
            self.selected = len(candidate)
        return outcome

    def _case(self, candidate: Sequence[Replicate], before: int, saves_code: bool) -> Case:
        noise = None
        if self.degrees:
            sigma = math.sqrt(self.squares / self.degrees)
            noise = Noise(sigma_bpb=sigma, degrees_of_freedom=self.degrees)
        return Case(
            candidate=candidate,
            incumbent=self.incumbent,
            incumbent_anew=self.incumbent[before:],
            reference_bpb=fmean(counted_scores(self.reference)),
            other_noise=noise,
            earlier_trials=self.trials,
            earlier_against=self.against,
            earlier_since_trained=self.since_trained,
            saves_code=saves_code,
        )

    def _train(self, mean: float, turn: int = 0) -> Replicate:
        change = self.draw.gauss(0.0, math.sqrt(self.machine_share * (1 - self.memory**2)))
        self.spell = self.memory * self.spell + change
        score = self.draw.gauss(mean + self.spell, math.sqrt(1 - self.machine_share))
        # Not validated: that takes longer than the decision.
        evaluation = Evaluation.model_construct(val_bpb=score)
        seed = self.draw.getrandbits(60)
        return Replicate.model_construct(
            seed=seed, training=TRAINED, evaluation=evaluation, turn=turn
        )

    def _pool(self, replicates: Sequence[Replicate]) -> None:
        scores = scores_of(replicates)
        if len(scores) > 1:
            self.squares += variance(scores) * (len(scores) - 1)
            self.degrees += len(scores) - 1


def null_study(seed: int, machine_share: float = 0.0, memory: float = 0.0) -> list[Outcome]:
    """A hundred trials of identical code."""
    study = SimulatedStudy(random.Random(seed), machine_share=machine_share, memory=memory)
    study.begin()
    return [study.trial(0.0) for _ in range(TRIALS)]


def gain_study(gain: float, place: int, seed: int) -> Outcome:
    """One better trial after ``place`` that were not."""
    study = SimulatedStudy(random.Random(seed))
    study.begin()
    for _ in range(place):
        study.trial(0.0)
    return study.trial(gain)


def shorter_study(loss: float, seed: int) -> list[float]:
    """How much worse the incumbent is, by its true mean, after each of thirty shorter trials."""
    study, lost = SimulatedStudy(random.Random(seed)), []
    study.begin()
    for _ in range(SHORTER_TRIALS):
        study.trial(-loss, saves_code=True)
        lost.append(study.incumbent_mean)
    return lost


def lower_null_study(seed: int) -> int:
    """Keeps in a hundred trials of identical code under "keep if lower"."""
    draw, kept = random.Random(seed), 0
    best = draw.gauss(0, 1)
    for _ in range(TRIALS):
        score = draw.gauss(0, 1)
        if score < best:
            best, kept = score, kept + 1
    return kept


def lower_gain_study(gain: float, place: int, seed: int) -> bool:
    """Whether "keep if lower" keeps one better trial after ``place`` that were not."""
    draw = random.Random(seed)
    best = min(draw.gauss(0, 1) for _ in range(place + 1))
    return draw.gauss(-gain, 1) < best


def main() -> None:
    """Simulate, print the tables, draw the picture."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--studies", type=int, default=10_000)
    parser.add_argument("--pictures", type=Path)
    arguments = parser.parse_args()
    if arguments.pictures is not None:
        arguments.pictures.mkdir(parents=True, exist_ok=True)
    studies, few = arguments.studies, max(1, int(arguments.studies * GAIN_SHARE))
    with ProcessPoolExecutor() as pool:
        nulls = run_studies(pool, null_study, range(studies))
        lower = run_studies(pool, lower_null_study, range(studies))
        _print_nulls(nulls, lower)
        curves = _print_gains(pool, studies, few)
        _print_shorter(pool, few)
        _print_wandering(pool, max(1, int(studies * WANDERING_SHARE)))
    if arguments.pictures is not None:
        _draw(curves, nulls, lower, arguments.pictures)


def run_studies(pool: Executor, study: Callable[[int], Result], seeds: range) -> list[Result]:
    """Run a study for each seed, in chunks that keep every core at work."""
    return list(pool.map(study, seeds, chunksize=max(1, len(seeds) // 40)))


def _print_nulls(nulls: list[list[Outcome]], lower: list[int]) -> None:
    everything = [outcome for study in nulls for outcome in study]
    write = sys.stdout.write
    write(f"{len(nulls):,} studies of {TRIALS} trials of identical code\n\n")
    write("| rule | kept, of 100 trials | studies with any keep | trainings per trial |\n")
    write("|-|-|-|-|\n")
    own = fmean(outcome.candidate_trainings for outcome in everything)
    anew = fmean(outcome.incumbent_trainings for outcome in everything)
    write(
        f"| judge | {100 * fmean(outcome.kept for outcome in everything):.3f} "
        f"| {fmean(any(outcome.kept for outcome in study) for study in nulls):.1%} "
        f"| {own:.3f}, and {anew:.3f} of the incumbent |\n"
    )
    write(
        f"| keep if lower | {fmean(lower):.2f} | {fmean(kept > 0 for kept in lower):.1%} | 1 |\n\n"
    )


def _print_gains(
    pool: Executor, studies: int, few: int
) -> dict[int, list[tuple[float, float, float]]]:
    write = sys.stdout.write
    write("| gain in sigma | trial | kept | trainings | of the incumbent | kept if lower |\n")
    write("|-|-|-|-|-|-|\n")
    curves: dict[int, list[tuple[float, float, float]]] = {}
    for place in PLACES:
        for gain in GAINS:
            count = studies if gain == PROMISED_GAIN else few
            seeds = range(10**6, 10**6 + count)
            outcomes = run_studies(pool, partial(gain_study, gain, place), seeds)
            lower = run_studies(pool, partial(lower_gain_study, gain, place), seeds)
            kept, kept_lower = fmean(each.kept for each in outcomes), fmean(lower)
            curves.setdefault(place, []).append((gain, kept, kept_lower))
            write(
                f"| {gain:g} | {place + 1} | {kept:.1%} "
                f"| {fmean(each.candidate_trainings for each in outcomes):.2f} "
                f"| {fmean(each.incumbent_trainings for each in outcomes):.2f} "
                f"| {kept_lower:.1%} |\n"
            )
            sys.stdout.flush()
    return curves


def _print_shorter(pool: Executor, few: int) -> None:
    write = sys.stdout.write
    write(
        "\n| shorter, and worse in sigma by | kept, the first | lost by thirty in a row | in 19 of "
    )
    write("20 studies at most |\n|-|-|-|-|\n")
    for loss in LOSSES:
        seeds = range(2 * 10**6, 2 * 10**6 + few)
        studies = run_studies(pool, partial(shorter_study, loss), seeds)
        ends = sorted(lost[-1] for lost in studies)
        first = fmean(lost[0] > 0 for lost in studies)
        write(
            f"| {loss:g} | {first:.0%} | {fmean(ends):.2f} | {ends[int(0.95 * len(ends))]:.2f} |\n"
        )


def _print_wandering(pool: Executor, count: int) -> None:
    write = sys.stdout.write
    write(f"\n{count:,} studies of {TRIALS} trials of identical code, on machines that wander\n\n")
    write("| share of the variance that is the machine's | shared with the next training ")
    write("| kept, of 100 trials | studies with any keep |\n|-|-|-|-|\n")
    for machine_share, memory in WANDERING:
        study = partial(null_study, machine_share=machine_share, memory=memory)
        kept = [
            sum(outcome.kept for outcome in outcomes)
            for outcomes in run_studies(pool, study, range(count))
        ]
        write(
            f"| {machine_share:.0%} | {memory:.0%} | {100 * fmean(kept) / TRIALS:.3f} "
            f"| {fmean(number > 0 for number in kept):.1%} |\n"
        )
        sys.stdout.flush()


def _draw(
    curves: dict[int, list[tuple[float, float, float]]],
    nulls: list[list[Outcome]],
    lower: list[int],
    folder: Path,
) -> None:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 3.6), layout="constrained")
    power, luck = figure.subplots(1, 2)
    for (place, points), dots in zip(curves.items(), (":", "--"), strict=False):
        gains = [point[0] for point in points]
        power.plot(
            gains, [100 * point[1] for point in points], marker="o", label=f"trial {place + 1}"
        )
        power.plot(
            gains,
            [100 * point[2] for point in points],
            linestyle=dots,
            color="gray",
            label=f"keep if lower, trial {place + 1}",
        )
    power.axhline(80, color="lightgray", linewidth=1, zorder=0)
    power.set(
        xlabel="true gain, in standard deviations of one training",
        ylabel="kept (%)",
        title="How often a gain is kept",
        ylim=(0, 102),
    )
    power.legend(frameon=False, fontsize=8)
    so_far = [0.0] * TRIALS
    for study in nulls:
        first = next((index for index, outcome in enumerate(study) if outcome.kept), TRIALS)
        for index in range(first, TRIALS):
            so_far[index] += 100 / len(nulls)
    trials = range(1, TRIALS + 1)
    # The lowest of n + 1 equal scores is the first one with probability 1 / (n + 1).
    luck.plot(trials, so_far, label="judge")
    luck.plot(
        trials,
        [100 * (1 - 1 / (count + 1)) for count in trials],
        linestyle=":",
        color="gray",
        label="keep if lower",
    )
    luck.set(
        xlabel="trials of identical code",
        ylabel="studies with a false keep (%)",
        title="How often luck is kept",
        ylim=(0, 102),
    )
    luck.legend(frameon=False, fontsize=8)
    figure.savefig(folder / "decisions.png", dpi=130)


if __name__ == "__main__":
    main()
