"""A suggestion for a study whose session runs elsewhere, carried there by a git remote."""

from nightlab.errors import UsageError
from nightlab.ledger.remote import Remote
from nightlab.ledger.store import Ledger
from nightlab.ledger.suggestions import add_suggestion
from nightlab.records import Suggestion


def fetch_suggestions(ledger: Ledger, remote: Remote) -> None:
    """Bring the suggestions of a remote's study here, and nothing else of it.

    Raises:
        UsageError: the remote has no such study.
        RemoteError: it did not answer.
    """
    _tip(ledger, remote)
    remote.fetch(("suggestions",))


def send_suggestion(ledger: Ledger, remote: Remote, text: str) -> Suggestion:
    """Queue an idea here and on the remote; the study's branch need not be here.

    Raises:
        UsageError: the remote has no such study, or the text is empty or too long.
        RemoteError: the remote did not answer or refused; the idea then waits here.
    """
    tip = _tip(ledger, remote)
    remote.read(remote.refs.branch, tip)
    idea = add_suggestion(ledger, text, commit=tip)
    remote.push(kinds=("suggestions",))
    return idea


def _tip(ledger: Ledger, remote: Remote) -> str:
    tip = remote.study_refs().get(remote.refs.branch)
    if tip is None:
        raise UsageError(
            f"Git remote {remote.name!r} has no study {ledger.study!r}: a session with "
            f"`--remote {remote.name}` pushes it there."
        )
    return tip
