"""The page of a study that rewrites itself while a session works.

``mlruns/reports/STUDY.html`` is the study's report, and above it what is under way. Nothing rests
on it: where it cannot be drawn or served, that is said once and the session goes on. It costs at
most ``MOST_SHARE`` of a processor: the dearer a drawing was, the later is the next.
"""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from flows.page_server import PageServer
from flows.session_state import SessionState, Training
from flows.terminal import Terminal
from nightlab import events
from nightlab.judging.score_text import needed_probability
from nightlab.judging.scores import standing_record
from nightlab.ledger import ConfirmationRecord, Ledger, confirmations
from nightlab.records import TrialRecord, Verdict, utc_now
from nightlab.settings import SessionSettings

if TYPE_CHECKING:
    from nightlab.report.live import TrainingUnderWay, UnderWay

EVERY_SECONDS = 2.0
LATEST_SECONDS = 10.0
"""Where nothing happens, the page still says how long."""
MOST_SHARE = 0.015
CLOSE_SECONDS = 5.0
REPORT_STEP = "report"


class LivePage:
    """Draws a study's page in a thread of its own.

    Args:
        ledger: the study's, of this thread alone.
        folder: where the page is put.
    """

    def __init__(self, ledger: Ledger, folder: Path) -> None:
        self._ledger = ledger
        self._folder = folder
        self._state = SessionState(ledger.study, ledger.records())
        self._guard = threading.Lock()
        """Of the state."""
        self._drawing = threading.Lock()
        """Held while the page is written."""
        self._is_new = True
        self._is_report = False
        """Whether the report stands there, which no page under way may replace."""
        self._failed = False
        self._is_told = True
        """Whether the ledger has something new."""
        self._confirmed: tuple[ConfirmationRecord, ...] = ()
        self._diffs: dict[int, str] = {}
        self._known: str | None = None
        """The incumbent whose curves were read from the ledger."""
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._keep_drawing, name="live page", daemon=True)

    def listen(self, event: events.Event) -> None:
        """Take one event in; when the report is about to be written, make room for it."""
        with self._guard:
            self._state.take(event)
            self._is_new = True
            self._is_told |= isinstance(event, events.TrialEnded | events.Notice)
        if isinstance(event, events.StepBegun):
            is_report = event.number is None and event.step == REPORT_STEP
            if is_report != self._is_report:
                with self._drawing:
                    self._is_report = is_report

    def begin(self) -> None:
        """Draw the first page, and go on in the background."""
        self._draw()
        self._thread.start()

    def close(self) -> None:
        """Stop, and leave a page that rewrites itself no more."""
        self._closing.set()
        self._thread.join(CLOSE_SECONDS)
        if not self._thread.is_alive():
            self._draw(is_last=True)

    def _keep_drawing(self) -> None:
        pause, drawn_at = EVERY_SECONDS, time.monotonic()
        while not self._closing.wait(pause):
            if not self._is_new and time.monotonic() - drawn_at < LATEST_SECONDS:
                continue
            began, drawn_at = time.thread_time(), time.monotonic()
            self._draw()
            pause = max(EVERY_SECONDS, (time.thread_time() - began) / MOST_SHARE)

    def _draw(self, *, is_last: bool = False) -> None:
        """Write the page; a failure is said once."""
        if self._failed:
            return
        try:
            with self._drawing:
                if not self._is_report:
                    self._is_new = False
                    self._write(is_last=is_last)
        except Exception as error:  # noqa: BLE001 - nothing that draws may end a session
            self._failed = True
            text = (
                f"The page {self._folder / self._ledger.study}.html is not renewed any more "
                f"({type(error).__name__}: {error}); the session goes on."
            )
            events.publish(events.Notice(text=text))

    def _write(self, *, is_last: bool) -> None:
        # Imported here: what starts a session should not wait for it.
        from nightlab.report.page import render_page
        from nightlab.report.study import read_study
        from nightlab.report.write import put_page, report_files

        self._read_ledger()
        with self._guard:
            records = tuple(self._state.records)
            under_way = None if is_last else _under_way(self._state)
        study = read_study(_Records(self._ledger.study, records), self._confirmed)
        page = render_page(study, self._diffs, under_way)
        put_page(report_files(self._folder, study.name).html, page)

    def _read_ledger(self) -> None:
        """Read what is new there: records, confirmations, diffs, and the incumbent's curves."""
        with self._guard:
            is_told, self._is_told = self._is_told, False
        if is_told:
            records, self._confirmed = self._ledger.records(), confirmations(self._ledger)
            for record in records:
                if record.verdict is Verdict.KEEP and record.number not in self._diffs:
                    self._diffs[record.number] = self._ledger.diff(record)
            with self._guard:
                self._state.records = list(records)
        self._read_twins()

    def _read_twins(self) -> None:
        """Read the curves of an incumbent that an earlier session trained, once."""
        with self._guard:
            standing = standing_record(self._state.records)
            seeds = {each.seed for each in self._state.trainings.values()}
            is_missing = any(not self._state.twin(seed) for seed in seeds)
        if standing is None or standing.commit == self._known or not is_missing:
            return
        self._known = standing.commit
        evidence = self._ledger.evidence(standing.number)
        with self._guard:
            for each in evidence.replicates:
                self._state.remember(each.seed, each.training.curve)


@dataclass(frozen=True, slots=True)
class _Records:
    """A study with the records that were read last."""

    study: str
    all_records: tuple[TrialRecord, ...]

    def records(self) -> tuple[TrialRecord, ...]:
        """All of them, in order."""
        return self.all_records

    def diff(self, record: TrialRecord) -> str:
        """Not known here: the page is given its diffs."""
        return ""


def _under_way(state: SessionState) -> "UnderWay":
    from nightlab.report.live import UnderWay

    step, records = state.step, state.records
    needed = needed_probability(records[-1]) if records else SessionSettings().keep_probability
    return UnderWay(
        number=step.number if step else None,
        step=step.step if step else "begin",
        title=step.title if step else "the session begins",
        detail=step.detail if step else "",
        seconds=time.monotonic() - state.step_began,
        trainings=tuple(_shown(state, each) for each in state.trainings.values()),
        twins={each.seed: state.twin(each.seed) for each in state.trainings.values()},
        pairs=state.pairs,
        probability_better=state.probability_better,
        needed=needed,
        notice=state.notice,
        written_at=utc_now(),
    )


def _shown(state: SessionState, training: Training) -> "TrainingUnderWay":
    from nightlab.report.live import TrainingUnderWay

    gate = training.gate
    return TrainingUnderWay(
        seed=training.seed,
        whose=training.whose,
        name=state.name_of(training),
        stage=training.stage,
        budget_seconds=gate.budget_seconds if gate else None,
        budget_tokens=gate.budget_tokens if gate else None,
        points=tuple(training.points),
    )


@contextmanager
def live_page(console: Terminal, ledger: Ledger, folder: Path) -> Iterator[None]:
    """Have the study's page follow the session while the block runs, and name its address.

    Args:
        console: where the address is said.
        ledger: the study's.
        folder: of reports.
    """
    page = LivePage(Ledger(ledger.root, ledger.study), folder)
    page.begin()
    server = _served(folder, ledger.study)
    where = f"{folder / ledger.study}.html"
    said = f"Page: {server.address} (it renews itself; the file is {where})" if server else ""
    console.say(said or f"Page: {where} (it renews itself)")
    try:
        with events.listening(page.listen):
            yield
    finally:
        page.close()
        if server is not None:
            server.close(is_final=True)


def _served(folder: Path, study: str) -> PageServer | None:
    """The page's server; None where no port can be had: the file is there all the same."""
    try:
        return PageServer(folder, study)
    except OSError:
        return None
