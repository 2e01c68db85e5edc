"""Studies to report on."""

import random
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from nightlab.records import (
    Confinement,
    Decision,
    Evaluation,
    Pair,
    ProposalCost,
    Reason,
    Replicate,
    TrainingResult,
    TrialRecord,
    Verdict,
)

BEGAN = datetime(2026, 1, 2, 1, 0, tzinfo=UTC)
DIFF = """\
--- a/trainer/train.py
+++ b/trainer/train.py
@@ -10,3 +10,3 @@
 WIDTH = 128
-DEPTH = 4  # 2..12
+DEPTH = 6  # 2..12; "<deeper>"
"""
TITLES = (
    "Raise the matrix learning rate to 0.03",
    "Warm down over the last 60 % of the budget",
    "Untie the embeddings",
    "Halve the batch: more steps in the same time",
    "Sliding windows SSSL",
    "Value embeddings on every other layer",
    "DEPTH 4 -> 6, WIDTH 128 -> 96",
)
REASONS = {
    Verdict.KEEP: Reason.IMPROVED,
    Verdict.DISCARD: Reason.WITHIN_NOISE,
    Verdict.CRASH: Reason.NONFINITE,
    Verdict.FAILED: Reason.MODEL,
}


@dataclass
class FixedStudy:
    """A ledger with given records."""

    study: str = "first-light"
    all_records: list[TrialRecord] = field(default_factory=list)

    def records(self) -> tuple[TrialRecord, ...]:
        return tuple(self.all_records)

    def diff(self, record: TrialRecord) -> str:
        return "" if record.reason is Reason.BASELINE else DIFF


def trial(
    number: int,
    verdict: Verdict = Verdict.DISCARD,
    scores: tuple[float, ...] = (),
    *,
    reason: Reason | None = None,
    title: str | None = None,
    difference: float | None = None,
    cost_usd: float | None = None,
    log_tail: str = "",
) -> TrialRecord:
    replicates = tuple(
        Replicate(
            seed=number * 10 + index,
            training=TrainingResult(training_seconds=20.0, tokens_per_second=50_000.0),
            evaluation=Evaluation(val_bpb=score, standard_error=0.002),
        )
        for index, score in enumerate(scores)
    )
    began = BEGAN + timedelta(minutes=number)
    count = max(1, len(scores))
    steps = {
        "propose": 3.1,
        "sandbox": 0.8 * count,
        "startup": 6.4 * count,
        "train": 20.0 * count,
        "evaluate": 2.7 * count,
        "record": 0.2,
    }
    return TrialRecord(
        study="first-light",
        number=number,
        parent="a" * 40,
        commit=f"{number:040x}",
        title=title or TITLES[number % len(TITLES)],
        hypothesis="A hypothesis in one sentence.",
        proposer="llm",
        model="openai/x",
        decision=decision(verdict, reason or REASONS[verdict], replicates, difference),
        val_bpb=sum(scores) / len(scores) if scores else None,
        replicates=replicates,
        knobs={"DEPTH": 4},
        cost=ProposalCost(
            calls=1, prompt_tokens=6000, completion_tokens=500, cost_usd=cost_usd, seconds=3.0
        ),
        step_seconds={**steps, "total": sum(steps.values())},
        confinement=Confinement(rung="1", name="bubblewrap", features=("namespaces", "no network")),
        device="cpu (2 cores)",
        host="here",
        corpus="embedded",
        corpus_fingerprint="f" * 64,
        engine_version="0.1.0+abc",
        budget_seconds=20.0,
        settings={"preset": "quick", "seed": 0, "remote": None, "proposer": "auto"},
        log_tail=log_tail,
        started_at=began,
        finished_at=began + timedelta(seconds=40),
    )


def decision(
    verdict: Verdict, reason: Reason, replicates: tuple[Replicate, ...], difference: float | None
) -> Decision:
    """With a pair for each replicate where the difference is known."""
    known: dict[str, object] = {}
    if difference is not None and replicates:
        pairs = tuple(
            Pair(
                seed=each.seed,
                candidate_bpb=each.val_bpb or 0.0,
                incumbent_bpb=(each.val_bpb or 0.0) - difference,
            )
            for each in replicates
        )
        known = {
            "interval_bpb": (0.8 * difference - 0.006, 0.8 * difference + 0.006),
            "noise_bpb": 0.005,
            "probability_better": 0.96 if difference < 0 else 0.12,
            "expected_gain_bpb": -0.8 * difference,
            "pairs": pairs,
        }
    return Decision(
        verdict=verdict,
        reason=reason,
        sentence="1.9500 bpb against the incumbent's 1.9600: within the noise.",
        difference_bpb=difference,
        **known,  # type: ignore[arg-type]
    )


def baseline(score: float = 2.0, noise: float = 0.004) -> TrialRecord:
    scores = (score - noise, score, score + noise)
    return trial(0, Verdict.KEEP, scores, reason=Reason.BASELINE, title="baseline")


def long_study(count: int, seed: int = 1, chance: float = 0.08) -> FixedStudy:
    """Trials that wander downwards, with crashes and a few that diverge."""
    chooser = random.Random(seed)
    best = 2.0
    records = [baseline(best)]
    for number in range(1, count):
        lot = chooser.random()
        if lot < 0.1:
            records.append(trial(number, Verdict.CRASH, log_tail="Traceback …\nValueError: <oops>"))
        elif lot < 0.13:
            records.append(trial(number, Verdict.FAILED))
        elif lot < 0.13 + chance:
            gain = chooser.uniform(0.008, 0.03)
            best -= gain
            records.append(trial(number, Verdict.KEEP, (best,), difference=-gain, cost_usd=0.0123))
        else:
            worse = chooser.choice((0.002, 0.005, 0.01, 0.02, 0.04, 0.6))
            score = best + worse * chooser.uniform(0.3, 1.5)
            records.append(trial(number, scores=(score,), difference=score - best, cost_usd=0.01))
    return FixedStudy(all_records=records)
