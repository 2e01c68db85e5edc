"""Candidates: commits that change one file, written past the user's checkout and index."""

from dataclasses import dataclass

from nightlab.errors import LedgerError
from nightlab.ledger.plumbing import Plumbing
from nightlab.shown import for_terminal


@dataclass(frozen=True, slots=True, kw_only=True)
class LineCounts:
    """How many lines a candidate added to its parent's file, and removed from it."""

    added: int
    removed: int


def write_candidate(
    plumbing: Plumbing, parent: str, path: str, source: str, *, title: str, body: str
) -> str:
    """Commit ``source`` as the only change on top of ``parent``; return the commit.

    Raises:
        LedgerError: the source is not text that UTF-8 can hold, or git refused.
    """
    try:
        content = source.encode()
    except UnicodeEncodeError as error:
        raise LedgerError(
            f"{path} needs to be text that UTF-8 can hold, and character {error.start} "
            "is a lone surrogate: apply an edit without it."
        ) from error
    blob = plumbing.write_blob(content)
    tree = _tree_with(plumbing, f"{parent}^{{tree}}", path.split("/"), blob)
    said = one_line(title) + (f"\n\n{body.strip()}" if body.strip() else "") + "\n"
    return plumbing.write_commit(tree, [parent], for_terminal(said))


def _tree_with(plumbing: Plumbing, tree: str | None, parts: list[str], blob: str) -> str:
    """Return the tree in which the file at ``parts`` is ``blob``, and all else is equal."""
    entries: dict[str, tuple[str, str, str]] = {}
    listing = plumbing.run("ls-tree", "-z", tree) if tree is not None else b""
    for line in listing.decode("utf-8", "surrogateescape").split("\0"):
        if line:
            header, _, name = line.partition("\t")
            mode, kind, oid = header.split(" ")
            entries[name] = (mode, kind, oid)
    name, rest = parts[0], parts[1:]
    mode, kind, oid = entries.get(name, ("", "", ""))
    if rest:
        entries[name] = (
            "040000",
            "tree",
            _tree_with(plumbing, oid if kind == "tree" else None, rest, blob),
        )
    else:
        entries[name] = (mode if mode in ("100644", "100755") else "100644", "blob", blob)
    return plumbing.write_tree((*entry, name) for name, entry in entries.items())


def read_source(plumbing: Plumbing, commit: str, path: str) -> str:
    """Return a file's text at a commit, with its line endings as they were committed.

    Raises:
        LedgerError: there is no such file there, or it is not UTF-8.
    """
    content = plumbing.run("cat-file", "blob", f"{commit}:{path}")
    try:
        return content.decode()
    except UnicodeDecodeError as error:
        raise LedgerError(
            f"{path} at {commit[:7]} needs to be UTF-8, and its byte {error.start} is not: "
            "convert the file and commit it."
        ) from error


def diff(plumbing: Plumbing, parent: str, commit: str, path: str) -> str:
    """Return the unified diff of one file between two commits; empty when equal."""
    arguments = ("--no-ext-diff", "--no-textconv", "--no-color", "--text", "--no-renames")
    answer = plumbing.run("diff-tree", "-p", *arguments, parent, commit, "--", path)
    return answer.decode(errors="replace")


def line_counts(plumbing: Plumbing, parent: str, commit: str, path: str) -> LineCounts:
    """Count the lines of one file that changed between two commits."""
    arguments = ("--no-ext-diff", "--no-textconv", "--text", "--no-renames")
    answer = plumbing.line("diff-tree", "--numstat", *arguments, parent, commit, "--", path)
    if not answer:
        return LineCounts(added=0, removed=0)
    added, removed, _ = answer.split("\t", 2)
    return LineCounts(added=int(added), removed=int(removed))


def one_line(text: str) -> str:
    """Return the text on one line, its runs of white space made single spaces."""
    return " ".join(text.replace("\0", "").split())
