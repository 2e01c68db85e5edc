"""The ledger of one study: what was tried, what stands, what is under way."""

from pathlib import Path

from nightlab.errors import LedgerError, UsageError
from nightlab.judging.scores import standing_record
from nightlab.ledger import candidates
from nightlab.ledger.approvals import as_approved, needs_word, waiting_chain
from nightlab.ledger.candidates import LineCounts
from nightlab.ledger.documents import (
    evidence_files,
    from_json,
    message_of,
    read_evidence,
    to_json,
    without_bulk,
)
from nightlab.ledger.names import (
    BRANCHES,
    StudyRefs,
    number_of,
    studies_among,
    without_branch,
)
from nightlab.ledger.plumbing import Plumbing
from nightlab.ledger.recovery import Recovery, recover
from nightlab.records import Approval, Evidence, InFlight, TrialRecord, Verdict
from nightlab.records.counting import counted
from nightlab.settings import TRAINER_FILE


def studies(root: Path) -> tuple[str, ...]:
    """Return the names of the studies in a repository, in alphabetical order.

    Raises:
        LedgerError: there is no repository at ``root``.
    """
    return studies_among(Plumbing(root).refs(BRANCHES, "refs/nightlab"))


def studies_without_branch(root: Path) -> tuple[str, ...]:
    """Return the names of the studies that have records and no branch, in alphabetical order."""
    return without_branch(Plumbing(root).refs(BRANCHES, "refs/nightlab"))


class Ledger:
    """The refs of one study.

    Args:
        root: the repository: a clone (shallow or not), a worktree, or a bare repository.
        study: the study's name, as ``SessionSettings`` allows it.

    Raises:
        LedgerError: there is no repository at ``root``; and from every method, whatever
            git refuses.
    """

    def __init__(self, root: Path, study: str) -> None:
        self.root = root
        self.study = study
        self.branch = f"nightlab/{study}"
        self.refs = StudyRefs(study)
        self.plumbing = Plumbing(root)
        self._known: dict[str, TrialRecord] = {}

    # The branch and its candidates

    def exists(self) -> bool:
        """Say whether the study has begun."""
        return self.plumbing.resolve(self.refs.branch) is not None

    def create(self, source: str | None = None, message: str = "") -> str:
        """Begin the study at HEAD, and return the commit that its branch then stands at.

        Args:
            source: what ``trainer/train.py`` starts with, where it differs from HEAD's.
            message: title of the commit that ``source`` makes.

        Raises:
            LedgerError: the study exists, or the repository has no commit.
            UsageError: records of a study of this name stand here without its branch.
        """
        self.require_free_names()
        self.require_branch_of_records()
        if self.exists():
            raise LedgerError(
                f"Study {self.study!r} needs to be new and its branch {self.branch} exists: "
                "continue it, or choose another name."
            )
        commit = self.plumbing.resolve("HEAD^{commit}")
        if commit is None:
            raise LedgerError(
                f"A study starts from the commit that is checked out, and {self.root} has none: "
                "make a first commit with `git commit`."
            )
        if source is not None and source != self.source(commit):
            commit = self.write_candidate(commit, source, message or f"Begin study {self.study}")
        self.plumbing.transaction([f"create {self.refs.branch} {commit}"])
        return commit

    def incumbent(self) -> str:
        """Return the commit that stands now: the last keep, on the branch or waiting to be.

        Raises:
            LedgerError: the study has not begun.
            UsageError: its branch is gone, and its records are here.
        """
        commit = self.plumbing.resolve(self.refs.branch)
        if commit is None:
            self.require_branch_of_records()
            known = ", ".join(studies(self.root)) or "none"
            raise LedgerError(
                f"Study {self.study!r} has no branch {self.branch} here (studies: {known}): "
                "begin it with `nightlab research`, or fetch it with --remote."
            )
        waiting = self.waiting()
        return waiting[-1].commit if waiting else commit

    def waiting(self) -> tuple[TrialRecord, ...]:
        """The keeps that wait for a person's word, in the order in which they were built."""
        waiting = [each for each in self.records() if each.approval is Approval.WAITS]
        return waiting_chain(waiting, self.plumbing.resolve(self.refs.branch))

    def checked_out_at(self) -> Path | None:
        """Return the worktree that has the study's branch checked out, if one has."""
        where = self.plumbing.line("for-each-ref", "--format=%(worktreepath)", self.refs.branch)
        return Path(where) if where else None

    def require_branch_of_records(self) -> None:
        """Make sure that the branch was not removed from under the study's records.

        Raises:
            UsageError: it was; the sentence says where it stood.
        """
        if self.exists() or not self._of_kind("trials"):
            return
        records = self.records()
        standing = standing_record(records) or records[0]
        raise UsageError(
            f"Study {self.study!r} has {counted(len(records), 'record')} here and its branch "
            f"{self.branch} is gone: `git branch {self.branch} {standing.commit[:12]}` puts it "
            f"where it stood by them, `nightlab fetch {self.study} --remote origin` brings a "
            f"remote's, and `nightlab delete {self.study}` removes the rest."
        )

    def require_free_names(self) -> None:
        """Make sure that git can have the study's refs beside what is here.

        Raises:
            UsageError: a branch or another ref stands where they need a folder.
        """
        found = self.plumbing.refs(*self.refs.above)
        other = self.refs.in_the_way(found)
        if other is None:
            return
        name = other.removeprefix("refs/heads/")
        remedy = f"git branch -m {name} OTHER" if name != other else f"git update-ref -d {name}"
        raise UsageError(
            f"Git can have no branch {self.branch} and no records of it beside {name}, which is "
            f"here: `{remedy}` makes room."
        )

    def require_free_branch(self) -> None:
        """Make sure that moving the study's branch changes no file under somebody's hands.

        Raises:
            UsageError: a worktree has it checked out.
        """
        where = self.checked_out_at()
        if where is not None:
            raise UsageError(
                f"Branch {self.branch} needs to be free to move and is checked out in {where}: "
                "run `git switch -` or `git switch --detach` there."
            )

    def source(self, commit: str, path: str = TRAINER_FILE) -> str:
        """Return a file's text at a commit."""
        return candidates.read_source(self.plumbing, commit, path)

    def write_candidate(self, parent: str, source: str, title: str, body: str = "") -> str:
        """Commit ``source`` as ``trainer/train.py`` on top of ``parent``; return the commit.

        No ref names the commit until it is marked or recorded.
        """
        return candidates.write_candidate(
            self.plumbing, parent, TRAINER_FILE, source, title=title, body=body
        )

    def diff(self, record: TrialRecord) -> str:
        """Return the unified diff of a trial's candidate against its parent."""
        return self.candidate_diff(record.parent, record.commit)

    def candidate_diff(self, parent: str, commit: str) -> str:
        """Return the unified diff of ``trainer/train.py`` between two commits."""
        return candidates.diff(self.plumbing, parent, commit, TRAINER_FILE)

    def line_counts(self, parent: str, commit: str) -> LineCounts:
        """Count the lines of ``trainer/train.py`` that changed between two commits."""
        return candidates.line_counts(self.plumbing, parent, commit, TRAINER_FILE)

    # Trials

    def next_number(self) -> int:
        """Return the number after the highest record or in-flight mark."""
        refs = self.plumbing.refs(self.refs.root)
        taken = self.refs.numbers(refs, "trials") + self.refs.numbers(refs, "inflight")
        return max(taken, default=-1) + 1

    def mark(self, mark: InFlight, *, is_new: bool = False) -> None:
        """Create or replace the in-flight mark of a trial; its candidate is then reachable.

        Args:
            mark: of the trial.
            is_new: whether it has to be the first of its trial.

        Raises:
            LedgerError: the trial has its record, or a mark where there was to be none.
        """
        self._own(mark)
        if self.plumbing.resolve(self.refs.trial(mark.number)) is not None:
            raise LedgerError(
                f"Trial {mark.number} of study {self.study!r} is recorded and cannot be in "
                "flight again: retry it under a new number."
            )
        name = f"nightlab/{self.study}/inflight/{mark.number:04d}"
        tag = self.plumbing.write_tag(name, mark.commit, to_json(mark))
        verb = "create" if is_new else "update"
        self.plumbing.transaction([f"{verb} {self.refs.inflight(mark.number)} {tag}"])

    def marks(self) -> tuple[InFlight, ...]:
        """Return the marks of all trials in flight, in order."""
        refs = self._of_kind("inflight")
        tags = self.plumbing.contents(list(refs.values()))
        return tuple(
            from_json(InFlight, message_of(tag), ref) for ref, tag in zip(refs, tags, strict=True)
        )

    def finish(self, record: TrialRecord, evidence: Evidence) -> None:
        """Write a trial's record and evidence, drop its mark and, for a keep, move the branch.

        One transaction of refs, in an order from which ``recover`` can always go on. A keep that
        waits for a person's word leaves the branch where it is.

        Raises:
            LedgerError: the trial has its record already, or the branch does not stand at
                the record's parent. Nothing was changed then.
        """
        self._own(record)
        number = record.number
        if self.plumbing.resolve(self.refs.trial(number)) is not None:
            raise LedgerError(
                f"Trial {number} of study {self.study!r} is recorded, and a record is written "
                "once: retry it under a new number."
            )
        name = f"nightlab/{self.study}/trials/{number:04d}"
        folder = self._write_evidence(evidence, number)
        tag = self.plumbing.write_tag(name, record.commit, to_json(without_bulk(record)))
        commands = [
            f"create {self.refs.evidence(number)} {folder}",
            f"create {self.refs.trial(number)} {tag}",
        ]
        if record.verdict is Verdict.KEEP:
            commands += self._branch_commands(record)
        mark = self.plumbing.resolve(self.refs.inflight(number))
        if mark is not None:
            commands.append(f"delete {self.refs.inflight(number)} {mark}")
        self.plumbing.transaction(commands)

    def _branch_commands(self, record: TrialRecord) -> list[str]:
        if record.number == 0:
            return [f"verify {self.refs.branch} {record.commit}"]
        if not self.plumbing.is_ancestor(record.parent, record.commit):
            raise LedgerError(
                f"Trial {record.number} of study {self.study!r} can be kept only on top of its "
                f"parent {record.parent[:7]}, and {record.commit[:7]} is not: retry the trial."
            )
        if needs_word(record):
            return []
        return [f"update {self.refs.branch} {record.commit} {record.parent}"]

    def _write_evidence(self, evidence: Evidence, number: int) -> str:
        entries = [
            ("100644", "blob", self.plumbing.write_blob(content), name)
            for name, content in evidence_files(evidence).items()
        ]
        tree = self.plumbing.write_tree(entries)
        title = f"Evidence of trial {number} of study {self.study}\n"
        return self.plumbing.write_commit(tree, [], title)

    def records(self) -> tuple[TrialRecord, ...]:
        """Return the records of all finished trials, in order.

        Raises:
            LedgerError: a record is unreadable, or was written by a newer Nightlab.
        """
        records = self._read_records(self._of_kind("trials"))
        return as_approved(self.plumbing, self.refs, records)

    def record(self, number: int) -> TrialRecord:
        """Return one trial's record.

        Raises:
            UsageError: the trial has none.
        """
        ref = self.refs.trial(number)
        tag = self.plumbing.resolve(ref)
        if tag is None:
            known = [number_of(name) for name in self._of_kind("trials")]
            found = ", ".join(map(str, known)) if known else "no recorded trial yet"
            raise UsageError(
                f"Study {self.study!r} has no record of a trial {number}; it has {found}."
            )
        record = self._read_records({ref: tag})[0]
        if not needs_word(record):
            return record
        return next(each for each in self.records() if each.number == number)

    def evidence(self, number: int) -> Evidence:
        """Return what a trial left besides its record: prompts, answers, logs, curves.

        Raises:
            UsageError: the trial has none.
        """
        ref = self.refs.evidence(number)
        if self.plumbing.resolve(ref) is None:
            raise UsageError(
                f"Study {self.study!r} has no evidence of a trial {number}: "
                f"`nightlab show {self.study}` lists its trials."
            )
        listing = self.plumbing.run("ls-tree", "-z", ref).decode()
        entries = [entry.split("\t", 1) for entry in listing.split("\0") if entry]
        contents = self.plumbing.contents([header.split()[2] for header, _ in entries])
        names = [name for _, name in entries]
        return read_evidence(dict(zip(names, contents, strict=True)), ref)

    def recover(self, quiet_seconds: float) -> Recovery:
        """Finish or undo what a killed session left half done; see ``recovery``.

        Only for the holder of the study's session: ``hold_session`` calls it.
        """
        return recover(self.plumbing, self.refs, self.records, quiet_seconds)

    def _read_records(self, refs: dict[str, str]) -> tuple[TrialRecord, ...]:
        """Read records; those that were read before are not read again, since none ever changes."""
        new = {ref: tag for ref, tag in refs.items() if tag not in self._known}
        for (ref, tag), content in zip(
            new.items(), self.plumbing.contents(list(new.values())), strict=True
        ):
            self._known[tag] = from_json(TrialRecord, message_of(content), ref)
        for ref, tag in refs.items():
            record = self._known[tag]
            if record.number != number_of(ref) or record.study != self.study:
                raise LedgerError(
                    f"{ref} needs to hold trial {number_of(ref)} of study {self.study!r}, and "
                    f"holds trial {record.number} of {record.study!r}: the ref was copied by hand."
                )
        return tuple(self._known[tag] for tag in refs.values())

    def tags(self, kind: str) -> list[tuple[str, bytes]]:
        """Return the ref and the tag object of every ref of one kind, in order."""
        refs = self._of_kind(kind)
        return list(zip(refs, self.plumbing.contents(list(refs.values())), strict=True))

    def _of_kind(self, kind: str) -> dict[str, str]:
        refs = self.plumbing.refs(f"{self.refs.root}/{kind}")
        mine = [ref for ref in refs if self.refs.kind(ref) == kind]
        # Shorter ones first: 10000 comes after 9999, and a time after a number.
        return {ref: refs[ref] for ref in sorted(mine, key=lambda ref: (len(ref), ref))}

    def _own(self, document: InFlight | TrialRecord) -> None:
        if document.study != self.study:
            raise LedgerError(
                f"The ledger of study {self.study!r} was given trial {document.number} of "
                f"study {document.study!r}."
            )
