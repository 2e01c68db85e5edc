"""Git's plumbing on one repository: exact bytes in, exact bytes out.

Only plumbing commands are used, and the few settings of a user that would still reach
them (hooks, signing, encodings) are overridden for the call alone. An update of refs is
fed to git from a file rather than a pipe, and in a process group of its own: neither a
killed session nor Ctrl-C can then stop git between two refs of one transaction.
"""

import os
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from types import ModuleType

from nightlab.errors import LedgerError
from nightlab.ledger.git_process import GitResult, WaitLimits, run_within
from nightlab.redaction import redact

NO_GIT = "Nightlab needs the `git` command and found none on PATH: install git."
FALLBACK_NAME = "Nightlab"
FALLBACK_EMAIL = "nightlab@localhost"

_OVERRIDES = (
    # The user's hooks judge the user's own work; a failing one would lose a record.
    "core.hooksPath=/dev/null",
    # By default git does not flush loose objects, and a record must outlive a power cut.
    "core.fsync=committed",
    "i18n.commitEncoding=UTF-8",
    "gc.auto=0",
    "maintenance.auto=false",
    "push.gpgSign=false",
)


class Plumbing:
    """Runs git in one repository.

    Raises:
        LedgerError: there is no repository at ``root``, or no git on this machine.
    """

    def __init__(self, root: Path) -> None:
        git = _library()
        self._not_found = git.GitCommandNotFound
        try:
            self._repository = git.Repo(root)
        except (git.InvalidGitRepositoryError, git.NoSuchPathError) as error:
            raise LedgerError(
                f"A study lives in a git repository, and {root} is not one: "
                "run Nightlab in a clone, or `git init` and commit there."
            ) from error
        self.root = root

    @cached_property
    def common_directory(self) -> Path:
        """The folder that all worktrees of the repository share (``.git``)."""
        return Path(self._repository.common_dir).resolve()

    @property
    def git_directories(self) -> tuple[Path, ...]:
        """Folders in which a git process of this repository may run."""
        worktree = self._repository.working_tree_dir
        return (self.common_directory, Path(worktree or self.root).resolve())

    def attempt(
        self,
        *arguments: str,
        stdin: bytes | None = None,
        environment: Mapping[str, str] | None = None,
        limits: WaitLimits | None = None,
    ) -> GitResult:
        """Run git and return its answer, whatever the exit status.

        Args:
            arguments: the subcommand and its arguments.
            stdin: bytes for its standard input.
            environment: variables to set besides the process's own.
            limits: kill git and its helpers (ssh, https) after so long; None waits.

        Raises:
            LedgerError: git is not installed, or the repository is another user's.
        """
        command = ["git"]
        for override in _OVERRIDES:
            command += ["-c", override]
        command += arguments
        variables = {"GIT_TERMINAL_PROMPT": "0", **(environment or {})}
        if "GIT_DIR" in os.environ:  # in a hook, say: it may name another repository
            variables["GIT_DIR"] = str(self._repository.git_dir)
        with tempfile.TemporaryFile() as stream:
            stream.write(stdin or b"")
            stream.seek(0)
            try:
                if limits is not None:
                    folder = self._repository.git.working_dir
                    return run_within(limits, command, stream, variables, folder)
                status, stdout, stderr = self._repository.git.execute(
                    command,
                    istream=stream,
                    with_extended_output=True,
                    with_exceptions=False,
                    stdout_as_string=False,
                    strip_newline_in_stdout=False,
                    env=variables,
                    start_new_session=True,
                )
            except (self._not_found, FileNotFoundError) as error:
                raise LedgerError(NO_GIT) from error
        result = GitResult(status=int(status), stdout=_bytes(stdout), stderr=str(stderr))
        if result.remedy is not None:
            raise LedgerError(
                f"Git does not work in {self.root}, which belongs to another user than you: run "
                f"Nightlab as that user, or trust it with `{result.remedy}`."
            )
        return result

    def run(
        self,
        *arguments: str,
        stdin: bytes | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> bytes:
        """Run git and return its standard output.

        Raises:
            LedgerError: git refused; the message carries its complaint.
        """
        result = self.attempt(*arguments, stdin=stdin, environment=environment)
        if result.status != 0:
            raise LedgerError(f"git {arguments[0]} refused in {self.root}: {result.complaint}")
        return result.stdout

    def line(
        self,
        *arguments: str,
        stdin: bytes | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> str:
        """Run git and return its standard output as one stripped text."""
        return self.run(*arguments, stdin=stdin, environment=environment).decode().strip()

    @cached_property
    def identity(self) -> dict[str, str]:
        """Environment that gives a name to commits where the user has set none.

        Git would otherwise guess one from the machine's name, or refuse.
        """
        result = self.attempt(
            "config", "-z", "--get-regexp", r"^(user|author|committer)\.(name|email)$"
        )
        entries = (entry.partition("\n") for entry in result.stdout.decode().split("\0"))
        configured = {key.lower() for key, _, value in entries if value.strip()}
        fallbacks = {}
        for role in ("author", "committer"):
            for part, fallback in (("name", FALLBACK_NAME), ("email", FALLBACK_EMAIL)):
                variable = f"GIT_{role}_{part}".upper()
                known = {f"user.{part}", f"{role}.{part}"} & configured
                if not known and not os.environ.get(variable):
                    fallbacks[variable] = fallback
        return fallbacks

    def resolve(self, revision: str) -> str | None:
        """Return the object that a ref or a revision names, or None where it names nothing."""
        if revision.startswith("refs/"):  # itself, not a branch or a tag that is called so
            result = self.attempt("show-ref", "--verify", "--hash", revision)
            return result.stdout.decode().strip() if result.status == 0 else None
        result = self.attempt("rev-parse", "--verify", "--quiet", "--end-of-options", revision)
        # --verify prints the separator too in some versions: the id is the last word.
        return result.stdout.decode().split()[-1] if result.status == 0 else None

    def refs(self, *prefixes: str) -> dict[str, str]:
        """Return the object of every ref that is, or lies under, one of ``prefixes``."""
        answer = self.run("for-each-ref", "--format=%(objectname) %(refname)", *prefixes)
        pairs = (line.split(" ", 1) for line in answer.decode().split("\n") if line)
        return {ref: name for name, ref in pairs}

    def is_ancestor(self, ancestor: str, descendant: str) -> bool | None:
        """Say whether one commit leads to the other; None where one is not here."""
        status = self.attempt("merge-base", "--is-ancestor", ancestor, descendant).status
        return {0: True, 1: False}.get(status)

    def contents(self, names: Sequence[str]) -> list[bytes]:
        """Return the contents of many objects, in order, with a single process.

        Raises:
            LedgerError: an object is missing.
        """
        if not names:
            return []
        answer = self.run("cat-file", "--batch", stdin="".join(f"{n}\n" for n in names).encode())
        found, position = [], 0
        for name in names:
            end = answer.index(b"\n", position)
            header = answer[position:end].split()
            if len(header) != 3:
                raise LedgerError(
                    f"Git misses the object {name} in {self.root}: run `git fsck`, "
                    "and fetch the study again if it has a remote."
                )
            start, size = end + 1, int(header[2])
            found.append(answer[start : start + size])
            position = start + size + 1
        return found

    def write_blob(self, content: bytes) -> str:
        """Store bytes as they are, past all filters, and return their object."""
        return self.line("hash-object", "-w", "--stdin", stdin=content)

    def write_tree(self, entries: Iterable[tuple[str, str, str, str]]) -> str:
        """Store a folder of (mode, kind, object, name) and return its object."""
        lines = (f"{mode} {kind} {oid}\t{name}\0" for mode, kind, oid, name in entries)
        return self.line("mktree", "-z", stdin="".join(lines).encode("utf-8", "surrogateescape"))

    def write_commit(self, tree: str, parents: Sequence[str], message: str) -> str:
        """Store a commit in the user's name, never signed, and return its object."""
        arguments = [argument for parent in parents for argument in ("-p", parent)]
        text = redact(message).replace("\0", "").encode("utf-8", "replace")
        return self.line(
            "commit-tree",
            "--no-gpg-sign",
            *arguments,
            tree,
            stdin=text,
            environment=self.identity,
        )

    def write_tag(self, name: str, target: str, message: bytes, kind: str = "commit") -> str:
        """Store an annotated tag object on a commit, or on another tag; never signed."""
        tagger = self.line("var", "GIT_COMMITTER_IDENT", environment=self.identity)
        header = f"object {target}\ntype {kind}\ntag {name}\ntagger {tagger}\n\n"
        return self.line("mktag", stdin=header.encode() + message)

    def transaction(self, commands: Sequence[str]) -> None:
        """Apply ref commands (``create``, ``update``, ``delete``, ``verify``) as one.

        Git applies them in the given order once all of them are locked and verified, so
        that only a kill of git itself can leave a first part of them (see recovery.py).

        Raises:
            LedgerError: nothing was changed; the message says why.
        """
        script = "\n".join(("start", *commands, "prepare", "commit", ""))
        self.run("update-ref", "--stdin", stdin=script.encode(), environment=self.identity)


def _library() -> ModuleType:
    """GitPython, which refuses to be imported on a machine without git.

    Raises:
        LedgerError: there is none.
    """
    try:
        import git
    except ImportError as error:
        raise LedgerError(NO_GIT) from error
    return git


def _bytes(value: object) -> bytes:
    return value if isinstance(value, bytes) else b""
