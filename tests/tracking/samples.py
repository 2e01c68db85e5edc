"""A finished trial in full, a ledger of such trials, and servers that misbehave."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from nightlab.records import (
    Confinement,
    CurvePoint,
    Decision,
    Evaluation,
    Evidence,
    Exchange,
    InFlight,
    Pair,
    Proposal,
    ProposalCost,
    Reason,
    Replicate,
    TrainingResult,
    TrialRecord,
    Verdict,
)
from nightlab.tracking import TrialFacts

BEGAN = datetime(2026, 1, 2, 1, 0, 0, 123_000, tzinfo=UTC)
DIFF = "--- a/trainer/train.py\n+++ b/trainer/train.py\n@@ -1 +1 @@\n-DEPTH = 4\n+DEPTH = 6\n"
SOURCE = "DEPTH = 6\n"


def curve(points: int = 5, scale: float = 1.0) -> tuple[CurvePoint, ...]:
    return tuple(
        CurvePoint(
            seconds=0.7 * step + 0.1,
            step=step,
            loss=scale * (5.0 - 0.1 * step) / 3,
            learning_rate=0.02 / (step + 1),
            tokens=4096 * (step + 1),
        )
        for step in range(points)
    )


PROFILE = tuple(3.0 - share / 20 for share in range(20))


def replicate(
    seed: int, score: float | None, *, points: int = 5, began: datetime | None = None
) -> Replicate:
    if score is None:
        return Replicate(
            seed=seed,
            training=TrainingResult(
                started_at=began,
                failure=Reason.NONFINITE,
                message="The loss was not finite.",
                startup_seconds=2.25,
                curve=curve(points),
                log="nan\n",
            ),
        )
    return Replicate(
        seed=seed,
        training=TrainingResult(
            started_at=began,
            startup_seconds=2.25 + seed / 7,
            training_seconds=20.1 + seed / 3,
            loss_profile=PROFILE,
            num_steps=points,
            num_tokens=4096 * points,
            num_params=123_456,
            final_loss=1.5,
            tokens_per_second=1010.1 + seed,
            peak_memory_mb=512.5 + seed,
            curve=curve(points),
            log=f"training with seed {seed}\n",
        ),
        evaluation=Evaluation(
            val_bpb=score,
            standard_error=0.0123 + seed / 1e5,
            row_standard_error=0.02,
            claimed_bpb=None if score is None else score - 0.001,
            correction_bpb=0.001,
            audited_positions=512,
            largest_deviation_nats=0.25,
            audit_seconds=0.75,
            seconds=3.3,
            log="scored\n",
        ),
    )


def record(
    study: str,
    number: int = 3,
    scores: tuple[float | None, ...] = (1.9876543210123,),
    verdict: Verdict = Verdict.DISCARD,
    reason: Reason = Reason.WITHIN_NOISE,
    title: str = "deeper & <b>narrower</b>",
) -> TrialRecord:
    began = BEGAN + timedelta(minutes=number)
    scored = [score for score in scores if score is not None]
    light = tuple(
        item.model_copy(update={"training": item.training.model_copy(update=NO_BULK)})
        for item in evidence(number, scores).replicates
    )
    return TrialRecord(
        study=study,
        number=number,
        parent="a" * 40,
        commit="b" * 40,
        title=title,
        hypothesis="Depth helps.",
        proposer="llm",
        model="openai/x",
        decision=Decision(
            verdict=verdict,
            reason=reason,
            sentence="Within the noise.",
            difference_bpb=-0.00123,
            **(PAIRED if scored else {}),
        ),
        val_bpb=sum(scored) / len(scored) if scored else None,
        replicates=light,
        knobs={"DEPTH": 6, "WIDTH": 128, "COMPILE": False, "WINDOW_PATTERN": "SSSL"},
        lines_added=1,
        lines_removed=1,
        cost=ProposalCost(calls=2, prompt_tokens=700, completion_tokens=30, seconds=4.5),
        step_seconds={"propose": 4.5, "train": 20.125, "total": 31.5},
        confinement=Confinement(
            rung="1", name="bubblewrap", features=("no network",), missing=("memory in sum",)
        ),
        device="a processor",
        host="here",
        corpus="embedded",
        corpus_fingerprint="f" * 64,
        engine_version="0.1.0+abc",
        budget_seconds=20.0,
        settings={"preset": "quick", "seed": 7},
        started_at=began,
        finished_at=began + timedelta(seconds=31.5),
    )


PAIRED = {
    "interval_bpb": (-0.01, 0.008),
    "noise_bpb": 0.004,
    "probability_better": 0.625,
    "expected_gain_bpb": 0.0008,
    "pairs": (Pair(seed=30, candidate_bpb=1.98765, incumbent_bpb=1.98888),),
}
NO_BULK = {"curve": (), "log": ""}


def evidence(number: int = 3, scores: tuple[float | None, ...] = (1.9876543210123,)) -> Evidence:
    return Evidence(
        proposal=Proposal(
            title="deeper",
            proposer="llm",
            exchanges=(
                Exchange(prompt="Improve it.", answer="<<<<<<< SEARCH"),
                Exchange(prompt="That does not apply.", answer="Half a pair: \ud83d, NUL: \0."),
            ),
        ),
        replicates=tuple(
            replicate(number * 10 + index, score, began=began(number))
            for index, score in enumerate(scores)
        ),
    )


def began(number: int) -> datetime:
    """When the trainings of a trial begin: seven seconds after the trial."""
    return BEGAN + timedelta(minutes=number, seconds=7)


def mark(study: str, number: int = 3, title: str = "deeper & <b>narrower</b>") -> InFlight:
    return InFlight(
        study=study,
        number=number,
        parent="a" * 40,
        commit="b" * 40,
        proposal=Proposal(title=title, proposer="llm"),
        started_at=BEGAN + timedelta(minutes=number),
    )


def facts(study: str, number: int = 3) -> TrialFacts:
    return TrialFacts.of(record(study, number))


@dataclass
class FixedRecords:
    """A ledger whose trials are all given at once."""

    study: str
    all_scores: dict[int, tuple[float | None, ...]] = field(default_factory=dict)

    def records(self) -> tuple[TrialRecord, ...]:
        return tuple(record(self.study, n, scores) for n, scores in self.all_scores.items())

    def evidence(self, number: int) -> Evidence:
        return evidence(number, self.all_scores[number])

    def diff(self, record: TrialRecord) -> str:
        return DIFF

    def source(self, commit: str) -> str:
        return SOURCE


@contextmanager
def silent_server() -> Iterator[str]:
    """An address that takes connections and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"


class Relay:
    """Forwards TCP connections to a server, until it is told to cut them off."""

    def __init__(self, host: str, port: int) -> None:
        self.connected = True
        self.lost: list[bytes] = []
        """The next requests whose answers are lost, each by what stands in it."""
        self._target = (host, port)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.address = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self._listener.accept()
            except OSError:
                return
            if not self.connected:
                near.close()
                continue
            far = socket.create_connection(self._target)
            cut = threading.Event()
            for source, sink in ((near, far), (far, near)):
                threading.Thread(
                    target=self._pump, args=(source, sink, source is near, cut), daemon=True
                ).start()

    def _pump(
        self, source: socket.socket, sink: socket.socket, is_asked: bool, cut: threading.Event
    ) -> None:
        with source, sink:
            try:
                while self.connected and (data := source.recv(65536)):
                    if is_asked and self.lost and self.lost[0] in data:
                        self.lost.pop(0)
                        cut.set()
                    elif cut.is_set():
                        return
                    if self.connected:
                        sink.sendall(data)
            except OSError:
                return
