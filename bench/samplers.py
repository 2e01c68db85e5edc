"""Which sampler moves the knobs best: the real trainer at a short budget, equal training seconds.

    .venv/bin/python bench/samplers.py --results samplers.jsonl     # about 35 minutes

Every arm searches from the same start: the trainer as it stands with three of its knobs put
wrong. The arms take turns, trial by trial, so that whatever else the machine does meets all alike;
repeats differ in their seeds. A trial trains once, and the lower score becomes the incumbent;
in the end each arm's incumbent is measured again with fresh seeds, and that is its score.
Finished trials stand in the results file, so that the same command goes on after a stop.
"""

import argparse
import json
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from statistics import fmean, median
from typing import Any

from bare_trials import BareTrials

from nightlab.proposers import Brief, KnobProposer, apply_edits, knob_values, read_knobs, set_knobs
from nightlab.proposers.knob_proposer import STARTUP_TRIALS
from nightlab.records import (
    Confinement,
    Decision,
    Reason,
    TrialRecord,
    Verdict,
    utc_now,
)

WRONG = {"MATRIX_LEARNING_RATE": 0.012, "EMBEDDING_LEARNING_RATE": 0.4, "WARM_DOWN_SHARE": 0.15}
"""How the start differs from the trainer: there is something to find."""
FRESH_SEEDS = (9_001, 9_002, 9_003)
TRAINER = Path(__file__).resolve().parents[1] / "trainer" / "train.py"

Propose = Callable[[Brief], str]
"""From a brief to the candidate's source."""


def main() -> None:
    """Run all arms in turn and print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--results", type=Path, required=True, help="JSON lines, one a training")
    parser.add_argument("--trials", type=int, default=14, help="of each arm and repeat")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--budget-seconds", type=float, default=5.0)
    parser.add_argument("--arms", nargs="*", default=list(arms()), choices=list(arms()))
    parser.add_argument("--picture", type=Path)
    arguments = parser.parse_args()
    known = read_results(arguments.results)
    with tempfile.TemporaryDirectory() as folder:
        trials = BareTrials(Path(folder), arguments.budget_seconds)
        bench = Bench(trials, arguments.results, known)
        searches = [
            Search(name, repeat, arms()[name], bench)
            for repeat in range(arguments.repeats)
            for name in arguments.arms
        ]
        for number in range(arguments.trials + 1):
            for search in searches:
                search.step(number)
        for search in searches:
            search.measure_again()
    print_table(searches)
    if arguments.picture is not None:
        draw(searches, arguments.picture)


def arms() -> dict[str, Propose]:
    """The ways of moving knobs that are compared."""
    import optuna

    def moves(sampler: Callable[[int], Any]) -> Propose:
        proposer = KnobProposer(sampler)
        return lambda brief: (
            apply_edits(brief.incumbent_source, proposer.propose(brief).edits).source
        )

    return {
        "random search": random_search,
        "random moves": moves(lambda seed: optuna.samplers.RandomSampler(seed=seed)),
        "TPE moves": moves(
            lambda seed: optuna.samplers.TPESampler(seed=seed, n_startup_trials=STARTUP_TRIALS)
        ),
        "TPE moves, joint": moves(
            lambda seed: optuna.samplers.TPESampler(
                seed=seed, n_startup_trials=STARTUP_TRIALS, multivariate=True, group=True
            )
        ),
        "GP moves": moves(
            lambda seed: optuna.samplers.GPSampler(seed=seed, n_startup_trials=STARTUP_TRIALS)
        ),
    }


def random_search(brief: Brief) -> str:
    """Draw every knob anew over its whole range, as plain random search does."""
    import random

    chance = random.Random(f"{brief.seed}/{brief.number}")
    values: dict[str, Any] = {}
    for name, knob in read_knobs(brief.incumbent_source).items():
        if knob.choices is not None:
            values[name] = chance.choice(knob.choices)
        elif knob.low is not None and knob.high is not None and knob.log:
            share = chance.random()
            values[name] = float(f"{knob.low * (knob.high / knob.low) ** share:.3g}")
        elif isinstance(knob.low, int) and isinstance(knob.high, int):
            values[name] = chance.randrange(knob.low, knob.high + 1, int(knob.step or 1))
        elif knob.low is not None and knob.high is not None:
            values[name] = float(f"{chance.uniform(knob.low, knob.high):.3g}")
    return set_knobs(brief.incumbent_source, values)


@dataclass(slots=True)
class Bench:
    """Trainings, and the file that remembers them."""

    trials: BareTrials
    results: Path
    known: dict[str, dict[str, Any]]

    def measure(self, key: str, source: str, seed: int) -> dict[str, Any]:
        """Train and score, unless the file knows."""
        if key not in self.known:
            trained, scored = self.trials.measure(source, seed)
            found = {
                "key": key,
                "val_bpb": scored.val_bpb if scored is not None else None,
                "failure": trained.failure or (scored.failure if scored is not None else None),
                "training_seconds": trained.training_seconds or 0.0,
                "source": source,
            }
            with self.results.open("a") as file:
                file.write(json.dumps(found) + "\n")
            self.known[key] = found
            print(f"{key}: {found['val_bpb'] or found['failure']}", file=sys.stderr, flush=True)
        return self.known[key]


@dataclass(slots=True)
class Search:
    """One arm with one seed."""

    arm: str
    repeat: int
    propose: Propose
    bench: Bench
    records: list[TrialRecord] = field(default_factory=list)
    incumbent: str = ""
    best: list[float] = field(default_factory=list)
    """The incumbent's score after each trial, as it was chosen."""
    training_seconds: float = 0.0
    score: float = 0.0
    """Of the last incumbent, by fresh seeds."""

    def step(self, number: int) -> None:
        """The start, or one trial."""
        source = self._start() if number == 0 else self.propose(self._brief(number))
        found = self.bench.measure(f"{self.arm}/{self.repeat}/{number}", source, number)
        self.training_seconds += found["training_seconds"]
        score = found["val_bpb"]
        kept = score is not None and (not self.best or score < self.best[-1])
        if kept:
            self.incumbent = source
        self.best.append(score if kept else self.best[-1])
        self.records.append(self._record(number, source, found, kept))

    def measure_again(self) -> None:
        """Score the incumbent by seeds that did not choose it."""
        scores = [
            self.bench.measure(f"{self.arm}/{self.repeat}/fresh {seed}", self.incumbent, seed)[
                "val_bpb"
            ]
            for seed in FRESH_SEEDS
        ]
        self.score = fmean(scores)

    def _start(self) -> str:
        stands = TRAINER.read_text(encoding="utf-8")
        return set_knobs(stands, {**self.bench.trials.sizes.knobs, **WRONG})

    def _brief(self, number: int) -> Brief:
        trials = self.bench.trials
        return Brief(
            study=self.arm,
            number=number,
            seed=self.repeat,
            program="",
            runtime_contract="",
            incumbent_commit="",
            incumbent_source=self.incumbent,
            incumbent_bpb=None,
            noise_bpb=None,
            records=tuple(self.records),
            device="cpu",
            budget_seconds=5.0,
            startup_free_seconds=10.0,
            sequence_length=trials.sizes.sequence_length,
            vocab_size=trials.corpus.vocab_size,
        )

    def _record(self, number: int, source: str, found: dict[str, Any], kept: bool) -> TrialRecord:
        verdict, reason = Verdict.DISCARD, Reason.REGRESSION
        if found["val_bpb"] is None:
            verdict, reason = Verdict.CRASH, Reason(found["failure"])
        elif kept:
            verdict, reason = Verdict.KEEP, Reason.IMPROVED
        now = utc_now()
        return TrialRecord(
            study=self.arm,
            number=number,
            parent="",
            commit=str(number),
            title="",
            proposer="knobs",
            decision=Decision(verdict=verdict, reason=reason, sentence=""),
            val_bpb=found["val_bpb"],
            replicates=(),
            knobs=knob_values(source),
            confinement=Confinement(rung="1"),
            started_at=now,
            finished_at=now,
        )


def read_results(path: Path) -> dict[str, dict[str, Any]]:
    """What earlier runs of the same command measured."""
    if not path.exists():
        return {}
    found = [json.loads(line) for line in path.read_text().splitlines()]
    return {each["key"]: each for each in found}


def print_table(searches: list[Search]) -> None:
    """Scores of the incumbents by fresh seeds, the best arm first."""
    by_arm: dict[str, list[Search]] = {}
    for search in searches:
        by_arm.setdefault(search.arm, []).append(search)
    start = fmean(search.best[0] for search in searches)
    write = sys.stdout.write
    write(f"The start scores {start:.4f} bpb. Lower is better.\n\n")
    write("| arm | median | all repeats | keeps | crashes | training seconds |\n|-|-|-|-|-|-|\n")
    for arm, ours in sorted(by_arm.items(), key=lambda item: median(s.score for s in item[1])):
        verdicts = [record.verdict for search in ours for record in search.records[1:]]
        write(
            f"| {arm} | {median(search.score for search in ours):.4f} "
            f"| {', '.join(f'{search.score:.4f}' for search in ours)} "
            f"| {verdicts.count(Verdict.KEEP) / len(ours):.1f} "
            f"| {verdicts.count(Verdict.CRASH) / len(ours):.1f} "
            f"| {fmean(search.training_seconds for search in ours):.0f} |\n"
        )


def draw(searches: list[Search], path: Path) -> None:
    """The best score so far against trials: each repeat thin, each arm's median thick."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6.4, 4), layout="constrained")
    axes = figure.subplots()
    for index, arm in enumerate(dict.fromkeys(search.arm for search in searches)):
        ours = [search.best for search in searches if search.arm == arm]
        for best in ours:
            axes.step(range(len(best)), best, where="post", color=f"C{index}", alpha=0.25)
        middle = [median(scores) for scores in zip(*ours, strict=True)]
        axes.step(range(len(middle)), middle, where="post", color=f"C{index}", label=arm, lw=2)
    axes.set(xlabel="trial", ylabel="best val_bpb so far", title="Knobs moved by several samplers")
    axes.legend(frameon=False, fontsize=8)
    figure.savefig(path, dpi=130)


if __name__ == "__main__":
    main()
