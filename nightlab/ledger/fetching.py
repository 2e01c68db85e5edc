"""A study brought to where a person sits, or from there to the remote, between its sessions."""

from pathlib import Path

from nightlab.errors import UsageError
from nightlab.ledger.remote import Remote, remote_studies
from nightlab.ledger.session import hold_clone, hold_session
from nightlab.ledger.store import Ledger


def fetch_study(root: Path, study: str, where: str) -> Ledger:
    """Bring a study here as it stands on a remote; what stands only here stays.

    Args:
        root: the repository.
        study: its name.
        where: the remote's name or address.

    Raises:
        UsageError: the remote has no such study, or has lost its branch, or that is checked out
            here.
        StudyBusy: a session works on it in this clone.
        RemoteError: the remote did not answer.
    """
    ledger, remote = Ledger(root, study), Remote(root, where, study)
    ledger.require_free_names()
    kinds = {remote.refs.kind(ref) for ref in remote.study_refs()}
    if kinds.isdisjoint(("branch", "trials")):
        known = ", ".join(remote_studies(root, where)) or "none yet"
        raise UsageError(
            f"Git remote {remote.name!r} has no study {study!r} (studies: {known}): a session with "
            f"`--remote {remote.name}` pushes it there."
        )
    with hold_clone(ledger):
        ledger.require_free_branch()
        remote.fetch()
    ledger.require_branch_of_records()
    return ledger


def recover_study(root: Path, remote: Remote, cache: Path) -> tuple[Path, ...]:
    """Push what sessions on this machine could not push of a study; return their files, now gone.

    Args:
        root: the repository.
        remote: the study's.
        cache: the user's cache folder for Nightlab.

    Raises:
        StudyBusy: a session works on the study; it takes the files in itself.
        RemoteError: the remote did not answer or refused; the files stay.
    """
    ledger = Ledger(root, remote.refs.study)
    with hold_session(ledger, remote, "nightlab recover", cache=cache) as session:
        remote.fetch()
        return session.bring_in_bundles()
