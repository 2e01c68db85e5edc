"""The study on a git remote: fetched as a union, pushed without ever overwriting.

``merging`` brings two copies of a study together; here they are exchanged.
"""

import os
from collections.abc import Collection, Mapping, Sequence
from functools import cached_property
from pathlib import Path

from nightlab.errors import RemoteError, UsageError
from nightlab.ledger.merging import Merge, RefUpdate
from nightlab.ledger.names import BRANCHES, StudyRefs
from nightlab.ledger.plumbing import GitResult, Plumbing

_SILENT = {"GCM_INTERACTIVE": "never", "SSH_ASKPASS_REQUIRE": "never"}
_SSH = "ssh -o BatchMode=yes -o ConnectTimeout=20"
# A push names its refs on the command line, which has a bound.
_REFS_PER_PUSH = 500
_FETCH_TRIES = 5


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
        self._merge = Merge(self.plumbing, self.refs, name)
        # These stand for themselves: no push and no fetch of the study takes them along.
        self._alone = (self.refs.session, self.refs.stop)
        known = self.plumbing.line("remote").split()
        if name not in known:
            raise UsageError(
                f"The study's remote {name!r} needs to be one of this repository's, and it has "
                f"{', '.join(known) or 'none'}: add it with `git remote add {name} ADDRESS`."
            )

    def study_refs(self) -> dict[str, str]:
        """Ask the remote for the study's refs, the session's and a stop among them.

        Raises:
            RemoteError: it did not answer.
        """
        result = self._exchange("ls-remote", self.name, self.refs.branch, f"{self.refs.root}/*")
        if result.status != 0:
            raise self._silent(result)
        lines = (line.split("\t", 1) for line in result.stdout.decode().splitlines())
        return {
            ref: oid for oid, ref in lines if self.refs.kind(ref) is not None or ref in self._alone
        }

    def fetch(self, kinds: Collection[str] | None = None) -> None:
        """Bring the remote's trials in; what stands only here stays.

        Args:
            kinds: which kinds of refs to bring, as ``StudyRefs.kind`` has them; None for all.

        Raises:
            RemoteError: the remote did not answer, or the study went on here and there in
                different ways. Nothing was changed then.
        """
        here = self._local_refs()
        updates = self._merge.union(here, self._settled_refs(here, kinds))
        if updates:
            self.plumbing.transaction([update.command for update in updates])

    def _settled_refs(
        self, here: Mapping[str, str], kinds: Collection[str] | None
    ) -> dict[str, str]:
        """Fetch the objects of the remote's refs, until the refs stood still meanwhile."""
        before = self._refs_of(kinds)
        for _ in range(_FETCH_TRIES):
            lacking = [ref for ref, oid in before.items() if here.get(ref) != oid]
            if not lacking:
                return before
            try:
                self._bring_objects(lacking)
                failure = None
            except RemoteError as error:  # such as a mark that is gone by now
                failure = error
            after = self._refs_of(kinds)
            if after == before:
                if failure is not None:
                    raise failure
                return before
            before = after
        raise RemoteError(
            f"Study {self.refs.study!r} keeps changing at remote {self.name!r}: another "
            "session pushes to it; run the same command again."
        )

    def _refs_of(self, kinds: Collection[str] | None) -> dict[str, str]:
        return {
            ref: oid
            for ref, oid in self.study_refs().items()
            if ref not in self._alone and (kinds is None or self.refs.kind(ref) in kinds)
        }

    def push(self, lease: RefUpdate | None = None, kinds: Collection[str] | None = None) -> None:
        """Push what the remote lacks of the study; all of it or nothing, where it can.

        Args:
            lease: a change that has to succeed together with the rest.
            kinds: which kinds of refs to push; None for all.

        Raises:
            RemoteError: the remote did not answer or refused; try again later.
        """
        here = self._local_refs()
        if kinds is not None:
            here = {ref: oid for ref, oid in here.items() if self.refs.kind(ref) in kinds}
        updates = self._merge.missing(here, self.study_refs())
        updates = ([lease] if lease is not None else []) + updates
        for start in range(0, len(updates), _REFS_PER_PUSH):
            self.push_updates(updates[start : start + _REFS_PER_PUSH])

    def pending(self) -> bool:
        """Ask whether something of the study stands here and not on the remote.

        Raises:
            RemoteError: the remote did not answer, or the study has diverged.
        """
        return bool(self._merge.missing(self._local_refs(), self.study_refs()))

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
                f"({result.complaint}); everything is safe in this clone, and the next push "
                "sends it."
            )

    def try_push(self) -> None:
        """Ask whether the remote would take a push, and change nothing there.

        Raises:
            RemoteError: it did not answer, or would refuse.
        """
        result = self._exchange(
            "push", "--quiet", "--no-verify", "--dry-run", self.name, f"+HEAD:{self.refs.branch}"
        )
        if result.timed_out:
            raise self._silent(result)
        if result.status != 0:
            raise RemoteError(
                f"Git remote {self.name!r} answers and takes no push ({result.complaint}): give "
                "this user the right to write there, or name another remote."
            )

    def push_consolidated(self, commit: str, replaceable: Collection[str]) -> bool:
        """Push the branch that a consolidation offers; say whether it stands there now.

        Args:
            commit: where it is to stand.
            replaceable: commits that it may be moved away from.

        Raises:
            RemoteError: the remote did not answer or refused.
        """
        ref = self.refs.consolidated
        begun_from_it = StudyRefs(ref.removeprefix(BRANCHES)).root
        result = self._exchange("ls-remote", self.name, ref, f"{begun_from_it}/*")
        if result.status != 0:
            raise self._silent(result)
        lines = (line.split("\t", 1) for line in result.stdout.decode().splitlines())
        there = {name: oid for oid, name in lines}
        standing = there.get(ref)
        if standing != commit:
            if len(there) > (ref in there) or standing not in (None, *replaceable):
                return False
            self.push_updates([RefUpdate(ref=ref, old=standing, new=commit)])
        return True

    def read(self, ref: str, oid: str) -> bytes:
        """Return the contents of the object that a ref of the remote stands at."""
        self._bring_objects([ref])
        return self.plumbing.contents([oid])[0]

    def _local_refs(self) -> dict[str, str]:
        refs = self.plumbing.refs(self.refs.branch, self.refs.root)
        return {ref: oid for ref, oid in refs.items() if self.refs.kind(ref) is not None}

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
            f"did not: {said}; try `git ls-remote {self.name}`. Everything is safe in this clone."
        )
