"""Shows a session's trials in MLflow while they go on, without ever holding them up.

One thread writes, in order. A failure of MLflow never reaches a trial: it is said once,
the trial's live view is given up, and its record is written at the next trial's end or,
for certain, by ``nightlab sync``.
"""

import threading
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from nightlab import events
from nightlab.ledger.confirmations import ConfirmationRecord
from nightlab.ledger.consolidations import ConsolidationRecord
from nightlab.records import CurvePoint, Evidence, InFlight, TrialRecord, utc_now
from nightlab.tracking.confirmations import NUMBER_TAG, describe_confirmation
from nightlab.tracking.connection import import_mlflow, shown_address
from nightlab.tracking.consolidations import CONSOLIDATION_TAG, describe_consolidation
from nightlab.tracking.content import (
    CANDIDATE,
    TrialContent,
    TrialFacts,
    describe_trial,
    milliseconds,
    trial_params,
)
from nightlab.tracking.curves import curve_rows
from nightlab.tracking.failures import explain
from nightlab.tracking.store import Store
from nightlab.tracking.traces import send_traces, traced, untraced

POINTS_EVERY_SECONDS = 2.0
RUN_WAIT_SECONDS = 10.0
"""How long a model's first call waits for its trial's run, so that its trace has a home."""
CLOSE_SECONDS = 10.0
CLOSE_SECONDS_AWAY = 1.0


@dataclass(slots=True)
class _Curve:
    """The points of one replicate that are not sent yet."""

    run_id: str | None = None
    waiting: list[CurvePoint] = field(default_factory=list)
    last: CurvePoint | None = None
    """The last point that was sent."""
    sent_at: float = 0.0


class Tracker:
    """MLflow's view of one study, kept by one session.

    Args:
        tracking_uri: MLflow's store.
        mlruns: where a local store keeps its database and artifacts; made on demand.
        study: the study's name; the experiment is ``nightlab/<study>``.
    """

    def __init__(self, tracking_uri: str, mlruns: Path, study: str) -> None:
        self.study = study
        self.away: str | None = None
        """What a person should know when MLflow did not take everything; else None."""
        self._uri = tracking_uri
        self._mlruns = mlruns
        self._store: Store | None = None
        self._runs: dict[int, str] = {}
        self._started_ms: dict[int, int] = {}
        self._curves: dict[tuple[int, int, str], _Curve] = {}
        self._given_up: set[int] = set()
        self._begun: set[int] = set()
        """Trials that have begun and have not ended."""
        self._ended: set[int] = set()
        self._traced = False
        self._unwritten: dict[int, TrialContent] = {}
        self._guard = threading.Lock()
        self._settled = threading.Condition(self._guard)
        # Imported here, in the caller's thread: two threads that import the same packages
        # at once can meet half-made modules.
        import_mlflow()
        self._writer = ThreadPoolExecutor(max_workers=1, thread_name_prefix="mlflow")
        self._pending: set[Future[None]] = set()

    # What a trial tells; each returns at once.

    def trial_started(self, mark: InFlight, facts: TrialFacts) -> None:
        """Open the trial's run, or take up the one that a killed session left."""
        title = mark.proposal.title if mark.proposal is not None else ""
        number, started_ms = mark.number, milliseconds(mark.started_at)
        self._started_ms[number] = started_ms

        def write() -> None:
            self._runs[number] = self._open().open_trial(
                number, started_ms, title, trial_params(facts)
            )

        self._given_up.discard(number)
        self._begun.add(number)
        self._submit(write, number)

    def replicate_started(self, number: int, seed: int, whose: str = "") -> None:
        """Open the child run of one training; ``whose`` is empty for the candidate's own."""
        curve = _Curve(sent_at=time.monotonic())
        self._curves[number, seed, whose] = curve

        def write() -> None:
            curve.run_id = self._open().open_replicate(
                number, self._run(number), seed, self._started(number), whose or CANDIDATE
            )

        self._submit(write, number)

    def point(self, number: int, seed: int, point: CurvePoint, whose: str = "") -> None:
        """Add a point to a training's curve; sent every two seconds or so."""
        curve = self._curves.get((number, seed, whose))
        if curve is None or number in self._given_up:
            return
        now = time.monotonic()
        with self._guard:
            curve.waiting.append(point)
            if now - curve.sent_at < POINTS_EVERY_SECONDS:
                return
            curve.sent_at = now
        self._submit(lambda: self._send(number, curve), number)

    def trial_ended(self, record: TrialRecord, evidence: Evidence, diff: str, source: str) -> None:
        """Complete the trial's runs; what an earlier trial could not write is tried again."""
        content = describe_trial(record, evidence, diff, source)
        self._begun.discard(record.number)
        self._ended.add(record.number)
        for key in [key for key in self._curves if key[0] == record.number]:
            del self._curves[key]

        def write() -> None:
            self._unwritten[content.number] = content
            self._write_unwritten()

        self._submit(write, record.number, last_try=True)

    def confirmed(self, record: ConfirmationRecord) -> None:
        """Show a finished confirmation as a run of its own."""
        content = describe_confirmation(record)
        if self.away is None:
            self._submit(lambda: self._open().write_alone(content, NUMBER_TAG))

    def consolidated(self, record: ConsolidationRecord) -> None:
        """Show a finished consolidation as a run of its own."""
        content = describe_consolidation(record)
        if self.away is None:
            self._submit(lambda: self._open().write_alone(content, CONSOLIDATION_TAG))

    def files_written(self, kind: str, paths: Iterable[Path]) -> None:
        """Put files, such as the report's, on the study's run of that kind and name."""
        chosen = tuple(paths)
        if self.away is None:
            self._submit(lambda: self._open().log_files(kind, kind, chosen))

    @contextmanager
    def model_calls(self, number: int) -> Iterator[None]:
        """Make a model's calls in the block traces of the trial's run.

        Waits a few seconds for the run, since a trace is tied to it when the call begins;
        without a run the calls are not traced.
        """
        run_id = self._await_run(number)
        store = self._store
        if run_id is None or store is None:
            with untraced():
                yield
            return
        self._traced = True
        with traced(self._uri, store.experiment_id, run_id, self.study, number):
            yield

    # What others ask.

    def run_url(self, number: int) -> str | None:
        """Address of the run's page; None for a local file, or while there is no run."""
        run_id, store = self._runs.get(number), self._store
        if run_id is None or store is None or urlsplit(self._uri).scheme not in ("http", "https"):
            return None
        address = shown_address(self._uri).rstrip("/")
        page = f"{address}/#/experiments/{store.experiment_id}/runs/{run_id}"
        # Else MLflow takes an experiment with traces for one of language models.
        return f"{page}?workflowType=machine_learning"

    def flush(self, timeout_seconds: float) -> bool:
        """Wait until all is written; say whether it is.

        Args:
            timeout_seconds: the longest wait.
        """
        with self._settled:
            in_time = self._settled.wait_for(lambda: not self._pending, timeout_seconds)
        if not in_time and self.away is None:
            self._say_away(f"did not take everything within {timeout_seconds:.0f} s")
        return in_time and self.away is None

    def close(self) -> None:
        """Write what can be written within seconds, and let go of the rest.

        What is still open goes on in another session: a trial that was cut off is shown as
        killed, one whose idea is in hand as scheduled.
        """
        if self.away is None and self._store is not None:
            self._submit(self._set_aside)
        self.flush(CLOSE_SECONDS if self.away is None else CLOSE_SECONDS_AWAY)
        self._writer.shutdown(wait=False, cancel_futures=True)

    # In the writer's thread.

    def _open(self) -> Store:
        if self._store is None:
            self._store = Store(self._uri, self._mlruns, self.study)
        return self._store

    def _run(self, number: int) -> str:
        if number not in self._runs:
            self._runs[number] = self._open().open_trial(number, self._started(number))
        return self._runs[number]

    def _started(self, number: int) -> int:
        return self._started_ms.get(number) or milliseconds(utc_now())

    def _send(self, number: int, curve: _Curve) -> None:
        with self._guard:
            points, curve.waiting = curve.waiting, []
            previous, curve.last = curve.last, points[-1] if points else curve.last
        if curve.run_id is not None:
            rows = curve_rows(points, self._started(number), previous)
            self._open().log_rows(curve.run_id, rows)

    def _write_unwritten(self) -> None:
        store = self._open()
        for number, content in sorted(self._unwritten.items()):
            self._runs[number] = store.write_trial(content, store.trial(number)).run_id
            del self._unwritten[number]
        if self.away is not None:
            self.away = None
            events.publish(
                events.Notice(text="MLflow answers again, and has this session's trials.")
            )
        if self._traced:
            send_traces()

    def _set_aside(self) -> None:
        for number in sorted(set(self._runs) - self._ended):
            self._open().set_aside(number, begun=number in self._begun)

    # Between the two.

    def _submit(
        self, write: Callable[[], object], number: int | None = None, *, last_try: bool = False
    ) -> "Future[None]":
        def job() -> None:
            # One failure is enough to know: the live view of this trial is not tried further.
            if last_try or number not in self._given_up:
                write()

        with self._guard:
            future = self._writer.submit(job)
            self._pending.add(future)
        future.add_done_callback(lambda done: self._settle(done, number))
        return future

    def _settle(self, done: "Future[None]", number: int | None) -> None:
        error = None if done.cancelled() else done.exception()
        if error is not None:
            if number is not None:
                self._given_up.add(number)
            if self.away is None:
                failure = explain(error, self._uri)
                self._say_away(failure.what, failure.remedy)
        with self._settled:
            self._pending.discard(done)
            self._settled.notify_all()

    def _await_run(self, number: int) -> str | None:
        if self.away is not None:
            return None

        def write() -> None:
            self._run(number)

        # Waiting for a future tells of time only: its failure was dealt with above.
        wait([self._submit(write, number)], timeout=RUN_WAIT_SECONDS)
        return self._runs.get(number)

    def _say_away(self, what: str, remedy: str = "") -> None:
        known = self.away is not None
        mend = f"{remedy}; then " if remedy else ""
        self.away = (
            f"MLflow at {shown_address(self._uri)} {what}: trials go on and nothing is lost; "
            f"{mend}`nightlab sync {self.study}` brings it up to date from git."
        )
        if not known:
            events.publish(events.Notice(text=self.away))
