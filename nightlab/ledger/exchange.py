"""Git's exchanges with one remote: by name or by address, without a question, within a time."""

import os
import re
import time
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path

from nightlab.errors import RemoteError, UsageError
from nightlab.ledger.git_process import GitResult, WaitLimits
from nightlab.ledger.plumbing import Plumbing
from nightlab.redaction import Redaction

WAIT_LIMITS = WaitLimits(seconds=300.0, silent_seconds=120.0)
"""With one exchange. Only a push and a fetch say how far they are, so others have the shorter."""
REST_SECONDS = 300.0
"""A remote that swallowed an exchange is not asked again for so long: a session has others to
make, between trials that have to go on."""
_SILENT = {"GCM_INTERACTIVE": "never", "SSH_ASKPASS_REQUIRE": "never"}
_SSH = "ssh -o BatchMode=yes -o ConnectTimeout=20"
# A path, `host:path`, or `scheme://…`; a name of a remote has neither slash nor colon here.
_ADDRESS = re.compile(r"[^-][^/:\n]*[/:].*|\.\.?")


class Exchange:
    """What git says to one remote, and what it answers.

    Args:
        plumbing: the repository here.
        where: the remote's name in it, such as ``origin``, or its address: also that of a
            repository or a bundle on this machine.
        limits: with one exchange.

    Raises:
        UsageError: the repository has no such remote, and it is no address.
    """

    def __init__(self, plumbing: Plumbing, where: str, *, limits: WaitLimits = WAIT_LIMITS) -> None:
        self.plumbing = plumbing
        self.where = where
        self.limits = limits
        self._swallowed: GitResult | None = None
        self._rests_until = 0.0
        known = plumbing.line("remote").split()
        self._is_named = where in known
        if not self._is_named and _ADDRESS.fullmatch(where) is None:
            raise UsageError(
                f"The study's remote {where!r} needs to be an address or one of this repository's, "
                f"and it has {', '.join(known) or 'none'}: add it with "
                f"`git remote add {where} ADDRESS`."
            )

    @cached_property
    def name(self) -> str:
        """The remote for people: without a password."""
        return _without_secrets(self.where)

    @cached_property
    def place(self) -> str:
        """Where the remote is, the same for every clone and every way to write it."""
        address = self.where
        if self._is_named:
            address = self.plumbing.line("remote", "get-url", self.where)
        return place_of(address, self.plumbing.root)

    def run(
        self,
        *arguments: str,
        stdin: bytes | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> GitResult:
        """Run one of git's commands that speak to the remote; ``where`` is among the arguments.

        For a while after one that was given up, that is what every other comes to as well.
        """
        if self._swallowed is not None and time.monotonic() < self._rests_until:
            return self._swallowed
        result = self.plumbing.attempt(
            *arguments,
            stdin=stdin,
            environment={**self._environment, **(environment or {})},
            limits=self.limits,
        )
        if result.given_up is not None:
            self._swallowed, self._rests_until = result, time.monotonic() + REST_SECONDS
        return result

    def refs(self, *patterns: str) -> dict[str, str]:
        """Ask the remote for the refs that match.

        Raises:
            RemoteError: it did not answer.
        """
        result = self.run("ls-remote", self.where, *patterns)
        if result.status != 0:
            raise self.silent(result)
        lines = (line.split("\t", 1) for line in result.stdout.decode().split("\n") if line)
        # What a tag stands on comes after it, as `REF^{}`.
        return {ref: oid for oid, ref in lines if not ref.endswith("^{}")}

    def silent(self, result: GitResult) -> RemoteError:
        """The error of a remote that did not answer."""
        said = result.given_up or self.complaint(result)
        if result.remedy is not None:
            return RemoteError(
                f"Git remote {self.name!r} belongs to another user than you, so git does not read "
                f"it: trust it with `{result.remedy}`."
            )
        return RemoteError(
            f"Git remote {self.name!r} needs to answer without asking for a password, and "
            f"did not: {said}; try `git ls-remote {self.name}`. Everything is safe in this clone."
        )

    def complaint(self, result: GitResult) -> str:
        """What git complained of, without a password."""
        return _without_secrets(result.complaint)

    @cached_property
    def _environment(self) -> dict[str, str]:
        """Variables that keep git and ssh from asking, where the user has not said how."""
        chosen = {"GIT_SSH", "GIT_SSH_COMMAND"} & os.environ.keys()
        if chosen or self.plumbing.attempt("config", "core.sshCommand").status == 0:
            return _SILENT
        return {**_SILENT, "GIT_SSH_COMMAND": _SSH}


def place_of(address: str, root: Path) -> str:
    """An address without what differs between clones of one remote: scheme, user, ending.

    Args:
        address: of a remote.
        root: what a path is relative to.
    """
    scheme, is_url, rest = _without_secrets(address).partition("://")
    if not is_url:
        if (root / address).exists():
            return str((root / address).resolve()).removesuffix(".git")
        host, _, path = address.partition(":")
        rest = f"{host}/{path.lstrip('/')}" if path else address
    elif scheme == "file":
        return place_of(rest, root)
    host, slash, path = rest.partition("/")
    bare = f"{host.rpartition('@')[2].lower()}{slash}{path}"
    return bare.rstrip("/").removesuffix(".git")


def _without_secrets(text: str) -> str:
    return Redaction(secrets=())(text)
