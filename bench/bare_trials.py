"""Trainings and scores as trials have them, without a session: for benches that need many."""

from pathlib import Path

from embedded_corpus import embedded_corpus

from nightlab.evaluation.evaluation import evaluate
from nightlab.presets import PRESETS
from nightlab.records import Evaluation, TrainingResult
from nightlab.sandbox import choose_sandbox
from nightlab.sandbox.device import detect_device
from nightlab.training.token_file import TokenFile
from nightlab.training.training import TrainingOrder, train_replicate


class BareTrials:
    """Trains and evaluates at a preset's sizes on the embedded corpus, in the sandbox."""

    def __init__(
        self,
        folder: Path,
        budget_seconds: float,
        budget_tokens: int | None = None,
        preset: str = "quick",
    ) -> None:
        self.sizes = PRESETS[preset]
        self.corpus = embedded_corpus(preset)
        self.device = detect_device("cpu")
        self._sandbox = choose_sandbox(trust_candidate=False)
        self._budget_seconds, self._budget_tokens = budget_seconds, budget_tokens
        self._checkpoint = folder / "checkpoint.pt"

    def measure(self, source: str, seed: int) -> tuple[TrainingResult, Evaluation | None]:
        """Train once; where that succeeds, score on ``val`` with the screen's positions."""
        order = TrainingOrder(
            vocab_size=self.corpus.vocab_size,
            sequence_length=self.sizes.sequence_length,
            device=self.device,
            seed=seed,
            budget_seconds=self._budget_seconds,
            budget_tokens=self._budget_tokens,
            startup_seconds=self.sizes.startup_seconds,
            memory_mb=self.sizes.memory_mb,
        )
        with TokenFile.from_windows(
            self.corpus.path("train"),
            seed=seed,
            sequence_length=self.sizes.sequence_length,
            most_tokens=self._budget_tokens,
        ) as tokens:
            trained = train_replicate(
                order,
                source,
                tokens,
                self._sandbox,
                self._checkpoint,
                lambda: None,
                lambda _point: None,
            )
        if trained.failure is not None:
            return trained, None
        scored = evaluate(
            source,
            self._checkpoint,
            self.corpus,
            "val",
            order,
            self.sizes.evaluation_tokens,
            self._sandbox,
            screen_positions=self.sizes.screen_positions,
            keep_below_bpb=0.0,
        )
        return trained, scored
