"""What a person asks of a session while it runs: ideas, a word on what was kept, and its end."""

import time
from collections.abc import Iterable
from contextlib import suppress
from functools import cached_property

from nightlab import events
from nightlab.errors import LedgerError, RemoteError, SessionOver
from nightlab.judging.score_text import waiting_sentence
from nightlab.ledger import (
    WORDS,
    Ledger,
    StopRequest,
    forget_stop,
    hear_stop,
    settle_suggestions,
    stop_request,
    waiting_suggestions,
)
from nightlab.proposers import KnobProposer
from nightlab.records import Approval, TrialRecord, utc_now
from nightlab.records.counting import counted
from nightlab.records.durations import SECONDS_PER_HOUR
from nightlab.report.study import trial_seconds
from nightlab.study.session import Session, say_once
from nightlab.study.showing import show_record

NOT_HEARD = "Suggestions and stop requests from elsewhere cannot be read now"


LOOK_SECONDS = 5.0
"""Who stops a session that waits need not wait for more."""
HEAR_SECONDS = 60.0
"""The same on the study's remote, which has to be asked."""


def stop_asked(session: Session, ledger: Ledger | None = None) -> StopRequest | None:
    """A person's request that ends what the session does now, as it stands here.

    One from before the trials ended has ended those; what follows them then goes on.

    Args:
        session: at work.
        ledger: the study's, of the calling thread; None for the session's.
    """
    request = stop_request(ledger or session.ledger, session.identifier)
    after = session.trials_ended_at
    return None if request is None or (after and request.asked_at <= after) else request


def require_no_stop(session: Session) -> None:
    """Between two steps, end what the session does where a person asked for that.

    Raises:
        SessionOver: it was asked for, here or on the study's remote.
    """
    if session.remote is not None:
        try:
            hear_stop(session.ledger, session.remote, session.identifier)
        except (RemoteError, LedgerError) as error:
            say_once(session, "hear", f"{NOT_HEARD}: {error}")
    if (request := stop_asked(session)) is not None:
        raise SessionOver(request.sentence())


def hours_used(session: Session, records: Iterable[TrialRecord]) -> float:
    """Hours that a session has worked; a retried run counts on, without the time in between."""
    before = sum(
        trial_seconds(each)
        for each in records
        if each.session == session.identifier and each.finished_at < session.began
    )
    return (before + (utc_now() - session.began).total_seconds()) / SECONDS_PER_HOUR


class Ear:
    """What a session hears while it waits, whatever it waits for: that it is to end meanwhile.

    Any thread may wait with one of its own.

    Args:
        session: that waits.
        awaited: what it waits for, for people.
    """

    def __init__(self, session: Session, awaited: str) -> None:
        self._session = session
        self._awaited = awaited
        self._asks_remote_at = time.monotonic() + HEAR_SECONDS
        self._looks_at = 0.0

    @cached_property
    def _ledger(self) -> Ledger:
        return Ledger(self._session.ledger.root, self._session.ledger.study)

    def __call__(self) -> None:
        """End the wait where the session is to end; to be called now and then.

        Raises:
            SandboxError: it was interrupted.
            SessionOver: a person asked for its end, here or on the study's remote, or its time is
                over.
        """
        self._session.sandbox.require_open()
        if time.monotonic() < self._looks_at:
            return
        self._looks_at = time.monotonic() + LOOK_SECONDS
        self._ask_remote()
        if (over := self._over()) is not None:
            raise SessionOver(f"{over} It was waiting for {self._awaited}.")

    def sleep(self, seconds: float) -> None:
        """Wait for so long.

        Raises:
            SandboxError, SessionOver: as a call.
        """
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0:
            self()
            time.sleep(min(LOOK_SECONDS, left))

    def _ask_remote(self) -> None:
        session = self._session
        if session.remote is None or time.monotonic() < self._asks_remote_at:
            return
        with suppress(RemoteError, LedgerError):  # the session says so between its trials
            hear_stop(self._ledger, session.remote, session.identifier)
        self._asks_remote_at = time.monotonic() + HEAR_SECONDS

    def _over(self) -> str | None:
        session = self._session
        if (request := stop_asked(session, self._ledger)) is not None:
            return request.sentence()
        hours = session.settings.hours
        if hours is None or session.trials_ended_at is not None:
            return None
        is_over = hours_used(session, self._ledger.records()) >= hours
        return f"The time given, {hours:g} h, is over." if is_over else None


class Steering:
    """Hears what is asked of a session, between its trials.

    Nothing here stops a trial: where a remote does not answer, that is said, and it is asked again.
    """

    def __init__(self, session: Session) -> None:
        self._session = session
        self._is_said = False
        self._waiting: set[int] = set()
        """Keeps that waited for a word when it was last looked."""

    def begin(self) -> None:
        """Put away what earlier sessions were asked, and what a kill of them left half done."""
        session = self._session
        records = session.ledger.records()
        settle_suggestions(session.ledger, records)
        self._waiting = {each.number for each in session.ledger.waiting()}
        if session.settings.approve == "nothing" and any(each.approval for each in records):
            said = (
                "This session asks for no word (--approve keeps does): what it keeps is approved."
            )
            if self._waiting:
                said = f"{waiting_sentence(session.ledger.study, records)} What is kept on top "
                said += "waits, too."
            events.publish(events.Notice(text=said))
        try:
            forget_stop(session.ledger, session.remote, unless=session.identifier)
        except RemoteError as error:
            self._say(error)

    def hear(self) -> None:
        """Bring in what was asked on the study's remote, and say what nobody can read."""
        session = self._session
        if session.remote is not None:
            try:
                hear_stop(session.ledger, session.remote, session.identifier)
                session.remote.fetch(("suggestions", *WORDS))
            except (RemoteError, LedgerError) as error:
                self._say(error)
        self._say_words()
        if self._is_said or session.proposer.name != KnobProposer.name:
            return
        waiting = len(waiting_suggestions(session.ledger))
        if waiting:
            self._is_said = True
            what = counted(waiting, "suggestion waits", "suggestions wait")
            text = f"{what} for a proposer that reads: the knobs proposer only tunes constants."
            events.publish(events.Notice(text=text))

    def _say_words(self) -> None:
        """Say what became of keeps that waited, here and in MLflow."""
        session, ledger = self._session, self._session.ledger
        waiting = {each.number for each in ledger.waiting()}
        for number in sorted(self._waiting - waiting):
            record = ledger.record(number)
            show_record(session.tracker, ledger, record)
            said = f"{record.verdict.value} ({record.reason_text}). {record.decision.sentence}"
            if record.approval is Approval.APPROVED:
                said = f"approved, and on branch {ledger.branch}."
            events.publish(events.Notice(text=f"Trial {number}: {said}"))
        self._waiting = waiting

    def end(self) -> None:
        """Put away the request that ended the session, so that it stops no other."""
        try:
            forget_stop(self._session.ledger, self._session.remote)
        except RemoteError as error:
            self._say(error)

    def _say(self, error: Exception) -> None:
        say_once(self._session, "hear", f"{NOT_HEARD}: {error}")
