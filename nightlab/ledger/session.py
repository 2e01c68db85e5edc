"""One session of a study at a time: on this machine, and across machines with a remote.

On one machine a file lock ensures it, which the kernel releases however the session ends. Across
machines a note on the remote does: see ``lease``.
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import filelock

from nightlab.errors import LedgerError, RemoteError, StudyBusy, UsageError
from nightlab.events import Notice, publish
from nightlab.ledger.bundles import Bundles
from nightlab.ledger.documents import from_json, to_json
from nightlab.ledger.lease import (
    ABANDONED_AFTER_SECONDS,
    BEAT_SECONDS,
    SILENT_SECONDS,
    Lease,
    Waiting,
    remote_session,
    say_waiting,
)
from nightlab.ledger.presence import SessionNote, own_note, write_whole
from nightlab.ledger.recovery import Recovery
from nightlab.ledger.remote import Remote
from nightlab.ledger.store import Ledger
from nightlab.records import utc_now

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
        note: SessionNote,
        recovery: Recovery,
        killed: SessionNote | None,
        lease: Lease | None,
        bundles: Bundles | None,
    ) -> None:
        self.note = note
        self.recovery = recovery
        self.killed = {killed.holder} if killed is not None else set[str]()
        self._lease = lease
        self._bundles = bundles

    def beat(self) -> None:
        """Tell the remote that the session lives; without a remote there is nothing to do.

        Raises:
            StudyBusy: another session took the study over, after a long silence of this one.
            RemoteError: the remote did not answer; try again later.
        """
        if self._lease is not None:
            self._lease.renew(with_study=False)

    def push(self) -> None:
        """Push the study's refs and the heartbeat together.

        What cannot be pushed is kept in a bundle, until a later push carries it.

        Raises:
            StudyBusy: another session took the study over; nothing was pushed.
            RemoteError: the remote did not answer or refused; nothing is lost.
        """
        if self._lease is None:
            return
        try:
            self._lease.renew(with_study=True)
        except (RemoteError, StudyBusy) as error:
            raise type(error)(f"{error} {self._kept()}".rstrip()) from error
        if self._bundles is not None:
            self._bundles.clear()

    def bring_in_bundles(self) -> tuple[Path, ...]:
        """Take in and push what sessions on this machine could not push; return those files.

        To be called once the remote's study is here, and before numbers are chosen.

        Raises:
            RemoteError: the remote did not answer or refused; the files stay.
        """
        brought = self._bundles.take_in() if self._bundles is not None else ()
        if brought:
            names = ", ".join(str(path) for path in brought)
            publish(Notice(text=f"Taken in, since it was never pushed: {names}."))
            self.push()
        return brought

    def _kept(self) -> str:
        if self._bundles is None:
            return ""
        try:
            path = self._bundles.write()
        except LedgerError as error:
            return str(error)
        return (
            f"The study is kept in {path}, which the next session on this machine pushes, and "
            f"`nightlab recover {self._bundles.refs.study}`."
        )


@contextmanager
def hold_session(
    ledger: Ledger,
    remote: Remote | None,
    holder: str,
    *,
    cache: Path | None = None,
    waiting: Waiting | None = None,
    beat_seconds: float = BEAT_SECONDS,
    abandoned_after_seconds: float = ABANDONED_AFTER_SECONDS,
    silent_seconds: float = SILENT_SECONDS,
    quiet_seconds: float = QUIET_SECONDS,
) -> Iterator[Session]:
    """Hold a study while the block runs, after mending what a killed session left.

    Args:
        ledger: the study.
        remote: where other machines see the study, if anywhere.
        holder: what works on it, for people.
        cache: the user's cache folder, where what a remote does not take is kept; None for nowhere.
        waiting: for how long to wait where another session holds the study; None for not at all.
        beat_seconds: how often the remote is told that the session lives.
        abandoned_after_seconds: how long ago a note on the remote may have been renewed.
        silent_seconds: how long it may stand unchanged while it is watched.
        quiet_seconds: how old a lock of the study's refs must be to be taken for stale.

    Raises:
        StudyBusy: another session works on the study; the sentence names it.
        UsageError: the study's branch is checked out, so that a keep would change files
            under the user's hands; or a branch of another name leaves no room for it.
        RemoteError: the remote did not answer.
        LedgerError: git refused.
    """
    waiting = waiting or Waiting()
    ledger.require_free_names()
    if remote is not None:
        remote.require_free_names()
    folder = ledger.plumbing.common_directory / "nightlab"
    folder.mkdir(exist_ok=True)
    note_file = folder / f"{ledger.study}.session.json"
    lock = filelock.FileLock(folder / f"{ledger.study}.lock", thread_local=False)
    _acquire(lock, note_file, ledger.study, waiting.seconds if waiting.here_too else 0.0)
    try:
        # A session that ends takes its note with it.
        left = _standing_note(note_file)
        note = own_note(holder, folder)
        write_whole(note_file, to_json(note))
        ledger.require_free_branch()
        lease = Lease(remote, note) if remote is not None else None
        bundles = Bundles(cache, remote, note.clone) if remote is not None and cache else None
        session = Session(note, ledger.recover(quiet_seconds), left, lease, bundles)
        if lease is None:
            yield session
            return
        killed = lease.take(
            waiting,
            abandoned_after_seconds=abandoned_after_seconds,
            silent_seconds=silent_seconds,
        )
        session.killed |= {killed} if killed is not None else set()
        with _beating(lease, beat_seconds):
            yield session
    finally:
        note_file.unlink(missing_ok=True)
        lock.release()


@contextmanager
def _beating(lease: Lease, every_seconds: float) -> Iterator[None]:
    """Renew a lease in the background for a block, and give it back at its end."""
    stop = threading.Event()
    beating = threading.Thread(
        target=lease.beat_until, args=(stop, every_seconds), name="heartbeat", daemon=True
    )
    try:
        beating.start()
        yield
    finally:
        stop.set()
        beating.join()
        lease.drop()


def refuse_if_busy(ledger: Ledger) -> None:
    """Tell early that the study is held on this machine; ``hold_session`` decides for certain.

    Raises:
        StudyBusy: another process of this machine works on the study.
    """
    if (ledger.plumbing.common_directory / "nightlab").is_dir():
        with hold_clone(ledger):
            pass


@contextmanager
def hold_clone(ledger: Ledger) -> Iterator[None]:
    """Keep sessions of a study out of this clone for a moment's work on its refs.

    Raises:
        StudyBusy: one is at work here.
    """
    folder = ledger.plumbing.common_directory / "nightlab"
    folder.mkdir(exist_ok=True)
    lock = filelock.FileLock(folder / f"{ledger.study}.lock", thread_local=False)
    _acquire(lock, folder / f"{ledger.study}.session.json", ledger.study)
    try:
        yield
    finally:
        lock.release()


def session_here(ledger: Ledger) -> SessionNote | None:
    """The note of the session that works on the study in this clone, or None."""
    note_file = ledger.plumbing.common_directory / "nightlab" / f"{ledger.study}.session.json"
    note = _standing_note(note_file)
    return None if note is None or note.is_dead_here() else note


def is_worked_on(ledger: Ledger, remote: str | None) -> bool:
    """Whether a session works on the study, in this clone or with a remote, or nobody can tell.

    Args:
        ledger: the study's.
        remote: the remote's name or address; None where the study has none.
    """
    if session_here(ledger) is not None:
        return True
    if remote is None:
        return False
    try:
        asked = Remote(ledger.plumbing.root, remote, ledger.study)
        note = remote_session(asked, asked.study_refs())
    except (RemoteError, UsageError):
        return True
    return note is not None and not note.is_abandoned(utc_now(), ABANDONED_AFTER_SECONDS)


def _acquire(
    lock: filelock.BaseFileLock, note_file: Path, study: str, wait_seconds: float = 0.0
) -> None:
    """Take the clone's lock of the study, or raise StudyBusy naming who has it."""
    holder = _standing_note(note_file)
    # A child that a killed session had just forked keeps the lock until it too is gone.
    patience = _DYING_SECONDS if holder is not None and holder.is_dead_here() else 0.0
    try:
        try:
            lock.acquire(timeout=patience)
        except filelock.Timeout:
            holder = _standing_note(note_file)
            if not wait_seconds:
                raise
            if holder is not None:
                say_waiting(holder, study, wait_seconds)
            lock.acquire(timeout=wait_seconds)
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
