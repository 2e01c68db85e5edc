"""The person's research brief, the versions that a study has seen, and what became of each."""

import hashlib
from collections.abc import Iterator, Sequence
from difflib import unified_diff
from itertools import groupby
from typing import Protocol

from nightlab.errors import UsageError
from nightlab.judging.scores import find_baseline
from nightlab.records import Evidence, Frozen, TrialRecord, Verdict
from nightlab.settings import Places, SessionSettings

VERSION_CHARACTERS = 10
UNKNOWN = "unknown"
"""Name of the version of trials whose records are from before versions were kept."""


def read_program(settings: SessionSettings, places: Places) -> str:
    """The research brief, read anew for every trial, so that editing it takes effect.

    Raises:
        UsageError: there is no such file, or it is not text.
    """
    path = places.root / settings.program
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(
            f"The research brief {settings.program!r} needs to be a readable text file in "
            f"{places.root}, and reading it failed: {error}. `git checkout program.md` brings back "
            "the one that came with Nightlab."
        ) from error


def program_version(text: str) -> str:
    """A name for a text of the brief: the beginning of its hash; empty for no text."""
    if not text:
        return ""
    return hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()[:VERSION_CHARACTERS]


class StudyEvidence(Protocol):
    """What is read of a ledger."""

    def records(self) -> tuple[TrialRecord, ...]:
        """All records, in order."""

    def evidence(self, number: int) -> Evidence:
        """What a trial left besides its record."""


class ProgramVersion(Frozen):
    """Consecutive trials whose proposers were told one text; a text that came back counts anew."""

    version: str
    """Beginning of the text's hash, or ``unknown``."""
    text: str
    """Empty where it is not known."""
    first_trial: int
    last_trial: int
    trials: int
    """The baseline among them."""
    keeps: int
    """Without the baseline."""
    before_bpb: float | None
    """Score of the incumbent that the first of these trials began with; for the baseline's
    version the baseline's own."""
    after_bpb: float | None
    """Score of the incumbent after the last of them."""
    cost_usd: float | None
    """Dollars for models; None where no trial knows them."""
    diff: str
    """Unified, against the version before; empty for the first and where one is not known."""

    @property
    def gain_bpb(self) -> float | None:
        """By how much the incumbent got better: positive is better."""
        if self.before_bpb is None or self.after_bpb is None:
            return None
        return self.before_bpb - self.after_bpb


def program_history(ledger: StudyEvidence) -> tuple[ProgramVersion, ...]:
    """The versions of ``program.md`` that a study has seen, in order.

    Raises:
        LedgerError: a record or a text is unreadable.
    """
    return tuple(_versions(ledger, ledger.records()))


def _versions(ledger: StudyEvidence, records: Sequence[TrialRecord]) -> Iterator[ProgramVersion]:
    standing: float | None = None
    earlier: ProgramVersion | None = None
    for version, group in groupby(records, key=lambda record: record.program_version):
        trials = list(group)
        kept = [each for each in trials if each.verdict is Verdict.KEEP]
        baseline = find_baseline(kept)
        before = baseline.val_bpb if baseline is not None else standing
        standing = kept[-1].val_bpb if kept else standing
        text = ledger.evidence(trials[0].number).program if version else ""
        costs = [each.cost.cost_usd for each in trials if each.cost.cost_usd is not None]
        name = version or UNKNOWN
        earlier = ProgramVersion(
            version=name,
            text=text,
            first_trial=trials[0].number,
            last_trial=trials[-1].number,
            trials=len(trials),
            keeps=len(kept) - (baseline is not None),
            before_bpb=before,
            after_bpb=standing,
            cost_usd=sum(costs) if costs else None,
            diff=_diff(earlier, name, text),
        )
        yield earlier


def _diff(earlier: ProgramVersion | None, version: str, text: str) -> str:
    if earlier is None or not earlier.text or not text:
        return ""
    names = f"program.md {earlier.version}", f"program.md {version}"
    lines = unified_diff(earlier.text.splitlines(), text.splitlines(), *names, lineterm="")
    return "".join(f"{line}\n" for line in lines)
