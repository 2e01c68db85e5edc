"""The study on a git remote: fetched as a union, pushed without ever overwriting.

Records and evidence are written once, so two copies of a study can only miss some of
them; a number that stands for two different trials is an error and never a choice. The
branch only moves forward. Marks are replaced while a trial goes on, and deleted with it.
"""

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from nightlab.errors import LedgerError, RemoteError, UsageError
from nightlab.ledger.confirmations import progress, read_confirmation
from nightlab.ledger.documents import from_json, message_of
from nightlab.ledger.names import StudyRefs, number_of
from nightlab.ledger.plumbing import GitResult, Plumbing
from nightlab.records import InFlight

_SILENT = {"GCM_INTERACTIVE": "never", "SSH_ASKPASS_REQUIRE": "never"}
_SSH = "ssh -o BatchMode=yes -o ConnectTimeout=20"
_ORDER = ("session", "evidence", "holdout", "trials", "branch", "confirmations", "inflight")
# A push names its refs on the command line, which has a bound.
_REFS_PER_PUSH = 500
_FETCH_TRIES = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class RefUpdate:
    """One change of a ref, made only where the ref stands as expected."""

    ref: str
    old: str | None
    """None where the ref must not exist."""
    new: str | None
    """None to delete it."""


class Remote:
    """One study on one git remote.

    Args:
        root: the repository.
        name: the remote's name in it, such as ``origin``.
        study: the study's name.
        timeout_seconds: how long one exchange with the remote may take.

    Raises:
        UsageError: the repository has no such remote.
        LedgerError: there is no repository at ``root``.
    """

    def __init__(
        self, root: Path, name: str, study: str, *, timeout_seconds: float = 300.0
    ) -> None:
        self.name = name
        self.refs = StudyRefs(study)
        self.plumbing = Plumbing(root)
        self.timeout_seconds = timeout_seconds
        known = self.plumbing.line("remote").split()
        if name not in known:
            raise UsageError(
                f"The study's remote {name!r} needs to be one of this repository's and it has "
                f"{', '.join(known) or 'none'}: add it with `git remote add {name} ADDRESS`."
            )

    def study_refs(self) -> dict[str, str]:
        """Ask the remote for the study's refs, the session's among them.

        Raises:
            RemoteError: it did not answer.
        """
        result = self._exchange("ls-remote", self.name, self.refs.branch, f"{self.refs.root}/*")
        if result.status != 0:
            raise self._silent(result)
        lines = (line.split("\t", 1) for line in result.stdout.decode().splitlines())
        return {
            ref: oid
            for oid, ref in lines
            if self.refs.kind(ref) is not None or ref == self.refs.session
        }

    def fetch(self) -> None:
        """Bring the remote's trials in; what stands only here stays.

        Raises:
            RemoteError: the remote did not answer, or the study went on here and there in
                different ways. Nothing was changed then.
        """
        here = self._local_refs()
        there = self._settled_refs(here)
        updates = sorted(self._union(here, there), key=self._order)
        if updates:
            self.plumbing.transaction([_command(update) for update in updates])

    def _settled_refs(self, here: Mapping[str, str]) -> dict[str, str]:
        """Fetch the objects of the remote's refs, until the refs stood still meanwhile."""
        before = self.study_refs()
        for _ in range(_FETCH_TRIES):
            before.pop(self.refs.session, None)
            try:
                self._bring_objects([ref for ref, oid in before.items() if here.get(ref) != oid])
                failure = None
            except RemoteError as error:  # such as a mark that is gone by now
                failure = error
            after = self.study_refs()
            after.pop(self.refs.session, None)
            if after == before:
                if failure is not None:
                    raise failure
                return before
            before = after
        raise RemoteError(
            f"Study {self.refs.study!r} keeps changing at remote {self.name!r}: another "
            "session pushes to it; run the same command again."
        )

    def push(self, lease: RefUpdate | None = None) -> None:
        """Push what the remote lacks of the study; all of it or nothing, where it can.

        Args:
            lease: a change that has to succeed together with the rest.

        Raises:
            RemoteError: the remote did not answer or refused; try again later.
        """
        updates = self._missing(self._local_refs(), self.study_refs())
        updates = ([lease] if lease is not None else []) + updates
        for start in range(0, len(updates), _REFS_PER_PUSH):
            self.push_updates(updates[start : start + _REFS_PER_PUSH])

    def pending(self) -> bool:
        """Ask whether something of the study stands here and not on the remote.

        Raises:
            RemoteError: the remote did not answer, or the study has diverged.
        """
        return bool(self._missing(self._local_refs(), self.study_refs()))

    def push_updates(self, updates: Sequence[RefUpdate]) -> None:
        """Make changes of refs on the remote, each only where the ref is as expected.

        Raises:
            RemoteError: the remote did not answer or refused.
        """
        if not updates:
            return
        result = self._push(updates, "--atomic")
        if result.status != 0 and "does not support --atomic" in result.stderr:
            for update in updates:  # in an order of which every first part can be gone on from
                result = self._push([update])
                if result.status != 0:
                    break
        if result.timed_out:
            raise self._silent(result)
        if result.status != 0:
            raise RemoteError(
                f"Git remote {self.name!r} did not take study {self.refs.study!r} "
                f"({result.complaint}); everything stands in this clone, and the next push "
                "brings it along."
            )

    def read(self, ref: str, oid: str) -> bytes:
        """Return the contents of the object that a ref of the remote stands at."""
        self._bring_objects([ref])
        return self.plumbing.contents([oid])[0]

    # What is missing on either side

    def _union(self, here: Mapping[str, str], there: Mapping[str, str]) -> Iterator[RefUpdate]:
        """The changes that bring ``there`` into ``here``."""
        recorded = {number_of(r) for r in (*here, *there) if self.refs.kind(r) == "trials"}
        for ref, oid in there.items():
            mine = here.get(ref)
            if mine == oid:
                continue
            kind = self.refs.kind(ref)
            if kind == "branch":
                if mine is None or self._leads_to(mine, oid):
                    yield RefUpdate(ref=ref, old=mine, new=oid)
            elif kind == "inflight":
                if number_of(ref) not in recorded and (mine is None or self._is_older(mine, oid)):
                    yield RefUpdate(ref=ref, old=mine, new=oid)
            elif kind == "confirmations":
                if mine is None or self._is_ahead(oid, mine):
                    yield RefUpdate(ref=ref, old=mine, new=oid)
            elif mine is None:
                yield RefUpdate(ref=ref, old=None, new=oid)
            else:
                raise self._two_trials(ref)
        for ref, oid in here.items():
            if self.refs.kind(ref) == "inflight" and number_of(ref) in recorded:
                yield RefUpdate(ref=ref, old=oid, new=None)

    def _missing(self, here: Mapping[str, str], there: Mapping[str, str]) -> list[RefUpdate]:
        """The changes that bring ``here`` to the remote."""
        updates = []
        for ref, oid in here.items():
            theirs = there.get(ref)
            if theirs == oid:
                continue
            kind = self.refs.kind(ref)
            if kind in ("trials", "evidence", "holdout") and theirs is not None:
                raise self._two_trials(ref)
            if kind == "branch" and theirs is not None and not self._leads_to(theirs, oid):
                continue  # the remote is ahead
            if kind == "confirmations" and theirs is not None and not self._is_ahead(oid, theirs):
                continue
            updates.append(RefUpdate(ref=ref, old=theirs, new=oid))
        for ref, oid in there.items():
            finished = (
                self.refs.kind(ref) == "inflight"
                and ref not in here
                and self.refs.trial(number_of(ref)) in here
            )
            if finished:
                updates.append(RefUpdate(ref=ref, old=oid, new=None))
        return sorted(updates, key=self._order)

    def _leads_to(self, old: str, new: str) -> bool:
        """Whether the branch can move from ``old`` to ``new``; False for the other way round.

        Raises:
            RemoteError: neither leads to the other.
        """
        forward = self.plumbing.is_ancestor(old, new)
        if forward:
            return True
        if forward is False and self.plumbing.is_ancestor(new, old):
            return False
        if forward is None:
            raise RemoteError(
                f"Study {self.refs.study!r} went on at remote {self.name!r} (commit {old[:7]}) "
                "since it was fetched: run the same command again, which fetches it first."
            )
        raise RemoteError(
            f"Study {self.refs.study!r} has diverged: of its branch here and its branch at "
            f"remote {self.name!r} (at {old[:7]} and {new[:7]}) neither contains the other. "
            f"{self._advice()}"
        )

    def _two_trials(self, ref: str) -> RemoteError:
        number = number_of(ref)
        what = "Holdout use" if self.refs.kind(ref) == "holdout" else "Trial"
        return RemoteError(
            f"{what} {number} of study {self.refs.study!r} is one thing here and another at "
            f"remote {self.name!r}, because two sessions went on without seeing each other. "
            f"{self._advice()}"
        )

    def _advice(self) -> str:
        root = self.refs.root
        return (
            "Keep the remote's: `git for-each-ref --format='delete %(refname)' "
            f"{self.refs.branch} {root} | git update-ref --stdin`, and run again; or keep both: "
            f"continue here under another name with `git branch nightlab/NAME {self.refs.branch}`."
        )

    def _is_older(self, mine: str, theirs: str) -> bool:
        """Whether the trial got further there: it was then taken over from this clone."""
        here, there = (
            from_json(InFlight, message_of(tag), self.refs.root)
            for tag in self.plumbing.contents([mine, theirs])
        )
        return _progress(here) < _progress(there)

    def _is_ahead(self, one: str, other: str) -> bool:
        """Whether a confirmation got further in one copy than in the other.

        An object that is not here stands on the remote since the last fetch: that is ahead.
        """
        if self.plumbing.attempt("cat-file", "-e", other).status != 0:
            return False
        first, second = (
            read_confirmation(tag, self.refs.root) for tag in self.plumbing.contents([one, other])
        )
        return progress(first) > progress(second)

    def _local_refs(self) -> dict[str, str]:
        refs = self.plumbing.refs(self.refs.branch, self.refs.root)
        return {ref: oid for ref, oid in refs.items() if self.refs.kind(ref) is not None}

    def _order(self, update: RefUpdate) -> tuple[int, str]:
        return _ORDER.index(self.refs.kind(update.ref) or "session"), update.ref

    # Exchanges

    def _bring_objects(self, refs: Sequence[str]) -> None:
        """Fetch what the remote's refs stand at, without moving any ref here."""
        wanted = "".join(f"{ref}\n" for ref in refs)
        if not wanted:
            return
        options = ("--no-tags", "--no-write-fetch-head", "--no-prune", "--no-recurse-submodules")
        result = self._exchange(
            "fetch", "--quiet", *options, "--stdin", self.name, stdin=wanted.encode()
        )
        if result.status != 0:
            raise self._silent(result)

    def _push(self, updates: Sequence[RefUpdate], *options: str) -> GitResult:
        leases = [f"--force-with-lease={update.ref}:{update.old or ''}" for update in updates]
        changes = [f"{update.new or ''}:{update.ref}" for update in updates]
        return self._exchange(
            "push", "--quiet", "--no-verify", *options, *leases, self.name, *changes
        )

    @cached_property
    def _environment(self) -> dict[str, str]:
        """Variables that keep git and ssh from asking, where the user has not said how."""
        chosen = {"GIT_SSH", "GIT_SSH_COMMAND"} & os.environ.keys()
        if chosen or self.plumbing.attempt("config", "core.sshCommand").status == 0:
            return _SILENT
        return {**_SILENT, "GIT_SSH_COMMAND": _SSH}

    def _exchange(self, *arguments: str, stdin: bytes | None = None) -> GitResult:
        return self.plumbing.attempt(
            *arguments,
            stdin=stdin,
            environment=self._environment,
            timeout_seconds=self.timeout_seconds,
        )

    def _silent(self, result: GitResult) -> RemoteError:
        said = (
            f"no answer within {self.timeout_seconds:g} seconds"
            if result.timed_out
            else result.complaint
        )
        return RemoteError(
            f"Git remote {self.name!r} needs to answer without asking for a password, and "
            f"did not: {said}; try `git ls-remote {self.name}`. Everything stands in this clone."
        )


def _progress(mark: InFlight) -> tuple[int, int, bool]:
    trained = len(mark.replicates) + len(mark.incumbent_replicates)
    return mark.attempts, trained, mark.proposal is not None


def _command(update: RefUpdate) -> str:
    """The line of ``git update-ref --stdin`` that makes the change."""
    if update.new is None:
        if update.old is None:
            raise LedgerError(f"{update.ref} cannot be deleted where it does not exist.")
        return f"delete {update.ref} {update.old}"
    if update.old is None:
        return f"create {update.ref} {update.new}"
    return f"update {update.ref} {update.new} {update.old}"
