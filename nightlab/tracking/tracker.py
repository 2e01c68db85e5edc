"""Shows a session's trials in MLflow while they go on, without ever holding them up.

One thread writes, in order. A failure of MLflow never reaches a trial: it is said once,
the trial's live view is given up, and its record is written at the next trial's end or,
for certain, by ``nightlab sync``.
"""

import threading
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from urllib.parse import urlsplit

from nightlab import events
from nightlab.errors import TrackingError
from nightlab.ledger.confirmations import ConfirmationRecord
from nightlab.ledger.consolidations import ConsolidationRecord
from nightlab.records import CurvePoint, Evidence, InFlight, KeptModel, Replicate, TrialRecord
from nightlab.tracking.champion import show_model
from nightlab.tracking.confirmations import NUMBER_TAG, describe_confirmation
from nightlab.tracking.connection import (
    cause,
    failures,
    import_mlflow,
    is_refusal,
    shown_address,
)
from nightlab.tracking.consolidations import CONSOLIDATION_TAG, describe_consolidation
from nightlab.tracking.content import TrialContent, TrialFacts, describe_trial, trial_params
from nightlab.tracking.failures import explain
from nightlab.tracking.live_curve import LiveCurve
from nightlab.tracking.machine import MachineWatch
from nightlab.tracking.origin import Origin
from nightlab.tracking.pairs import Incumbent
from nightlab.tracking.replicates import describe_replicate
from nightlab.tracking.runs import RunContent, milliseconds, now_ms
from nightlab.tracking.store import Store
from nightlab.tracking.study_run import describe_study
from nightlab.tracking.tags import CANDIDATE, KIND_TAG
from nightlab.tracking.traces import send_traces, traced, untraced
from nightlab.tracking.views import View, view_url

RUN_WAIT_SECONDS = 10.0
"""How long a model's first call waits for its trial's run, so that its trace has a home."""
CLOSE_SECONDS = 10.0
CLOSE_SECONDS_AWAY = 1.0


class Tracker:
    """MLflow's view of one study, kept by one session.

    Args:
        tracking_uri: MLflow's store.
        mlruns: where a local store keeps its database and artifacts; made on demand.
        study: the study's name; the experiment is ``nightlab/<study>``.
        origin: where its code and text come from.
    """

    def __init__(
        self, tracking_uri: str, mlruns: Path, study: str, origin: Origin | None = None
    ) -> None:
        self.study = study
        self.origin = origin or Origin()
        self.away: str | None = None
        """What a person should know when MLflow did not take everything; else None."""
        self._uri = tracking_uri
        self._mlruns = mlruns
        self._store: Store | None = None
        self._runs: dict[int, str] = {}
        self._started_ms: dict[int, int] = {}
        self._curves: dict[tuple[int, int, str], LiveCurve] = {}
        self._given_up: set[int] = set()
        self._refused: set[int] = set()
        self._begun: set[int] = set()
        """Trials that have begun and have not ended."""
        self._ended: set[int] = set()
        self._traced = False
        self._watch = MachineWatch(tracking_uri)
        self._unwritten: dict[int, TrialContent] = {}
        self._guard = threading.Lock()
        self._settled = threading.Condition(self._guard)
        # Imported here, in the caller's thread: two threads that import the same packages
        # at once can meet half-made modules.
        import_mlflow()
        self._writer = ThreadPoolExecutor(max_workers=1, thread_name_prefix="mlflow")
        self._pending: set[Future[None]] = set()

    # What a trial tells; each returns at once.

    def took_over(self, in_hand: Collection[int]) -> None:
        """Close what sessions before this one left open, which holds the study now.

        Args:
            in_hand: trials of which there is no more than the idea.
        """
        self._submit(lambda: self._open().close_open(in_hand=in_hand))

    def trial_started(self, mark: InFlight, facts: TrialFacts) -> None:
        """Open the trial's run, or take up the one that a killed session left."""
        title = mark.proposal.title if mark.proposal is not None else ""
        number, started_ms = mark.number, milliseconds(mark.started_at)
        self._started_ms[number] = started_ms
        dataset = self.origin.dataset(facts)

        def write() -> None:
            params = trial_params(number, facts)
            self._runs[number] = self._open().open_trial(
                number, started_ms, title, params, facts.tags(), dataset
            )

        self._given_up.discard(number)
        self._begun.add(number)
        self._submit(write, number)

    def replicate_started(self, number: int, seed: int, began: datetime, whose: str = "") -> None:
        """Open the child run of one training; ``whose`` is empty for the candidate's own."""
        curve = self._curves[number, seed, whose] = LiveCurve(milliseconds(began))

        def write() -> None:
            trial = self._run(number)
            curve.run_id = self._open().open_replicate(
                number, trial, seed, curve.started_ms, whose or CANDIDATE
            )
            self._watch.follow(trial)

        self._submit(write, number)

    def replicate_ended(self, mark: InFlight, replicate: Replicate, whose: str = "") -> None:
        """Complete the child run of one training."""
        number = mark.number
        content = describe_replicate(
            self.study, number, replicate, whose or CANDIDATE, mark.started_at
        )
        self._curves.pop((number, replicate.seed, whose), None)
        self._submit(lambda: self._open().write_replicate(number, content), number)

    def point(self, number: int, seed: int, point: CurvePoint, whose: str = "") -> None:
        """Add a point to a training's curve; sent every two seconds or so."""
        curve = self._curves.get((number, seed, whose))
        if curve is None or number in self._given_up:
            return
        if curve.add(point):
            self._submit(lambda: self._send(curve), number)

    def trial_ended(
        self,
        record: TrialRecord,
        evidence: Evidence,
        diff: str,
        source: str,
        incumbent: Incumbent | None = None,
    ) -> None:
        """Complete the trial's runs; what an earlier trial could not write is tried again."""
        dataset = self.origin.dataset(record)
        content = describe_trial(record, evidence, diff, source, incumbent, dataset)
        self._begun.discard(record.number)
        self._ended.add(record.number)
        for key in [key for key in self._curves if key[0] == record.number]:
            del self._curves[key]

        def write() -> None:
            self._unwritten[content.number] = content
            self._watch.end()
            self._write_unwritten()

        self._submit(write, record.number, last_try=True)

    def confirmed(self, record: ConfirmationRecord) -> None:
        """Show a finished confirmation as a run of its own."""
        self._show(describe_confirmation(record), NUMBER_TAG)

    def consolidated(self, record: ConsolidationRecord) -> None:
        """Show a finished consolidation as a run of its own."""
        self._show(describe_consolidation(record), CONSOLIDATION_TAG)

    def study_changed(self, records: Sequence[TrialRecord], gain: str) -> None:
        """Bring the study's own run up to date.

        Args:
            records: all of the study's.
            gain: what was gained so far, in a sentence.
        """
        self._show(describe_study(records, gain, self.origin.dataset(records[-1])), KIND_TAG)

    def model_kept(self, folder: Path, model: KeptModel, *, only_champion: bool) -> None:
        """Put a kept trial's model into MLflow's registry; a failure is said."""

        def write() -> None:
            store = self._open()
            try:
                show_model(store, self._uri, folder, model, only_champion=only_champion)
            except TrackingError as error:
                text = f"The model of trial {model.trial} is not in MLflow: {error}"
                events.publish(events.Notice(text=text))

        self._submit(write)

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

    @property
    def experiment_id(self) -> str | None:
        """MLflow's identifier of the study; None until it has shown that it is there."""
        return self._store.experiment_id if self._store is not None else None

    def study_url(self, view: View = View.TRIALS) -> str | None:
        """Address of the study's page; None for a local file, or while MLflow is away."""
        is_served = urlsplit(self._uri).scheme in ("http", "https")
        known = self.experiment_id
        return view_url(self._uri, known, view) if is_served and known else None

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
        if self.away is None and self._runs:
            self._submit(self._close_open)
        self.flush(CLOSE_SECONDS if self.away is None else CLOSE_SECONDS_AWAY)
        self._writer.shutdown(wait=False, cancel_futures=True)

    # In the writer's thread.

    def _open(self) -> Store:
        if self._store is None:
            self._store = Store(self._uri, self._mlruns, self.study, self.origin)
        return self._store

    def _run(self, number: int) -> str:
        if number not in self._runs:
            self._runs[number] = self._open().open_trial(number, self._started(number))
        return self._runs[number]

    def _started(self, number: int) -> int:
        return self._started_ms.get(number) or now_ms()

    def _send(self, curve: LiveCurve) -> None:
        if curve.run_id is not None:
            self._open().log_rows(curve.run_id, curve.take())

    def _write_unwritten(self) -> None:
        store = self._open()
        for number, content in sorted(self._unwritten.items()):
            try:
                self._runs[number] = store.write_trial(content, store.trial(number)).run_id
            except failures() as error:
                if not is_refusal(error):
                    raise
                self._say_refused(number, error)
            del self._unwritten[number]
        if self.away is not None:
            self.away = None
            events.publish(
                events.Notice(text="MLflow answers again, and has this session's trials.")
            )
        if self._traced:
            send_traces()

    def _close_open(self) -> None:
        self._watch.end()
        ended = self._ended - set(self._unwritten)
        in_hand = set(self._runs) - self._begun - self._ended
        self._open().close_open(ended, in_hand)

    # Between the two.

    def _show(self, content: RunContent, key: str) -> None:
        def write() -> None:
            if self.away is None:  # by now: the trial before it may have found MLflow again
                self._open().write_alone(content, key)

        self._submit(write)

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
            if number is not None and is_refusal(error):
                self._say_refused(number, error)
            elif self.away is None:
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

    def _say_refused(self, number: int, error: BaseException) -> None:
        if number not in self._refused:
            self._refused.add(number)
            text = f"MLflow does not take trial {number}, so its pages lack it: {cause(error)}"
            events.publish(events.Notice(text=text))

    def _say_away(self, what: str, remedy: str = "") -> None:
        known = self.away is not None
        mend = f"{remedy}; then " if remedy else ""
        self.away = (
            f"MLflow at {shown_address(self._uri)} {what}: trials go on and nothing is lost; "
            f"{mend}`nightlab sync {self.study}` brings it up to date from git."
        )
        if not known:
            events.publish(events.Notice(text=self.away))
