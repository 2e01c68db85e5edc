"""A real Prefect server that is killed while a session is at work, and started again."""

import os
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import timedelta
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import pytest
from prefect import flow
from prefect.artifacts import create_table_artifact
from prefect.client.orchestration import get_client
from prefect.exceptions import TerminationSignal
from prefect.runtime import flow_run
from prefect.settings import PREFECT_API_URL, PREFECT_CLIENT_MAX_RETRIES, temporary_settings

import flows.outages
import tasks.evaluate
import tasks.train
from flows.commands.common import _ends_known
from flows.local_server import server_command
from flows.opening import _await_listener, with_prefect
from flows.outages import (
    PrefectAway,
    await_prefect,
    best_effort,
    ended_by,
    is_outage,
    through_outages,
)
from flows.session_page import show_session
from flows.trial import record_of, trial
from nightlab import events
from nightlab.errors import MachineryError, SandboxError, SessionOver
from nightlab.ledger import ask_to_stop, hold_session
from nightlab.records import Edit, Evaluation, Proposal, TrainingResult, TrialRecord, Verdict
from nightlab.settings import SessionSettings
from nightlab.study.patience import Outage
from nightlab.study.session import as_current
from nightlab.study.trial import baseline_proposal
from tests.conftest import find_free_port
from tests.session_samples import STUDY, sample_session

DEEPER = Proposal(
    title="Deeper", proposer="llm", edits=(Edit(search="DEPTH = 4", replace="DEPTH = 6"),)
)


def do_nothing() -> None:
    pass


PATIENT: dict[str, Any] = {
    "hours": 1,
    "outage": Outage(),
    "mend": do_nothing,
    "while_waiting": do_nothing,
}


class Server:
    """A Prefect server that can be killed and started again with the same database."""

    def __init__(self, home: Path) -> None:
        self.port = find_free_port()
        self.address = f"http://127.0.0.1:{self.port}/api"
        self._environment = {
            **os.environ,
            "PREFECT_HOME": str(home),
            "PREFECT_UI_ENABLED": "false",
        }
        self._process: subprocess.Popen[bytes] | None = None

    def start(self, *, wait: bool = True) -> None:
        self._process = subprocess.Popen(
            server_command(self.port),
            env=self._environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        while wait:
            try:
                if httpx.get(f"{self.address}/health", timeout=5).is_success:
                    return
            except httpx.TransportError:
                time.sleep(0.2)

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    made = Server(tmp_path / "prefect")
    made.start()
    # Its client would try again for two minutes by itself.
    with temporary_settings({PREFECT_API_URL: made.address, PREFECT_CLIENT_MAX_RETRIES: 0}):
        yield made
    made.kill()


@pytest.mark.slow
@pytest.mark.parametrize("moment", ["while it trains", "between trials", "at the end"])
def test_a_session_goes_on_once_the_server_is_back_and_every_run_ends_as_it_did(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    session = sample_session(tmp_path / "clone")
    heard: list[events.Event] = []
    runs: list[str] = []

    def lose_server() -> None:
        server.kill()

        def restart(event: events.Event) -> None:
            if isinstance(event, events.Notice) and "does not answer" in event.text:
                server.start(wait=False)

        stack.enter_context(events.listening(restart))

    def train(session: Any, training: Any) -> TrainingResult:
        if moment == "while it trains" and training.number == 1 and not runs[1:]:
            runs.append("lost")
            lose_server()
        return TrainingResult(final_loss=2.0 + training.seed / 2**32)

    def evaluate(session: Any, training: Any) -> Evaluation:
        score = 2.0 if training.number == 0 or training.whose else 1.8
        return Evaluation(val_bpb=score, claimed_bpb=training.seed / 2**32)

    @flow(name="night")
    def night() -> None:
        runs.append(flow_run.get_id())
        session.identifier = flow_run.get_id()
        run(0, baseline_proposal())
        if moment == "between trials":
            lose_server()
        run(1, DEEPER)
        if moment == "at the end":
            lose_server()
        show_session(session)
        _await_listener(session)

    def run(number: int, proposal: Proposal) -> TrialRecord:
        def once() -> TrialRecord:
            if any(record.number == number for record in session.ledger.records()):
                found: TrialRecord = session.ledger.record(number)
                return found
            return record_of(session, number, trial(STUDY, number, proposal, return_state=True))

        return with_prefect(session, once)

    monkeypatch.setattr(tasks.train, "train_once", train)
    monkeypatch.setattr(tasks.evaluate, "evaluate_once", evaluate)
    with ExitStack() as stack, as_current(session), events.listening(heard.append):
        night()
    verdicts = [record.verdict for record in session.ledger.records()]
    assert verdicts == [Verdict.KEEP, Verdict.KEEP]
    with get_client(sync_client=True) as client:
        states = {run.name: run.state_name for run in client.read_flow_runs()}
    assert set(states.values()) == {"Completed"}, states
    assert len(states) == 3
    said = [each.text for each in heard if isinstance(each, events.Notice)]
    assert sum("does not answer: the session waits" in text for text in said) == 1
    assert sum("answers again" in text for text in said) == 1


def test_a_server_that_stays_away_ends_the_wait_with_a_sentence(free_port: int) -> None:
    address = f"http://127.0.0.1:{free_port}/api"
    with temporary_settings({PREFECT_API_URL: address}):
        with pytest.raises(MachineryError, match=r"did not answer for \S+ s, so the session ends"):
            await_prefect(0.0, Outage(), do_nothing)
        table = partial(create_table_artifact, table=[{"trial": 0}], key="nobody-there")
        assert best_effort(table) is None

        def stop() -> None:
            raise SandboxError("It was asked to stop.")

        with pytest.raises(SandboxError, match="asked to stop"):
            await_prefect(1.0, Outage(), stop)


@pytest.fixture
def away(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """A server that is away; a clock of its own."""
    clock = [0.0]

    def sleep(seconds: float) -> None:
        clock[0] += seconds

    own = SimpleNamespace(monotonic=lambda: clock[0], sleep=sleep)
    monkeypatch.setattr(flows.outages, "time", own)
    monkeypatch.setattr(flows.outages, "_is_well", lambda: False)
    return clock


def test_one_outage_is_waited_for_once_however_many_steps_meet_it(
    away: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The confirmation, then the session's end."""
    outage, said = Outage(), list[events.Event]()
    with events.listening(said.append):
        for _ in range(2):
            with pytest.raises(PrefectAway, match="did not answer for 60 min, so the session"):
                await_prefect(1.0, outage, do_nothing)
            assert away == [3600]
        away[0] += 600
        with pytest.raises(PrefectAway, match="for 70 min"):
            await_prefect(1.0, outage, do_nothing)
    assert len(said) == 1
    monkeypatch.setattr(flows.outages, "_is_well", lambda: True)
    assert not await_prefect(1.0, outage, do_nothing)
    monkeypatch.setattr(flows.outages, "_is_well", lambda: False)
    began = away[0]
    with pytest.raises(PrefectAway):  # of the next one, as long again
        await_prefect(1.0, outage, do_nothing)
    assert away[0] - began == 3600


def test_who_stops_the_session_in_an_outage_ends_that_wait_and_the_next(
    away: list[float],
) -> None:
    outage = Outage()

    def stop() -> None:
        if away[0] > 100:
            raise SessionOver("`nightlab stop` asked for it.")

    with pytest.raises(SessionOver):
        await_prefect(1.0, outage, stop)
    waited = away[0]
    with pytest.raises(PrefectAway):
        await_prefect(1.0, outage, do_nothing)
    assert away[0] == waited < 200


@pytest.mark.parametrize("how", ["a person", "its time"])
def test_a_session_that_waits_for_prefect_hears_that_it_is_to_end(
    away: list[float], tmp_path: Path, how: str
) -> None:
    session = sample_session(tmp_path / "clone")
    session.settings = SessionSettings(study=STUDY, hours=2.0, wait_for_prefect_hours=3.0)
    with hold_session(session.ledger, None, session.identifier):
        if how == "a person":
            ask_to_stop(session.ledger)
        else:
            session.began -= timedelta(hours=2)
        with pytest.raises(SessionOver, match="It was waiting for Prefect's server"):
            with_prefect(session, do_nothing)
        with pytest.raises(PrefectAway):
            _await_listener(session)
    assert away == [0.0]


def test_only_a_server_that_is_away_is_an_outage() -> None:
    request = httpx.Request("POST", "http://127.0.0.1/api/flow_runs")

    def answered(status: int) -> Exception:
        return httpx.HTTPStatusError("", request=request, response=httpx.Response(status))

    assert is_outage(httpx.ConnectError("refused"))
    assert is_outage(httpx.ReadTimeout("silent"))
    assert is_outage(answered(503))
    assert not is_outage(answered(404))
    assert is_outage(RuntimeError("Failed to reach API at http://127.0.0.1/api"))
    assert not is_outage(RuntimeError("a session ended without a baseline"))


@pytest.fixture
def failing(away: list[float], monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """A server that says that it is well, and whose database is away; a clock of its own."""
    monkeypatch.setattr(flows.outages, "_is_well", lambda: True)
    return away


def internal_error() -> httpx.HTTPStatusError:
    request = httpx.Request("POST", "http://127.0.0.1/api/flow_runs")
    return httpx.HTTPStatusError("500", request=request, response=httpx.Response(500))


def test_a_server_that_is_well_and_answers_with_errors_is_not_asked_for_ever(
    failing: list[float],
) -> None:
    tries: list[float] = []

    def run() -> None:
        tries.append(failing[0])
        raise internal_error()

    with pytest.raises(MachineryError, match="answered with errors for 1 h"):
        through_outages(run, **PATIENT)
    assert 3600 <= failing[0] < 3700
    assert 100 < len(tries) < 150


def test_what_ends_a_wait_ends_that_for_errors_too(failing: list[float]) -> None:
    def closed() -> None:
        raise SandboxError("The session was interrupted")

    def run() -> None:
        raise internal_error()

    with pytest.raises(SandboxError):
        through_outages(run, **{**PATIENT, "while_waiting": closed})


def test_a_server_that_goes_away_again_while_its_pages_are_mended(
    failing: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    answers, mended = iter([False, True, True]), []
    monkeypatch.setattr(flows.outages, "await_prefect", lambda *_: next(answers))
    errors = iter([httpx.ConnectError("refused")])

    def mend() -> None:
        mended.append(True)
        if len(mended) == 1:
            raise httpx.ReadError("reset")

    def run() -> str:
        for error in errors:
            raise error
        return "done"

    assert through_outages(run, **{**PATIENT, "mend": mend}) == "done"
    assert len(mended) == 2


@pytest.mark.parametrize("signal", [KeyboardInterrupt(), TerminationSignal(signal=15)])
def test_an_interrupt_that_could_not_be_told_to_the_server_is_one(
    failing: list[float], signal: BaseException
) -> None:
    def run() -> None:
        try:
            raise signal
        except (KeyboardInterrupt, TerminationSignal):
            try:
                raise OSError("refused")
            except OSError as error:
                raise httpx.ConnectError("refused") from error

    with pytest.raises(type(signal)):
        through_outages(run, **PATIENT)


def raised_while(error: BaseException) -> Exception:
    """What Prefect's engine raises where it cannot tell its server how a run ended."""
    try:
        try:
            raise error
        except (MachineryError, KeyboardInterrupt):
            raise httpx.ConnectError("All connection attempts failed")  # noqa: B904
    except httpx.ConnectError as found:
        return found


def test_a_run_whose_end_prefect_did_not_hear_ends_by_what_ended_it() -> None:
    away = MachineryError("did not answer for 1 h")
    assert ended_by(raised_while(away)) is away
    interrupt = KeyboardInterrupt()
    assert ended_by(raised_while(interrupt)) is interrupt
    assert "start the server" in str(ended_by(httpx.ConnectError("refused")))
    fault = RuntimeError("a session ended without a baseline")
    assert ended_by(fault) is fault
    with pytest.raises(MachineryError, match="did not answer for 1 h"), _ends_known():
        raise raised_while(away)
    with pytest.raises(RuntimeError, match="without a baseline"), _ends_known():
        raise fault
