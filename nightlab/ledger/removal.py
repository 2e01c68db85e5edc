"""All refs of a study, counted and removed: here, and on a remote."""

from collections.abc import Collection, Mapping

from nightlab.errors import UsageError
from nightlab.ledger.consolidations import offered_commits
from nightlab.ledger.lease import Lease, Waiting
from nightlab.ledger.names import BRANCHES, CONSOLIDATED, StudyRefs
from nightlab.ledger.plumbing import Plumbing
from nightlab.ledger.presence import own_note
from nightlab.ledger.remote import Remote
from nightlab.ledger.session import hold_clone
from nightlab.ledger.store import Ledger

_NAMES = {
    "trials": ("trial", "trials"),
    "inflight": ("trial in flight", "trials in flight"),
    "suggestions": ("suggestion", "suggestions"),
    "approvals": ("word on a keep", "words on keeps"),
    "confirmations": ("confirmation", "confirmations"),
    "consolidations": ("consolidation", "consolidations"),
    "holdout": ("use of the holdout split", "uses of the holdout split"),
}


def standing_refs(plumbing: Plumbing, study: str) -> dict[str, str]:
    """All refs of a study in a repository, with what they stand at."""
    refs = StudyRefs(study)
    found = plumbing.refs(refs.branch, refs.consolidated, refs.root)
    begun = plumbing.refs(StudyRefs(refs.consolidated.removeprefix(BRANCHES)).root)
    if begun:  # a study of its own by now
        found.pop(refs.consolidated, None)
    return _own(plumbing, study, found)


def remote_refs(remote: Remote) -> dict[str, str]:
    """The same on a study's remote, but for who works on it.

    Raises:
        RemoteError: it did not answer.
    """
    return _own(remote.plumbing, remote.refs.study, remote.all_refs())


def offered_by(plumbing: Plumbing, study: str, commit: str | None) -> str | None:
    """The study of which a consolidation offers a commit under this one's branch, if there is."""
    other = study.removesuffix(CONSOLIDATED)
    if other == study or commit not in offered_commits(Ledger(plumbing.root, other)):
        return None
    return other


def _own(plumbing: Plumbing, study: str, found: Mapping[str, str]) -> dict[str, str]:
    """Without what is another's whose name differs by the ending of what a consolidation offers."""
    refs, own = StudyRefs(study), dict(found)
    # A person made it, or went on from it.
    if offered_by(plumbing, f"{study}{CONSOLIDATED}", own.get(refs.consolidated)) is None:
        own.pop(refs.consolidated, None)
    if set(own) == {refs.branch} and offered_by(plumbing, study, own[refs.branch]) is not None:
        own.pop(refs.branch)
    return own


def in_words(study: str, refs: Collection[str]) -> str:
    """What refs of a study come to, for people: its branch, and how many of each kind."""
    names, parts = StudyRefs(study), []
    if names.branch in refs:
        parts.append("the branch")
    if names.consolidated in refs:
        parts.append("the consolidated branch")
    kinds = [names.kind(ref) for ref in refs]
    for kind, (one, several) in _NAMES.items():
        if number := kinds.count(kind):
            parts.append(f"{number} {one if number == 1 else several}")
    return ", ".join(parts) or "nothing"


def delete_study(ledger: Ledger, remote: Remote | None) -> None:
    """Remove all refs of a study here and, where one is given, on a remote.

    Raises:
        StudyBusy: a session works on the study, here or with the remote.
        UsageError: its branch is checked out.
        RemoteError: the remote did not answer or refused; what stands here stays then.
    """
    folder = ledger.plumbing.common_directory / "nightlab"
    with hold_clone(ledger):
        ledger.require_free_branch()
        _require_free(ledger, ledger.refs.consolidated)
        if remote is not None:
            lease = Lease(remote, own_note("nightlab delete", folder))
            lease.take(Waiting())
            try:
                remote.delete(remote_refs(remote))
            finally:
                lease.drop()
        doomed = standing_refs(ledger.plumbing, ledger.study)
        _delete(ledger.plumbing, doomed)


def _require_free(ledger: Ledger, ref: str) -> None:
    where = ledger.plumbing.line("for-each-ref", "--format=%(worktreepath)", ref)
    if where:
        raise UsageError(
            f"Branch {ref.removeprefix('refs/heads/')} is to be removed and is checked out in "
            f"{where}: run `git switch -` or `git switch --detach` there."
        )


def _delete(plumbing: Plumbing, refs: Mapping[str, str]) -> None:
    if refs:
        plumbing.transaction([f"delete {ref} {oid}" for ref, oid in refs.items()])
