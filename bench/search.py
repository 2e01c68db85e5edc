"""A bare search: a proposer, trainings at a short budget, the lower score stands.

For benches that compare proposers. Each arm's trials train once, all on the same seed, so that a
trial and its incumbent are a pair; in the end its incumbent is measured again with fresh seeds, and
that is its score. Finished trainings stand in a results file, so that the same command goes on
after a stop.
"""

import difflib
import json
import re
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from statistics import NormalDist, fmean, median
from typing import Any, Protocol

from nightlab.presets import Preset
from nightlab.proposers import Brief, NearMiss, TriedChange, apply_edits, knob_values, set_knobs
from nightlab.proposers.arms import Arm, arm_of
from nightlab.records import (
    Confinement,
    Decision,
    Edit,
    Evaluation,
    Proposal,
    Reason,
    Replicate,
    TrainingResult,
    TrialRecord,
    Verdict,
    utc_now,
)
from nightlab.study.briefing import MAX_RESCUES, NEAR_NOISES

WRONG = {"MATRIX_LEARNING_RATE": 0.012, "EMBEDDING_LEARNING_RATE": 0.4, "WARM_DOWN_SHARE": 0.15}
"""How the start differs from the trainer: there is something to find."""
SEED = 1
"""Of all trainings that choose."""
FRESH_SEEDS = (9_001, 9_002, 9_003)
TRAINER = Path(__file__).resolve().parents[1] / "trainer" / "train.py"

Propose = Callable[[Brief], Proposal]


class Trials(Protocol):
    """Trainings as bench/bare_trials.py has them for real, and bench/landscape.py makes them up."""

    @property
    def sizes(self) -> Preset:
        """What the start is set to."""
        ...

    def measure(self, source: str, seed: int) -> tuple[TrainingResult, Evaluation | None]:
        """Train once, and score where that succeeds."""
        ...


@dataclass(slots=True)
class Bench:
    """Trainings, and the file that remembers them, where there is one."""

    trials: Trials
    results: Path | None
    known: dict[str, dict[str, Any]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.results is not None and self.results.exists():
            found = [json.loads(line) for line in self.results.read_text().splitlines()]
            self.known = {each["key"]: each for each in found}

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
            self.remember(found)
            if self.results is not None:
                said = found["val_bpb"] or found["failure"]
                print(f"{key}: {said}", file=sys.stderr, flush=True)
        return self.known[key]

    def remember(self, found: dict[str, Any]) -> None:
        """Put something under its key into the file."""
        if self.results is not None:
            with self.results.open("a") as file:
                file.write(json.dumps(found) + "\n")
        self.known[found["key"]] = found


@dataclass(slots=True)
class Search:
    """One arm with one seed."""

    arm: str
    repeat: int
    propose: Propose
    bench: Bench
    noise_bpb: float | None = None
    """Standard deviation of a pair's difference, where it is known."""
    keep_probability: float = 0.5
    """How likely a trial must be better to be kept; 0.5: the lower score stands."""
    start_knobs: Mapping[str, Any] = field(default_factory=lambda: WRONG)
    """How the start differs from the trainer."""
    fixed: tuple[str, ...] = ()
    """Constants that are no knobs in this search."""
    template: str = field(default_factory=lambda: TRAINER.read_text(encoding="utf-8"))
    """What the search starts from, before constants are set."""
    records: list[TrialRecord] = field(default_factory=list)
    edits: dict[int, tuple[Edit, ...]] = field(default_factory=dict)
    tried: list[TriedChange] = field(default_factory=list)
    incumbent: str = ""
    standing: int = 0
    """The trial that the incumbent is from."""
    best: list[float] = field(default_factory=list)
    """The incumbent's score after each trial, as it was chosen."""
    training_seconds: float = 0.0
    again: list[float] = field(default_factory=list)
    """Scores of the last incumbent by fresh seeds."""

    @property
    def score(self) -> float:
        """Mean of the last incumbent's fresh scores."""
        return fmean(self.again)

    def step(self, number: int) -> None:
        """The start, or one trial."""
        if number == 0:
            self._take(0, Proposal(title="start", proposer="baseline"), self.start())
            return
        key = f"{self.arm}/{self.repeat}/{number}/proposal"
        if key not in self.bench.known:
            told = self.propose(self._brief(number)).model_dump(mode="json")
            self.bench.remember({"key": key, "proposal": told})
        idea = Proposal.model_validate(self.bench.known[key]["proposal"])
        applied = apply_edits(self.incumbent, idea.edits)
        unusable = idea.error or applied.error
        self._take(number, idea, None if unusable else applied.source)

    def measure_again(self, seed: int) -> None:
        """Score the incumbent by a seed that did not choose it."""
        key = f"{self.arm}/{self.repeat}/fresh {seed}"
        self.again.append(self.bench.measure(key, self.incumbent, seed)["val_bpb"])

    def start(self) -> str:
        """The trainer, with some of its knobs put wrong."""
        stands = self.template
        for name in self.fixed:
            stands = re.sub(rf"(?m)^({name} = .+?)  #.*$", r"\1", stands)
        return set_knobs(stands, {**self.bench.trials.sizes.knobs, **self.start_knobs})

    def _take(self, number: int, idea: Proposal, source: str | None) -> None:
        """Train a source, keep it if it is lower, and write the trial down; None is no use."""
        found: Mapping[str, Any] = {"val_bpb": None, "failure": Reason.INVALID_EDIT}
        if source is not None:
            found = self.bench.measure(f"{self.arm}/{self.repeat}/{number}", source, SEED)
            self.training_seconds += found["training_seconds"]
            self.tried.append(_change(number, self.incumbent, source))
        score, stood = found["val_bpb"], self.best[-1] if self.best else None
        chance = self._chance(None if score is None or stood is None else score - stood)
        kept = score is not None and (stood is None or (chance or 0.0) > self.keep_probability)
        self.edits[number] = idea.edits
        self.records.append(self._record(number, idea, source, found, kept))
        if kept and source is not None:
            self.incumbent, self.standing = source, number
        self.best.append(score if kept or stood is None else stood)

    def _chance(self, difference: float | None) -> float | None:
        """How likely a difference means better, all being alike beforehand."""
        if difference is None:
            return None
        if self.noise_bpb is None:
            return float(difference < 0)
        return NormalDist().cdf(-difference / self.noise_bpb)

    def _brief(self, number: int) -> Brief:
        trials = self.bench.trials
        return Brief(
            study=self.arm,
            number=number,
            seed=self.repeat,
            program="",
            runtime_contract="",
            incumbent_commit=str(self.standing),
            incumbent_source=self.incumbent,
            incumbent_bpb=None,
            noise_bpb=self.noise_bpb,
            records=tuple(self.records),
            device="cpu",
            budget_seconds=5.0,
            startup_free_seconds=10.0,
            sequence_length=trials.sizes.sequence_length,
            vocab_size=trials.sizes.vocab_size,
            tried=tuple(self.tried),
            near_misses=tuple(self._near_misses()),
        )

    def _near_misses(self) -> Iterable[NearMiss]:
        """As a study finds them in git: see nightlab/study/trial.py."""
        rescues = Counter(record.rescue_of for record in self.records)
        for record in self.records:
            difference = record.decision.difference_bpb
            if record.verdict is not Verdict.DISCARD or arm_of(record) is not Arm.STRUCTURE:
                continue
            if difference is None or self.noise_bpb is None:
                continue
            is_near = difference <= NEAR_NOISES * self.noise_bpb
            if is_near and rescues[record.number] < MAX_RESCUES:
                yield NearMiss(
                    number=record.number,
                    title=record.title,
                    edits=self.edits[record.number],
                    difference_bpb=difference,
                )

    def _record(
        self, number: int, idea: Proposal, source: str | None, found: Mapping[str, Any], kept: bool
    ) -> TrialRecord:
        verdict, reason = Verdict.DISCARD, Reason.REGRESSION
        if found["val_bpb"] is None:
            verdict, reason = Verdict.CRASH, Reason(found["failure"])
        elif kept:
            verdict, reason = Verdict.KEEP, Reason.IMPROVED if number else Reason.BASELINE
        difference = found["val_bpb"] - self.best[-1] if found["val_bpb"] and self.best else None
        now = utc_now()
        trained = TrainingResult(training_seconds=found.get("training_seconds"))
        return TrialRecord(
            study=self.arm,
            number=number,
            parent=str(self.standing),
            commit=str(number),
            title=idea.title,
            proposer=idea.proposer,
            rescue_of=idea.rescue_of,
            decision=Decision(
                verdict=verdict,
                reason=reason,
                sentence="",
                difference_bpb=difference,
                noise_bpb=self.noise_bpb,
                probability_better=self._chance(difference),
            ),
            val_bpb=found["val_bpb"],
            replicates=(Replicate(seed=number, training=trained),) if source is not None else (),
            knobs=knob_values(source) if source is not None else {},
            confinement=Confinement(rung="1"),
            started_at=now,
            finished_at=now,
        )


def _change(number: int, before: str, after: str) -> TriedChange:
    lines = difflib.unified_diff(before.splitlines(), after.splitlines(), lineterm="", n=3)
    return TriedChange(number=number, diff="\n".join(lines))


def run_in_turn(searches: list[Search], trials: int) -> None:
    """Run all searches trial by trial, so that whatever the machine does meets all alike."""
    for number in range(trials + 1):
        for search in searches:
            search.step(number)
    for seed in FRESH_SEEDS:
        for search in searches:
            search.measure_again(seed)


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


def draw(searches: list[Search], path: Path, title: str) -> None:
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
    axes.set(xlabel="trial", ylabel="best val_bpb so far", title=title)
    axes.legend(frameon=False, fontsize=8)
    figure.savefig(path, dpi=130)
