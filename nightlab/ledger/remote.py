"""The study on a git remote: fetched as a union, pushed without ever overwriting.

``merging`` brings two copies of a study together; here they are exchanged.
"""

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

from nightlab.errors import RemoteError, UsageError
from nightlab.events import Notice, publish
from nightlab.ledger.exchange import WAIT_LIMITS, Exchange
from nightlab.ledger.git_process import GitResult, WaitLimits
from nightlab.ledger.merging import Merge, RefUpdate
from nightlab.ledger.names import BRANCHES, StudyRefs, studies_among, without_branch
from nightlab.ledger.plumbing import Plumbing

# A push names its refs on the command line, which has a bound.
_REFS_PER_PUSH = 500
_FETCH_TRIES = 5
_TOLD = ("--quiet", "--progress")
"""Nothing but how far it is, without which a slow one could not be told from a dead one."""


class Remote:
    """One study on one git remote.

    Args:
        root: the repository.
        where: the remote's name in it, such as ``origin``, or an address: also of a bundle.
        study: the study's name.
        limits: with one exchange.

    Raises:
        UsageError: the repository has no such remote.
        LedgerError: there is no repository at ``root``.
    """

    def __init__(
        self, root: Path, where: str, study: str, *, limits: WaitLimits = WAIT_LIMITS
    ) -> None:
        self.refs = StudyRefs(study)
        self.plumbing = Plumbing(root)
        self._exchange = Exchange(self.plumbing, where, limits=limits)
        self.where = where
        self.name = self._exchange.name
        self._merge = Merge(self.plumbing, self.refs, self.name)
        # These stand for themselves: no push and no fetch of the study takes them along.
        self._alone = (self.refs.session, self.refs.stop)

    @property
    def place(self) -> str:
        """Where the remote is, the same for every clone of it."""
        return self._exchange.place

    def study_refs(self) -> dict[str, str]:
        """Ask the remote for the study's refs, the session's and a stop among them.

        Raises:
            RemoteError: it did not answer.
        """
        found = self._exchange.refs(self.refs.branch, f"{self.refs.root}/*")
        return {
            ref: oid
            for ref, oid in found.items()
            if self.refs.kind(ref) is not None or ref in self._alone
        }

    def require_free_names(self) -> None:
        """Make sure that the remote can have the study's refs beside what it has.

        Raises:
            UsageError: a branch or another ref stands there where they need a folder.
            RemoteError: it did not answer.
        """
        found = self._exchange.refs(*self.refs.above, f"{self.refs.branch}/*")
        other = self.refs.in_the_way(found)
        if other is not None:
            renamed = f"refs/heads/{other.rpartition('heads/')[2].replace('/', '-')}-old"
            raise UsageError(
                f"Git remote {self.name!r} can have no study {self.refs.study!r} beside its "
                f"{other}: give that another name with `git push {self.name} "
                f"{found[other][:12]}:{renamed} :{other}`."
            )

    def fetch(
        self, kinds: Collection[str] | None = None, *, ours_first: bool = False
    ) -> dict[int, int]:
        """Bring the remote's trials in; what stands only here stays.

        Where both sides gave one number to different trials, ours get others, and that is said.

        Args:
            kinds: which kinds of refs to bring, as ``StudyRefs.kind`` has them; None for all.
            ours_first: whether the remote's get others instead.

        Returns:
            The numbers of trials that got another.

        Raises:
            RemoteError: the remote did not answer; nothing was changed then.
        """
        here = self._local_refs(kinds)
        there = self._settled_refs(here, kinds)
        first, second = (here, there) if ours_first else (there, here)
        together, numbers = self._merge.together(first, second)
        if changes := self._merge.changes(here, together):
            self.plumbing.transaction([change.command for change in changes])
        if numbers:
            publish(Notice(text=_in_words(self.refs.study, numbers)))
        return numbers

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
        updates = self._merge.missing(self._local_refs(kinds), self.study_refs())
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
        if result.given_up:
            raise self._exchange.silent(result)
        if result.status != 0:
            raise RemoteError(
                f"Git remote {self.name!r} did not take study {self.refs.study!r} "
                f"({self._exchange.complaint(result)}); everything is safe in this clone, and the "
                "next push sends it."
            )

    def try_push(self) -> None:
        """Ask whether the remote would take a push, and change nothing there.

        Raises:
            RemoteError: it did not answer, or would refuse.
        """
        result = self._exchange.run(
            "push", "--quiet", "--no-verify", "--dry-run", self.where, f"+HEAD:{self.refs.branch}"
        )
        if result.given_up:
            raise self._exchange.silent(result)
        if result.status != 0:
            raise RemoteError(
                f"Git remote {self.name!r} answers and takes no push "
                f"({self._exchange.complaint(result)}): give this user the right to write there, "
                "or name another remote."
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
        there = self._exchange.refs(ref, f"{begun_from_it}/*")
        standing = there.get(ref)
        if standing != commit:
            if len(there) > (ref in there) or standing not in (None, *replaceable):
                return False
            self.push_updates([RefUpdate(ref=ref, old=standing, new=commit)])
        return True

    def all_refs(self) -> dict[str, str]:
        """Ask for everything that stands of the study, but for who works on it.

        Raises:
            RemoteError: the remote did not answer.
        """
        consolidated = StudyRefs(self.refs.consolidated.removeprefix(BRANCHES))
        patterns = (self.refs.branch, consolidated.branch, f"{self.refs.root}/*")
        found = self._exchange.refs(*patterns, f"{consolidated.root}/*")
        # Git's patterns match the ends of names, such as of a backup in refs/original/.
        mine = (self.refs.branch, consolidated.branch)
        roots = (f"{self.refs.root}/", f"{consolidated.root}/")
        found = {ref: oid for ref, oid in found.items() if ref in mine or ref.startswith(roots)}
        begun = {ref for ref in found if ref.startswith(f"{consolidated.root}/")}
        if begun:  # a study of its own by now
            begun.add(consolidated.branch)
        alone = begun | {self.refs.session}
        return {ref: oid for ref, oid in found.items() if ref not in alone}

    def delete(self, refs: Mapping[str, str]) -> None:
        """Remove refs, each only where it stands as it is said to.

        Raises:
            RemoteError: the remote did not answer or refused.
        """
        updates = [RefUpdate(ref=ref, old=oid, new=None) for ref, oid in refs.items()]
        for start in range(0, len(updates), _REFS_PER_PUSH):
            self.push_updates(updates[start : start + _REFS_PER_PUSH])

    def read(self, ref: str, oid: str) -> bytes:
        """Return the contents of the object that a ref of the remote stands at."""
        self._bring_objects([ref])
        return self.plumbing.contents([oid])[0]

    def deepen(self) -> bool:
        """Bring the history that a shallow clone lacks; say whether there was any to bring.

        Raises:
            RemoteError: the remote did not answer.
        """
        if self.plumbing.line("rev-parse", "--is-shallow-repository") != "true":
            return False
        result = self._exchange.run("fetch", *_TOLD, "--unshallow", "--no-tags", self.where)
        if result.status != 0:
            raise self._exchange.silent(result)
        return True

    def _local_refs(self, kinds: Collection[str] | None = None) -> dict[str, str]:
        found = self.plumbing.refs(self.refs.branch, self.refs.root)
        mine = {ref: kind for ref in found if (kind := self.refs.kind(ref)) is not None}
        return {ref: found[ref] for ref, kind in mine.items() if kinds is None or kind in kinds}

    # Exchanges

    def _bring_objects(self, refs: Sequence[str]) -> None:
        """Fetch what the remote's refs stand at, without moving any ref here."""
        wanted = "".join(f"{ref}\n" for ref in refs)
        if not wanted:
            return
        options = ("--no-tags", "--no-write-fetch-head", "--no-prune", "--no-recurse-submodules")
        result = self._exchange.run(
            "fetch", *_TOLD, *options, "--stdin", self.where, stdin=wanted.encode()
        )
        if result.status != 0:
            raise self._exchange.silent(result)

    def _push(self, updates: Sequence[RefUpdate], *options: str) -> GitResult:
        leases = [f"--force-with-lease={update.ref}:{update.old or ''}" for update in updates]
        changes = [f"{update.new or ''}:{update.ref}" for update in updates]
        return self._exchange.run(
            "push", *_TOLD, "--no-verify", *options, *leases, self.where, *changes
        )


def remote_studies(root: Path, where: str) -> tuple[str, ...]:
    """The names of the studies on a remote, in alphabetical order.

    Raises:
        UsageError: the repository has no such remote.
        RemoteError: it did not answer.
    """
    refs = Exchange(Plumbing(root), where).refs(f"{BRANCHES}*", "refs/nightlab/*")
    return tuple(sorted((*studies_among(refs), *without_branch(refs))))


def _in_words(study: str, numbers: Mapping[int, int]) -> str:
    moved = ", ".join(f"{old} is now {new}" for old, new in sorted(numbers.items()))
    return (
        f"Two sessions of study {study!r} gave the same numbers to different trials, which all "
        f"stay: trial {moved}. `nightlab sync {study}` tells MLflow."
    )
