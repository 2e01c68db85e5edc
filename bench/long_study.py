"""A study of many trials as a long search leaves it: real candidates, records and evidence in git.

No training is run: scores wander downwards, one trial in ten crashes, one in twelve is kept. What
takes room is as large as in real studies: the curve of each training, its log, prompts, answers.
"""

import random
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

from nightlab.ledger import Ledger
from nightlab.proposers import knob_values, read_knobs, set_knobs
from nightlab.records import (
    Confinement,
    CurvePoint,
    Decision,
    Evaluation,
    Evidence,
    Exchange,
    Pair,
    Proposal,
    ProposalCost,
    Reason,
    Replicate,
    TrainingResult,
    TrialRecord,
    Verdict,
)
from nightlab.settings import SessionSettings
from nightlab.source.knobs import Knob, Value
from nightlab.training.curve import PROFILE_BINS

BEGAN = datetime(2026, 1, 2, 1, 0, tzinfo=UTC)
TRIAL_SECONDS = 90
BASELINE_BPB = 2.2
NOISE_BPB = 0.01
POINTS = 80
"""Of a training's curve: real ones at the ``quick`` preset have 60 to 100."""
SEEDS = (1_001, 9_001)
"""Every code of a study is trained on the same ones."""
PROMPT_LETTERS = 20_000
ANSWER_LETTERS = 3_000
LOG_LINES = 40
WORDS = ("loss", "rate", "deeper", "batch", "window", "warm", "down", "the", "of", "more")


class LongStudy:
    """Writes trial after trial.

    Args:
        ledger: of a study that does not exist yet.
        seed: of everything that is drawn.
    """

    def __init__(self, ledger: Ledger, seed: int = 1) -> None:
        self._ledger = ledger
        self._chooser = random.Random(seed)
        self._best = BASELINE_BPB
        self._settings = SessionSettings(study=ledger.study).model_dump(mode="json")
        self._text = " ".join(self._chooser.choices(WORDS, k=20 * PROMPT_LETTERS))
        ledger.create()

    def write(self, number: int) -> TrialRecord:
        """Write the trial of a number, the baseline for 0; numbers come in order."""
        record, evidence = self._trial(number)
        self._ledger.finish(record, evidence)
        return record

    def _trial(self, number: int) -> tuple[TrialRecord, Evidence]:
        parent = self._ledger.incumbent()
        decision, replicates = self._outcome(number)
        title, source = "baseline", self._ledger.source(parent)
        commit = parent
        if number:
            title, source = self._change(source)
            commit = self._ledger.write_candidate(parent, source, title)
        began = BEGAN + timedelta(seconds=TRIAL_SECONDS * number)
        cost = ProposalCost(calls=1, prompt_tokens=6_000, completion_tokens=900, cost_usd=0.03)
        proposal = Proposal(
            title=title,
            hypothesis="It should lower the loss, since more of the budget is spent on learning.",
            proposer="llm",
            model="openai/x",
            cost=cost,
            exchanges=(
                Exchange(prompt=self._words(PROMPT_LETTERS), answer=self._words(ANSWER_LETTERS)),
            ),
        )
        level = self._best if decision.verdict is Verdict.KEEP else None
        if decision.pairs and level is None:
            level = self._best + (decision.difference_bpb or 0.0)
        record = TrialRecord(
            study=self._ledger.study,
            number=number,
            parent=parent,
            commit=commit,
            title=title,
            hypothesis=proposal.hypothesis,
            proposer=proposal.proposer,
            model=proposal.model,
            decision=decision,
            val_bpb=level,
            replicates=replicates,
            knobs=knob_values(source),
            lines_added=1,
            lines_removed=1,
            cost=cost,
            step_seconds={"propose": 6.0, "train": 40.0, "evaluate": 9.0, "total": 60.0},
            confinement=Confinement(rung="1", name="bubblewrap", features=("namespaces",)),
            device="cpu (2 cores)",
            host="here",
            corpus="embedded",
            corpus_fingerprint="f" * 64,
            engine_version="0.1.0+abc",
            budget_seconds=20.0,
            session="session",
            settings=self._settings,
            started_at=began,
            finished_at=began + timedelta(seconds=60),
        )
        program = self._words(3_000)
        return record, Evidence(proposal=proposal, replicates=replicates, program=program)

    def _change(self, source: str) -> tuple[str, str]:
        """Move one knob at random; returns what that is called, and the source."""
        knobs = read_knobs(source)
        name = self._chooser.choice(sorted(knobs))
        value = self._value(knobs[name])
        return f"{name} {knobs[name].value} → {value}", set_knobs(source, {name: value})

    def _value(self, knob: Knob) -> Value:
        if knob.choices is not None:
            return self._chooser.choice(knob.choices)
        low, high = knob.low or 0, knob.high or 0
        if knob.step is not None:
            return low + knob.step * self._chooser.randint(0, int((high - low) // knob.step))
        if knob.is_integer:
            return self._chooser.randint(int(low), int(high))
        return round(self._chooser.uniform(low, high), 6)

    def _outcome(self, number: int) -> tuple[Decision, tuple[Replicate, ...]]:
        if number == 0:
            replicates = self._trainings(BASELINE_BPB)
            baseline = Decision(
                verdict=Verdict.KEEP, reason=Reason.BASELINE, sentence="The baseline scored."
            )
            return baseline, replicates
        lot = self._chooser.random()
        if lot < 0.1:
            failed = TrainingResult(
                failure=Reason.NONFINITE, message="The loss was not finite.", log=self._log()
            )
            crash = Decision(verdict=Verdict.CRASH, reason=Reason.NONFINITE, sentence="No loss.")
            return crash, (Replicate(seed=number, training=failed),)
        kept = lot < 0.18
        difference = -self._chooser.uniform(0.001, 0.006) if kept else self._chooser.expovariate(20)
        before, self._best = self._best, self._best + (difference if kept else 0.0)
        replicates = self._trainings(before + difference)
        pairs = tuple(
            Pair(seed=each.seed, candidate_bpb=score, incumbent_bpb=score - difference)
            for each in replicates
            if (score := each.val_bpb) is not None
        )
        return (
            Decision(
                verdict=Verdict.KEEP if kept else Verdict.DISCARD,
                reason=Reason.IMPROVED if kept else Reason.WITHIN_NOISE,
                sentence=f"{difference:+.4f} bpb against the incumbent, in {len(pairs)} pairs.",
                difference_bpb=difference,
                interval_bpb=(difference - NOISE_BPB, difference + NOISE_BPB),
                noise_bpb=NOISE_BPB,
                probability_better=0.95 if kept else 0.2,
                expected_gain_bpb=-difference,
                pairs=pairs,
            ),
            replicates,
        )

    def _trainings(self, score: float) -> tuple[Replicate, ...]:
        return tuple(self._training(seed, score) for seed in SEEDS)

    def _training(self, seed: int, score: float) -> Replicate:
        training = TrainingResult(
            startup_seconds=3.2,
            training_seconds=20.0,
            num_steps=POINTS,
            num_tokens=4_096 * POINTS,
            num_params=1_234_567,
            final_loss=score,
            tokens_per_second=16_384.0,
            peak_memory_mb=900.0,
            curve=tuple(self._curve(score)),
            loss_profile=tuple(score + 3.0 / share for share in range(1, PROFILE_BINS + 1)),
            log=self._log(),
        )
        evaluation = Evaluation(
            val_bpb=score,
            standard_error=0.002,
            claimed_bpb=score,
            correction_bpb=0.0,
            audited_positions=512,
            seconds=4.5,
        )
        return Replicate(seed=seed, training=training, evaluation=evaluation, place="here")

    def _curve(self, score: float) -> Iterator[CurvePoint]:
        for step in range(1, POINTS + 1):
            loss = score + 6.0 / step + self._chooser.uniform(0, 0.05)
            yield CurvePoint(
                seconds=0.25 * step, step=step, loss=loss, learning_rate=0.02, tokens=4_096 * step
            )

    def _log(self) -> str:
        return "".join(f"step {line}: {self._words(60)}\n" for line in range(LOG_LINES))

    def _words(self, letters: int) -> str:
        start = self._chooser.randrange(len(self._text) - letters)
        return self._text[start : start + letters]
