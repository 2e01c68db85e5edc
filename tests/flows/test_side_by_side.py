"""Trials and confirmations as Prefect runs them, two trainings side by side; no sandbox is used."""

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from prefect.settings import PREFECT_API_URL, temporary_settings

import tasks.confirm
import tasks.evaluate
import tasks.train
from flows import rounds
from flows.confirm import confirmation
from flows.trial import record_of, trial
from nightlab import events
from nightlab.errors import SandboxError, SessionOver
from nightlab.ledger import ConfirmationRecord, confirmations
from nightlab.records import (
    Edit,
    Evaluation,
    Proposal,
    Reason,
    Replicate,
    TrainingResult,
    TrialRecord,
    Verdict,
)
from nightlab.sandbox.endable import EndableSandbox
from nightlab.study.confirmation import Due
from nightlab.study.measurement import Training
from nightlab.study.session import as_current, study_seeds
from nightlab.study.trial import baseline_proposal
from tests.session_samples import PLACE, STUDY, sample_session

TOGETHER_SECONDS = 30
DEEPER = Proposal(
    title="Deeper", proposer="llm", edits=(Edit(search="DEPTH = 4", replace="DEPTH = 6"),)
)


@pytest.fixture
def session(tmp_path: Path, prefect_api: dict[str, str]) -> Iterator[Any]:
    made = sample_session(tmp_path / "clone")
    made.lanes = 2
    with temporary_settings({PREFECT_API_URL: prefect_api["PREFECT_API_URL"]}), as_current(made):
        yield made


class Machine:
    """What trains and scores: it waits until as many are under way as are said to be."""

    def __init__(self, score: Callable[[Training], float], together: int = 2) -> None:
        self.score = score
        self.barrier = threading.Barrier(together)
        self.trained: list[tuple[str, int]] = []
        self.scored: list[tuple[str, int]] = []
        self.threads: set[int] = set()

    def train(self, session: Any, training: Training) -> TrainingResult:
        if self.barrier.parties > 1:
            self.barrier.wait(timeout=TOGETHER_SECONDS)
        self.threads.add(threading.get_ident())
        self.trained.append((training.whose, training.seed))
        time.sleep(0.05)
        loss = self.score(training)
        return TrainingResult(
            final_loss=loss + training.seed / 2**32, startup_seconds=0.01, wall_seconds=0.02
        )

    def evaluate(self, session: Any, training: Training) -> Evaluation:
        self.scored.append((training.whose, training.seed))
        return Evaluation(val_bpb=self.score(training), claimed_bpb=training.seed / 2**32)


@pytest.fixture
def use(monkeypatch: pytest.MonkeyPatch) -> Callable[[Machine], Machine]:
    def install(machine: Machine) -> Machine:
        monkeypatch.setattr(tasks.train, "train_once", machine.train)
        monkeypatch.setattr(tasks.evaluate, "evaluate_once", machine.evaluate)
        return machine

    return install


def run(session: Any, number: int, proposal: Proposal) -> TrialRecord:
    state = trial(STUDY, number, proposal, return_state=True)
    return record_of(session, number, state)


def begin(session: Any, use: Callable[[Machine], Machine]) -> TrialRecord:
    use(Machine(lambda training: 2.0))
    return run(session, 0, baseline_proposal())


@pytest.mark.slow
def test_a_baseline_and_a_trial_have_their_trainings_side_by_side(
    session: Any, use: Callable[[Machine], Machine]
) -> None:
    first, second = study_seeds(session.settings)[:2]
    machine = use(Machine(lambda training: 2.0))
    baseline = run(session, 0, baseline_proposal())
    assert (baseline.reason, baseline.val_bpb) == (Reason.BASELINE, 2.0)
    assert sorted(machine.trained) == sorted([("", first), ("", second)])
    assert len(machine.threads) == 2
    assert [each.seed for each in baseline.replicates] == [first, second]
    assert {each.place for each in baseline.replicates} == {PLACE}

    told: list[Any] = []
    machine = use(Machine(lambda training: 1.9))
    with events.listening(told.append):
        kept = run(session, 1, DEEPER)
    assert kept.reason is Reason.IMPROVED
    assert kept.val_bpb == pytest.approx(1.9)
    assert [pair.seed for pair in kept.decision.pairs] == [first, second]
    assert kept.incumbent_replicates == (), "the baseline's are its twins"
    steps = [(each.step, each.seed) for each in told if isinstance(each, events.StepBegun)]
    assert [each for each in steps if each[0] in ("train", "evaluate")] == [
        ("train", first),
        ("train", second),
        ("evaluate", first),
        ("evaluate", second),
    ]
    (pairs,) = [each for each in told if isinstance(each, events.PairsMeasured)]
    assert pairs.pairs == kept.decision.pairs
    assert kept.step_seconds["sandbox"] >= 0
    assert kept.step_seconds["train"] == 0.02
    assert session.ledger.marks() == ()


@pytest.mark.slow
def test_at_another_place_a_candidate_is_trained_beside_its_twin(
    session: Any, use: Callable[[Machine], Machine]
) -> None:
    begin(session, use)
    session.place = "elsewhere"
    machine = use(Machine(lambda training: 2.5 if training.whose else 2.45))
    record = run(session, 1, DEEPER)
    first = study_seeds(session.settings)[0]
    assert sorted(machine.trained)[:2] == [("", first), ("incumbent", first)]
    assert record.decision.difference_bpb == pytest.approx(-0.05)
    assert [each.place for each in record.incumbent_replicates] == ["elsewhere"]
    assert record.val_bpb == pytest.approx(1.95)


@pytest.mark.slow
def test_what_fails_beside_another_is_not_scored_and_what_is_beside_it_is(
    session: Any, use: Callable[[Machine], Machine], monkeypatch: pytest.MonkeyPatch
) -> None:
    begin(session, use)
    first, second = study_seeds(session.settings)[:2]
    machine = use(Machine(lambda training: 1.9))

    def train(session: Any, training: Training) -> TrainingResult:
        result = machine.train(session, training)
        if training.seed == second:
            return TrainingResult(failure=Reason.EXCEPTION, message="It raised.")
        return result

    monkeypatch.setattr(tasks.train, "train_once", train)
    record = run(session, 1, DEEPER)
    assert (record.verdict, record.reason) == (Verdict.CRASH, Reason.EXCEPTION)
    assert machine.scored == [("", first)]
    assert [each.val_bpb for each in record.replicates] == [1.9, None]


@pytest.mark.slow
def test_a_sandbox_that_breaks_ends_a_trial_once_the_training_beside_it_is_over(
    session: Any, use: Callable[[Machine], Machine], monkeypatch: pytest.MonkeyPatch
) -> None:
    begin(session, use)
    first = study_seeds(session.settings)[0]
    over: list[float] = []

    def train(session: Any, training: Training) -> TrainingResult:
        if training.seed == first:
            raise SandboxError("No sandbox starts.")
        # Longer than the other one's second try takes to come.
        time.sleep(4)
        over.append(time.monotonic())
        return TrainingResult(final_loss=3.0)

    monkeypatch.setattr(tasks.train, "train_once", train)
    recorded: list[float] = []

    def note(event: events.Event) -> None:
        if isinstance(event, events.TrialEnded):
            recorded.append(time.monotonic())

    with events.listening(note):
        record = run(session, 1, DEEPER)
    assert (record.verdict, record.reason) == (Verdict.FAILED, Reason.MACHINERY)
    assert "No sandbox starts." in record.decision.sentence
    assert len(record.replicates) == 1, "what the other lane measured is not lost"
    assert len(over) == 1
    assert over < recorded


@pytest.mark.slow
def test_a_trial_that_was_cut_off_goes_on_with_what_is_missing(
    session: Any, use: Callable[[Machine], Machine], monkeypatch: pytest.MonkeyPatch
) -> None:
    begin(session, use)
    session.lanes = 1
    # The second pair's training is cut off as by a kill: nothing of it stands.
    machine = use(Machine(lambda training: 1.99, together=1))

    def train(session: Any, training: Training) -> TrainingResult:
        if len(machine.trained) == 1:
            raise KeyboardInterrupt
        return machine.train(session, training)

    monkeypatch.setattr(tasks.train, "train_once", train)
    with pytest.raises(KeyboardInterrupt):
        trial(STUDY, 1, DEEPER)
    (mark,) = session.ledger.marks()
    first = study_seeds(session.settings)[0]
    assert [each.seed for each in mark.replicates] == [first]
    machine = use(Machine(lambda training: 1.95, together=1))
    record = run(session, 1, DEEPER)
    assert ("", first) not in machine.trained
    assert record.replicates[0].val_bpb == 1.99
    assert [each.seed for each in record.replicates] == list(
        study_seeds(session.settings)[: len(record.replicates)]
    )


def kept(session: Any, use: Callable[[Machine], Machine]) -> None:
    begin(session, use)
    use(Machine(lambda training: 1.9))
    assert run(session, 1, DEEPER).reason is Reason.IMPROVED


@pytest.mark.slow
@pytest.mark.parametrize(
    ("until_sure", "said"),
    [
        (False, ["pair 1 of 3", "pair 2 of 3", "pair 3 of 3"]),
        (True, ["pair 1 of at most 3", "pair 2 of at most 3"]),
    ],
)
def test_a_confirmation_has_both_codes_of_a_pair_side_by_side(
    session: Any,
    use: Callable[[Machine], Machine],
    monkeypatch: pytest.MonkeyPatch,
    until_sure: bool,
    said: list[str],
) -> None:
    kept(session, use)
    barrier = threading.Barrier(2)

    def once(session: Any, record: ConfirmationRecord, due: Due) -> Replicate:
        barrier.wait(timeout=TOGETHER_SECONDS)
        score = 2.0 if due.code.value == "baseline" else 1.9
        evaluation = Evaluation(split="holdout", val_bpb=score)
        result = TrainingResult()
        return Replicate(seed=due.seed, training=result, evaluation=evaluation, place=PLACE)

    monkeypatch.setattr(tasks.confirm, "confirm_once", once)
    told: list[Any] = []
    with events.listening(told.append):
        record = confirmation(STUDY, 3, until_sure=until_sure)
    assert record.holds
    assert record.gain_bpb == pytest.approx(0.1)
    assert len(record.baseline_replicates) == len(record.incumbent_replicates) == len(said)
    assert record.wanted == len(said)
    titles = [each.title for each in told if isinstance(each, events.StepBegun)]
    assert titles == said
    assert record.sentence in [each.text for each in told if isinstance(each, events.Notice)]
    assert confirmations(session.ledger) == (record,)


def confirmed_as_better(monkeypatch: pytest.MonkeyPatch) -> list[Due]:
    """Score the incumbent 0.1 below the baseline; gives what is asked for, as it comes."""
    asked: list[Due] = []

    def once(session: Any, record: ConfirmationRecord, due: Due) -> Replicate:
        asked.append(due)
        score = 2.0 if due.code.value == "baseline" else 1.9
        evaluation = Evaluation(split="holdout", val_bpb=score)
        result = TrainingResult()
        return Replicate(seed=due.seed, training=result, evaluation=evaluation, place=PLACE)

    monkeypatch.setattr(tasks.confirm, "confirm_once", once)
    return asked


def stop_after(asked: list[Due], count: int) -> Callable[[Any], None]:
    """A person asks for the end once so many trainings were asked for."""

    def require_no_stop(_session: Any) -> None:
        if len(asked) >= count:
            raise SessionOver("`nightlab stop` asked for it.")

    return require_no_stop


@pytest.mark.slow
def test_a_session_ends_a_confirmation_early_only_where_nobody_asked_for_more(
    session: Any, use: Callable[[Machine], Machine], monkeypatch: pytest.MonkeyPatch
) -> None:
    kept(session, use)
    asked = confirmed_as_better(monkeypatch)
    # Cut off after two pairs of ten that a person asked for.
    monkeypatch.setattr(rounds, "require_no_stop", stop_after(asked, 4))
    assert confirmation(STUDY, 10).finished_at is None
    monkeypatch.setattr(rounds, "require_no_stop", lambda session: None)
    record = confirmation(STUDY, 3, until_sure=True)
    assert len(record.baseline_replicates) == record.wanted == 10


@pytest.mark.slow
def test_a_confirmation_that_was_sure_when_it_was_cut_off_trains_nothing_more(
    session: Any, use: Callable[[Machine], Machine], monkeypatch: pytest.MonkeyPatch
) -> None:
    kept(session, use)
    asked = confirmed_as_better(monkeypatch)

    def killed(session: Any) -> None:
        if len(asked) == 4:
            raise KeyboardInterrupt

    monkeypatch.setattr(rounds, "push_or_say", killed)
    with pytest.raises(KeyboardInterrupt):
        confirmation(STUDY, 3, until_sure=True)
    monkeypatch.setattr(rounds, "push_or_say", lambda session: None)
    record = confirmation(STUDY, 3, until_sure=True)
    assert record.holds
    assert len(asked) == 4


@pytest.mark.slow
def test_a_confirmation_that_is_asked_to_stop_goes_on_later(
    session: Any, use: Callable[[Machine], Machine], monkeypatch: pytest.MonkeyPatch
) -> None:
    kept(session, use)
    asked: list[Due] = []

    def once(session: Any, record: ConfirmationRecord, due: Due) -> Replicate:
        asked.append(due)
        evaluation = Evaluation(split="holdout", val_bpb=2.0)
        return Replicate(
            seed=due.seed, training=TrainingResult(), evaluation=evaluation, place=PLACE
        )

    monkeypatch.setattr(tasks.confirm, "confirm_once", once)
    monkeypatch.setattr(rounds, "require_no_stop", stop_after(asked, 1))
    left = confirmation(STUDY, 2)
    assert (left.finished_at, len(asked)) == (None, 2)
    monkeypatch.setattr(rounds, "require_no_stop", lambda session: None)
    finished = confirmation(STUDY, 2)
    assert finished.finished_at is not None
    assert len(asked) == 4
    assert finished.holds is False


@pytest.mark.slow
def test_an_interrupt_does_not_wait_for_the_trainings_to_end(
    session: Any, use: Callable[[Machine], Machine], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Prefect waits for its threads: those of a five-minute budget would hold Ctrl-C up as long."""
    begin(session, use)
    under_way = threading.Barrier(3)
    ended: list[float] = []

    class Job:
        def __init__(self) -> None:
            self.over = threading.Event()

        def end(self) -> None:
            self.over.set()

    confinement = session.sandbox.confinement
    starter = SimpleNamespace(start=lambda job: Job(), confinement=confinement)
    session.sandbox = EndableSandbox(cast("Any", starter))

    def train(session: Any, training: Training) -> TrainingResult:
        job = session.sandbox.start(None)
        under_way.wait(timeout=TOGETHER_SECONDS)
        assert job.over.wait(timeout=300)
        ended.append(time.monotonic())
        return TrainingResult(failure=Reason.EXCEPTION, message="It was killed.")

    def interrupt() -> None:
        under_way.wait(timeout=TOGETHER_SECONDS)
        time.sleep(1)
        os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr(tasks.train, "train_once", train)
    thread = threading.Thread(target=interrupt)
    # A shell has what it runs in the background ignore it.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    thread.start()
    began = time.monotonic()
    try:
        with pytest.raises(KeyboardInterrupt):
            trial(STUDY, 1, DEEPER)
    finally:
        signal.signal(signal.SIGINT, before)
    thread.join()
    assert time.monotonic() - began < 60
    assert len(ended) == 2
    (mark,) = session.ledger.marks()
    assert mark.replicates == (), "what was cut off says nothing of the candidate"
