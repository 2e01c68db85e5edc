"""A person's request that a session stop after its current trial.

    refs/nightlab/<study>/stop   a JSON note, here or on a remote: which session is meant

The note names the session that was at work when it was written, and no other obeys it. So a
request that came too late, or whose session was killed first, does not stop the next one.
"""

import platform
from datetime import datetime

from nightlab.errors import UsageError
from nightlab.ledger.documents import from_json, to_json
from nightlab.ledger.lease import ABANDONED_AFTER_SECONDS, remote_session
from nightlab.ledger.merging import RefUpdate
from nightlab.ledger.presence import SessionNote
from nightlab.ledger.remote import Remote
from nightlab.ledger.session import session_here
from nightlab.ledger.store import Ledger
from nightlab.records import SCHEMA_VERSION, Frozen, utc_now


class StopRequest(Frozen):
    """A request that one session of a study stop."""

    schema_version: int = SCHEMA_VERSION
    study: str
    session: str
    """The holder that its note names: a Prefect flow run, the same when it is retried."""
    host: str
    """Where it was asked for."""
    asked_at: datetime

    def sentence(self) -> str:
        """Why the session ends, for people."""
        return (
            f"`nightlab stop` asked for it on {self.host} at {self.asked_at:%Y-%m-%d %H:%M:%S %Z}."
        )


def ask_to_stop(ledger: Ledger) -> SessionNote:
    """Have this clone's session of a study end after its current trial, and return its note.

    Raises:
        UsageError: no session of the study runs here.
        LedgerError: git refuses.
    """
    note = session_here(ledger)
    if note is None:
        raise UsageError(
            f"No session of study {ledger.study!r} runs in this clone, so there is nothing to "
            "stop: one on another machine is stopped with --remote NAME."
        )
    blob = ledger.plumbing.write_blob(to_json(_request(ledger.study, note)))
    ledger.plumbing.transaction([f"update {ledger.refs.stop} {blob}"])
    return note


def ask_remote_to_stop(remote: Remote) -> SessionNote:
    """Have the session that pushes to a remote end after its current trial, wherever it runs.

    Raises:
        UsageError: no session of the study works with that remote.
        RemoteError: the remote did not answer or refused.
    """
    study, refs = remote.refs.study, remote.study_refs()
    note = remote_session(remote, refs)
    if note is None:
        raise UsageError(
            f"No session of study {study!r} works with remote {remote.name!r}, so there is nothing "
            "to stop: one that runs in this clone alone is stopped without --remote."
        )
    if note.is_abandoned(utc_now(), ABANDONED_AFTER_SECONDS):
        raise UsageError(
            f"The last session of study {study!r} at remote {remote.name!r} (host {note.host}, "
            f"process {note.pid}) was last heard of at {note.heartbeat:%Y-%m-%d %H:%M:%S %Z} and "
            "is taken to be gone, so there is nothing to stop."
        )
    blob = remote.plumbing.write_blob(to_json(_request(study, note)))
    old = refs.get(remote.refs.stop)
    remote.push_updates([RefUpdate(ref=remote.refs.stop, old=old, new=blob)])
    return note


def stop_request(ledger: Ledger, session: str) -> StopRequest | None:
    """The request that a session stop, as it stands here, or None.

    Args:
        ledger: the study's.
        session: the holder of the session that asks.
    """
    blob = ledger.plumbing.resolve(ledger.refs.stop)
    if blob is None:
        return None
    request = _read(ledger.plumbing.contents([blob])[0], ledger.refs.stop)
    return request if request.session == session else None


def hear_stop(ledger: Ledger, remote: Remote, session: str) -> None:
    """Bring a request that stands on a remote here, if it means the session and is the newer one.

    Raises:
        RemoteError: the remote did not answer.
    """
    ref = ledger.refs.stop
    theirs = remote.study_refs().get(ref)
    if theirs is None or theirs == ledger.plumbing.resolve(ref):
        return
    asked = _read(remote.read(ref, theirs), f"{ref} on {remote.name}")
    ours = stop_request(ledger, session)
    if asked.session == session and (ours is None or ours.asked_at < asked.asked_at):
        ledger.plumbing.transaction([f"update {ref} {theirs}"])


def forget_stop(ledger: Ledger, remote: Remote | None, unless: str | None = None) -> None:
    """Remove the request here and on the remote, once it is fulfilled or its session is gone.

    Args:
        ledger: the study's.
        remote: where the session pushes the study, if anywhere.
        unless: a session whose request stays.

    Raises:
        RemoteError: the remote did not answer or refused.
        LedgerError: git refuses.
    """
    ref, plumbing = ledger.refs.stop, ledger.plumbing
    ours = plumbing.resolve(ref)
    if ours is not None and _read(plumbing.contents([ours])[0], ref).session != unless:
        plumbing.transaction([f"delete {ref} {ours}"])
    theirs = remote.study_refs().get(ref) if remote is not None else None
    if remote is None or theirs is None:
        return
    if _read(remote.read(ref, theirs), f"{ref} on {remote.name}").session != unless:
        remote.push_updates([RefUpdate(ref=ref, old=theirs, new=None)])


def _read(content: bytes, where: str) -> StopRequest:
    return from_json(StopRequest, content, where)


def _request(study: str, note: SessionNote) -> StopRequest:
    return StopRequest(study=study, session=note.holder, host=platform.node(), asked_at=utc_now())
