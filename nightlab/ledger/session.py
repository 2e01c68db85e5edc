"""One session of a study at a time: on this machine, and across machines with a remote.

On one machine a file lock ensures it, which the kernel releases however the session ends. Across
machines a ref on the remote does: a JSON note of who works on the study since when, and
when it was last heard of. It is only ever changed by compare-and-swap, and rides along
with every push of records: a session that lost it cannot push, and stops.
"""

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import filelock

from nightlab.errors import LedgerError, RemoteError, StudyBusy, UsageError
from nightlab.events import Notice, publish
from nightlab.ledger.documents import from_json, to_json
from nightlab.ledger.merging import RefUpdate
from nightlab.ledger.presence import SessionNote, own_note, write_whole
from nightlab.ledger.recovery import Recovery
from nightlab.ledger.remote import Remote
from nightlab.ledger.store import Ledger
from nightlab.records import utc_now

BEAT_SECONDS = 300.0
ABANDONED_AFTER_SECONDS = 1800.0
QUIET_SECONDS = 5.0
_DYING_SECONDS = 5.0


class Session:
    """A held study. ``hold_session`` makes it.

    Attributes:
        note: who holds it.
        recovery: what a killed session before it had left half done.
        killed: holders of sessions before it that did not end by themselves.
    """

    def __init__(
        self,
        ledger: Ledger,
        remote: Remote | None,
        note: SessionNote,
        recovery: Recovery,
        killed: SessionNote | None,
    ) -> None:
        self.note = note
        self.recovery = recovery
        self.killed = {killed.holder} if killed is not None else set[str]()
        self._ledger = ledger
        self._remote = remote
        self._guard = threading.Lock()
        self._lease: str | None = None
        # Leases whose push failed: the remote may have taken them before it fell silent.
        self._attempted: set[str] = set()
        self._lost: StudyBusy | None = None

    def beat(self) -> None:
        """Tell the remote that the session lives; without a remote there is nothing to do.

        Raises:
            StudyBusy: another session took the study over, after a long silence of this one.
            RemoteError: the remote did not answer; try again later.
        """
        self._renew(with_study=False)

    def push(self) -> None:
        """Push the study's refs and the heartbeat together.

        Raises:
            StudyBusy: another session took the study over; nothing was pushed.
            RemoteError: the remote did not answer or refused; nothing is lost.
        """
        self._renew(with_study=True)

    def _renew(self, *, with_study: bool) -> None:
        with self._guard:
            if self._lost is not None:
                raise self._lost
            if self._remote is None:
                return
            try:
                self._swap(self._remote, with_study=with_study)
            except RemoteError:
                if not self._adopt_lease(self._remote):
                    raise
                self._swap(self._remote, with_study=with_study)

    def _swap(self, remote: Remote, *, with_study: bool) -> None:
        note = self.note.model_copy(update={"heartbeat": utc_now()})
        lease = self._ledger.plumbing.write_blob(to_json(note))
        self._attempted.add(lease)
        update = RefUpdate(ref=remote.refs.session, old=self._lease, new=lease)
        if with_study:
            remote.push(update)
        else:
            remote.push_updates([update])
        self._lease = lease
        self._attempted.clear()

    def _adopt_lease(self, remote: Remote) -> bool:
        """After a failed push: whether the remote had taken its lease after all.

        Raises:
            StudyBusy: the lease is another session's, or gone.
        """
        try:
            standing = remote.study_refs().get(remote.refs.session)
        except RemoteError:
            return False
        if standing == self._lease:
            return False
        if standing in self._attempted:
            self._lease = standing
            return True
        self._lost = _lost_to(remote, standing, self.note)
        raise self._lost

    def take_lease(self, abandoned_after_seconds: float) -> None:
        """Take the study on the remote, if it has one.

        Raises:
            StudyBusy: another session has it, and is not abandoned.
            RemoteError: the remote did not answer or refused.
        """
        remote = self._remote
        if remote is None:
            return
        self._lease = remote.study_refs().get(remote.refs.session)
        if self._lease is not None:
            other = _read_note(remote, self._lease)
            ended = other.clone == self.note.clone or other.is_abandoned(
                utc_now(), abandoned_after_seconds
            )
            if not ended:  # of this very clone it cannot live: its file lock is ours
                raise StudyBusy(other.sentence(remote.refs.study))
            self.killed.add(other.holder)
        self.beat()

    def drop_lease(self) -> None:
        """Give the study back on the remote. A failure costs others a wait, and is said."""
        with self._guard:
            if self._remote is None or self._lease is None or self._lost is not None:
                return
            gone = RefUpdate(ref=self._remote.refs.session, old=self._lease, new=None)
            try:
                self._remote.push_updates([gone])
            except RemoteError as error:
                publish(Notice(text=f"The session's mark was left on the remote: {error}"))

    def beat_until(self, stop: threading.Event, every_seconds: float) -> None:
        """Beat in the background, so that a long training is no silence."""
        while not stop.wait(every_seconds):
            try:
                self.beat()
            except StudyBusy:
                return  # kept in _lost: the session's next push stops it
            except (RemoteError, LedgerError):
                continue  # the session's next push says so, if it lasts


@contextmanager
def hold_session(
    ledger: Ledger,
    remote: Remote | None,
    holder: str,
    *,
    beat_seconds: float = BEAT_SECONDS,
    abandoned_after_seconds: float = ABANDONED_AFTER_SECONDS,
    quiet_seconds: float = QUIET_SECONDS,
) -> Iterator[Session]:
    """Hold a study while the block runs, after mending what a killed session left.

    Args:
        ledger: the study.
        remote: where other machines see the study, if anywhere.
        holder: what works on it, for people.
        beat_seconds: how often the remote is told that the session lives.
        abandoned_after_seconds: how long a silence on the remote is another's end.
        quiet_seconds: how old a lock of the study's refs must be to be taken for stale.

    Raises:
        StudyBusy: another session works on the study; the sentence names it.
        UsageError: the study's branch is checked out, so that a keep would change files
            under the user's hands.
        RemoteError: the remote did not answer.
        LedgerError: git refused.
    """
    folder = ledger.plumbing.common_directory / "nightlab"
    folder.mkdir(exist_ok=True)
    note_file = folder / f"{ledger.study}.session.json"
    lock = filelock.FileLock(folder / f"{ledger.study}.lock", thread_local=False)
    _acquire(lock, note_file, ledger.study)
    stop = threading.Event()
    try:
        # A session that ends takes its note with it.
        left = _standing_note(note_file)
        note = own_note(holder, folder)
        write_whole(note_file, to_json(note))
        where = ledger.checked_out_at()
        if where is not None:
            raise UsageError(
                f"Branch {ledger.branch} needs to be free to move and is checked out in {where}: "
                "run `git switch -` or `git switch --detach` there."
            )
        session = Session(ledger, remote, note, ledger.recover(quiet_seconds), left)
        session.take_lease(abandoned_after_seconds)
        beating = threading.Thread(
            target=session.beat_until, args=(stop, beat_seconds), name="heartbeat", daemon=True
        )
        try:
            if remote is not None:
                beating.start()
            yield session
        finally:
            stop.set()
            if remote is not None:
                beating.join()
            session.drop_lease()
    finally:
        note_file.unlink(missing_ok=True)
        lock.release()


def refuse_if_busy(ledger: Ledger) -> None:
    """Tell early that the study is held on this machine; ``hold_session`` decides for certain.

    Raises:
        StudyBusy: another process of this machine works on the study.
    """
    folder = ledger.plumbing.common_directory / "nightlab"
    if not folder.is_dir():
        return
    lock = filelock.FileLock(folder / f"{ledger.study}.lock", thread_local=False)
    _acquire(lock, folder / f"{ledger.study}.session.json", ledger.study)
    lock.release()


def session_here(ledger: Ledger) -> SessionNote | None:
    """The note of the session that works on the study in this clone, or None."""
    note_file = ledger.plumbing.common_directory / "nightlab" / f"{ledger.study}.session.json"
    note = _standing_note(note_file)
    return None if note is None or note.is_dead_here() else note


def remote_session(remote: Remote, refs: Mapping[str, str]) -> SessionNote | None:
    """The note of the session that works on the study with a remote, or None.

    Args:
        remote: the remote.
        refs: what ``remote.study_refs`` says just now.

    Raises:
        RemoteError: the remote did not answer.
    """
    lease = refs.get(remote.refs.session)
    return _read_note(remote, lease) if lease is not None else None


def _lost_to(remote: Remote, standing: str | None, own: SessionNote) -> StudyBusy:
    if standing is not None:
        other = _read_note(remote, standing)
        return StudyBusy(
            f"This session was silent for too long. {other.sentence(remote.refs.study)}"
        )
    return StudyBusy(
        f"The session of study {remote.refs.study!r} that began {own.since:%Y-%m-%d %H:%M:%S %Z} "
        f"was ended on remote {remote.name!r} by someone else: run the same command to go on."
    )


def _read_note(remote: Remote, lease: str) -> SessionNote:
    where = f"{remote.refs.session} on {remote.name}"
    return from_json(SessionNote, remote.read(remote.refs.session, lease), where)


def _acquire(lock: filelock.BaseFileLock, note_file: Path, study: str) -> None:
    """Take the clone's lock of the study, or raise StudyBusy naming who has it."""
    holder = _standing_note(note_file)
    # A child that a killed session had just forked keeps the lock until it too is gone.
    patience = _DYING_SECONDS if holder is not None and holder.is_dead_here() else 0
    try:
        lock.acquire(timeout=patience)
    except filelock.Timeout as error:
        holder = _standing_note(note_file)
        if holder is not None:
            raise StudyBusy(holder.sentence(study)) from error
        raise StudyBusy(  # the other one is just beginning, or ending
            f"Study {study!r} has one session at a time, and another process on this machine "
            "is working on it: wait for it, or name another study with --study."
        ) from error


def _standing_note(note_file: Path) -> SessionNote | None:
    try:
        return from_json(SessionNote, note_file.read_bytes(), str(note_file))
    except (FileNotFoundError, LedgerError):
        return None
