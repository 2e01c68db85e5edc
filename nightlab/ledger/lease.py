"""Who works on a study, across machines: a note on the study's remote.

    refs/nightlab/<study>/session   a JSON note: who, since when, last heard of when

It is only ever changed by compare-and-swap, and rides along with every push of records: a session
that lost it cannot push, and stops. A session that lives renews it every minute. It is free once
it was given back; at once where its process is known to be dead or its flow run to have ended; and
otherwise once whoever waits has seen it unchanged for longer than a live session's renewal can
take.
"""

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from nightlab.errors import LedgerError, RemoteError, StudyBusy
from nightlab.events import Notice, publish
from nightlab.ledger.documents import from_json, to_json
from nightlab.ledger.exchange import WAIT_LIMITS
from nightlab.ledger.merging import RefUpdate
from nightlab.ledger.presence import SessionNote
from nightlab.ledger.remote import Remote
from nightlab.records import utc_now

BEAT_SECONDS = 60.0
SILENT_SECONDS = WAIT_LIMITS.silent_seconds + WAIT_LIMITS.seconds + 2 * BEAT_SECONDS
"""How long whoever waits has to see a note unchanged before its session counts as gone: longer than
a renewal that succeeds can take, a question and a push, and than a session leaves a remote alone
that swallowed one. By the clock of the one who waits."""
ABANDONED_AFTER_SECONDS = 1800.0
"""Seems gone, by the time that the note says, which another machine's clock gave it."""


def _nobody_knows(_holder: str) -> float | None:
    return None


def _go_on() -> None:
    pass


@dataclass(frozen=True, slots=True, kw_only=True)
class Waiting:
    """What to do while another session holds the study."""

    seconds: float = 0.0
    """How long to wait for it; 0 to be refused at once."""
    here_too: bool = True
    """Whether a live session on this machine is waited for as well: where a person sits before
    the terminal, it is better named at once."""
    silence_of: Callable[[str], float | None] = _nobody_knows
    """For how many seconds the note of a holder has to be seen unchanged before its session is
    gone: none where it is known to have ended, for ever where it is known to live. None where
    nothing is known of it."""
    poll_seconds: float = 5.0
    """How often the remote is asked."""
    while_waiting: Callable[[], None] = _go_on
    """Called as often; what it raises ends the wait."""


class Lease:
    """A session's note on a remote.

    Args:
        remote: the study's.
        note: of the session.
    """

    def __init__(self, remote: Remote, note: SessionNote) -> None:
        self.remote = remote
        self.note = note
        self._guard = threading.Lock()
        self._lease: str | None = None
        # Leases whose push failed: the remote may have taken them before it fell silent.
        self._attempted: set[str] = set()
        self._lost: StudyBusy | None = None

    def renew(self, *, with_study: bool) -> None:
        """Tell the remote that the session lives, and push the study in the same breath.

        Raises:
            StudyBusy: another session took the study over; nothing was pushed.
            RemoteError: the remote did not answer or refused; nothing is lost.
        """
        with self._guard:
            if self._lost is not None:
                raise self._lost
            try:
                self._swap(with_study=with_study)
            except RemoteError:
                if not self._adopt():
                    raise
                self._swap(with_study=with_study)

    def _swap(self, *, with_study: bool) -> None:
        note = self.note.model_copy(update={"heartbeat": utc_now()})
        lease = self.remote.plumbing.write_blob(to_json(note))
        self._attempted.add(lease)
        update = RefUpdate(ref=self.remote.refs.session, old=self._lease, new=lease)
        if with_study:
            self.remote.push(update)
        else:
            self.remote.push_updates([update])
        self._lease = lease
        self._attempted.clear()

    def _adopt(self) -> bool:
        """After a failed push: whether the remote had taken its lease after all.

        Raises:
            StudyBusy: the lease is another session's, or gone.
        """
        try:
            standing = self.remote.study_refs().get(self.remote.refs.session)
        except RemoteError:
            return False
        if standing == self._lease:
            return False
        if standing in self._attempted:
            self._lease = standing
            return True
        self._lost = _lost_to(self.remote, standing, self.note)
        raise self._lost

    def take(
        self,
        waiting: Waiting,
        *,
        abandoned_after_seconds: float = ABANDONED_AFTER_SECONDS,
        silent_seconds: float = SILENT_SECONDS,
    ) -> str | None:
        """Take the study, once it is free; return the holder that did not end by itself, if any.

        Args:
            waiting: for how long, and who knows whether a holder has ended.
            abandoned_after_seconds: a note that says it was renewed longer ago is watched for
                ``silent_seconds`` even by who has no time to wait.
            silent_seconds: how long a note may stand unchanged while it is watched.

        Raises:
            StudyBusy: another session has it, and is not gone by the end of the wait.
            RemoteError: the remote did not answer or refused.
        """
        watch = _Watch(waiting)
        while True:
            try:
                free, killed = self._is_free(watch, abandoned_after_seconds, silent_seconds)
                if free:
                    self.renew(with_study=False)
                    return killed
            except RemoteError:
                # A remote that is away hears of nobody: that is no silence of the holder's.
                if not watch.goes_on():
                    raise
            except StudyBusy:
                if self._lost is None:
                    raise
                self._lost = None  # Another one that waited was first: it is waited for, in turn.

    def _is_free(
        self, watch: "_Watch", abandoned_after_seconds: float, silent_seconds: float
    ) -> tuple[bool, str | None]:
        """Look once; wait a moment where the study is held. With the holder that is gone.

        One look never tells: the remote may have been away from a session that lives.
        """
        self._lease = self.remote.study_refs().get(self.remote.refs.session)
        if self._lease is None:
            return True, None
        other = self._standing_note(self._lease)
        if other is None:
            return False, None  # it was given back, or renewed, just now
        silence = watch.silence(self._lease)
        # Of this very clone it cannot live: its file lock is ours.
        if other.clone == self.note.clone or other.is_dead_here():
            return True, other.holder
        enough = watch.waiting.silence_of(other.holder)
        seems_gone = enough is None and other.is_abandoned(utc_now(), abandoned_after_seconds)
        enough = silent_seconds if enough is None else enough
        if silence >= enough:
            return True, other.holder
        least = enough - silence if seems_gone else 0.0
        watch.wait(other, self.note, self.remote.refs.study, least)
        return False, None

    def _standing_note(self, lease: str) -> SessionNote | None:
        try:
            return read_note(self.remote, lease)
        except (RemoteError, LedgerError):
            if self.remote.study_refs().get(self.remote.refs.session) == lease:
                raise
            return None

    def drop(self) -> None:
        """Give the study back on the remote. A failure costs others a wait, and is said."""
        with self._guard:
            if self._lease is None or self._lost is not None:
                return
            gone = RefUpdate(ref=self.remote.refs.session, old=self._lease, new=None)
            try:
                self.remote.push_updates([gone])
            except RemoteError as error:
                publish(Notice(text=f"The session's mark was left on the remote: {error}"))

    def beat_until(self, stop: threading.Event, every_seconds: float) -> None:
        """Renew in the background, so that a long training is no silence."""
        while not stop.wait(every_seconds):
            try:
                self.renew(with_study=False)
            except StudyBusy:
                return  # kept in _lost: the session's next push stops it
            except (RemoteError, LedgerError, OSError):  # a full disk, say: git needs a file
                continue  # the session's next push says so, if it lasts


class _Watch:
    """One wait for a study: what was seen of its note, and when it is enough."""

    def __init__(self, waiting: Waiting) -> None:
        self.waiting = waiting
        self._ends = time.monotonic() + waiting.seconds
        self._seen: str | None = None
        self._since = 0.0
        self._is_said = False

    def silence(self, lease: str) -> float:
        """For how many seconds the note has been seen to stand as it is."""
        now = time.monotonic()
        if lease != self._seen:
            self._seen, self._since = lease, now
        return now - self._since

    def goes_on(self) -> bool:
        """After an exchange that failed: wait a moment, where a wait is under way and has time."""
        left = self._ends - time.monotonic()
        if not self._is_said or left <= 0:
            return False
        self._seen = None  # who holds the study could not renew either
        self._pause(left)
        return True

    def wait(self, other: SessionNote, own: SessionNote, study: str, least: float) -> None:
        """Wait a moment longer.

        Args:
            other: who has the study.
            own: who waits.
            study: its name.
            least: seconds to be waited in any case.

        Raises:
            StudyBusy: it was enough, or the other session is not to be waited for.
        """
        left = max(self._ends - time.monotonic(), least)
        is_here = (other.host, other.machine) == (own.host, own.machine)
        if left <= 0 or (is_here and not self.waiting.here_too):
            raise StudyBusy(other.sentence(study))
        if not self._is_said:
            self._is_said = True
            say_waiting(other, study, left)
        self._pause(left)

    def _pause(self, left: float) -> None:
        self.waiting.while_waiting()
        time.sleep(min(left, self.waiting.poll_seconds))


def say_waiting(other: SessionNote, study: str, seconds: float) -> None:
    """Say who has the study, and until when it is waited for."""
    until = time.strftime("%Y-%m-%d %H:%M:%S %Z", time.localtime(time.time() + seconds))
    publish(
        Notice(
            text=f"Study {study!r} has one session at a time: waiting for {other.holder} (host "
            f"{other.host}, process {other.pid}), until {until} at the longest."
        )
    )


def remote_session(remote: Remote, refs: Mapping[str, str]) -> SessionNote | None:
    """The note of the session that works on the study with a remote, or None.

    Args:
        remote: the remote.
        refs: what ``remote.study_refs`` says just now.

    Raises:
        RemoteError: the remote did not answer.
    """
    lease = refs.get(remote.refs.session)
    return read_note(remote, lease) if lease is not None else None


def read_note(remote: Remote, lease: str) -> SessionNote:
    """Read a session's note from the remote."""
    where = f"{remote.refs.session} on {remote.name}"
    return from_json(SessionNote, remote.read(remote.refs.session, lease), where)


def _lost_to(remote: Remote, standing: str | None, own: SessionNote) -> StudyBusy:
    if standing is not None:
        other = read_note(remote, standing)
        return StudyBusy(
            f"This session was silent for too long. {other.sentence(remote.refs.study)}"
        )
    return StudyBusy(
        f"The session of study {remote.refs.study!r} that began {own.since:%Y-%m-%d %H:%M:%S %Z} "
        f"was ended on remote {remote.name!r} by someone else: run the same command to go on."
    )
