"""A study with kept changes, and trainings of it that take no time."""

import hashlib
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from nightlab.ledger import ConsolidationRecord, Ledger
from nightlab.records import (
    Confinement,
    Decision,
    Evaluation,
    Evidence,
    Pair,
    Proposal,
    Reason,
    Replicate,
    TrainingResult,
    TrialRecord,
    Verdict,
    utc_now,
)
from nightlab.sandbox.endable import EndableSandbox
from nightlab.settings import SessionSettings
from nightlab.study.conditions import continue_settings
from nightlab.study.consolidation import Due, add_trained, next_round
from nightlab.study.patience import Outage
from tests.conftest import git

STUDY = "night"
PLACE = "this machine"
TRAINER = '''"""A trainer."""

DEPTH = 4
WIDTH = 64
RATE = 0.1


def build_model() -> None:
    """Build."""


def main() -> None:
    """Train."""


if __name__ == "__main__":
    main()
'''
DEEPER = ("DEPTH = 4", "DEPTH = 6")
WIDER = ("WIDTH = 64", "WIDTH = 96")
"""The line below: git's merge would take one beside the other for a conflict."""
NOISE_BPB = 0.002


def studied(root: Path, *keeps: tuple[str, str], lanes: int = 1) -> Any:
    """A session of a study that kept replacements of text, each by one pair."""
    (root / "trainer").mkdir(parents=True)
    (root / "trainer" / "train.py").write_text(TRAINER, encoding="utf-8")
    (root / "program.md").write_text("Learn.\n", encoding="utf-8")
    git(root, "init", "-q", "-b", "main")
    git(root, "add", ".")
    git(root, "-c", "user.name=Ada", "-c", "user.email=ada@localhost", "commit", "-qm", "Begin")
    ledger = Ledger(root, STUDY)
    first = ledger.create()
    ledger.finish(kept(0, first, first), Evidence(proposal=idea("baseline")))
    for number, (search, replace) in enumerate(keeps, start=1):
        keep(ledger, number, search, replace)
    return SimpleNamespace(
        identifier="session",
        settings=SessionSettings(study=STUDY),
        sandbox=EndableSandbox(SimpleNamespace(confinement=Confinement(rung="none"))),
        places=SimpleNamespace(root=root, mlruns=root / "mlruns"),
        ledger=ledger,
        remote=None,
        work=root / "work",
        place=PLACE,
        lanes=lanes,
        engine_version="1",
        began=utc_now(),
        trials_ended_at=None,
        prefect=Outage(),
        troubles={},
        tracker=SimpleNamespace(
            consolidated=lambda record: None, flush=lambda timeout_seconds: True
        ),
    )


def keep(ledger: Ledger, number: int, search: str, replace: str, gain_bpb: float = 0.004) -> str:
    """Record a trial that is kept; return its commit, the new incumbent."""
    parent = ledger.incumbent()
    source = ledger.source(parent)
    assert search in source
    changed = source.replace(search, replace)
    title = f"{search.splitlines()[0]} to {replace.splitlines()[0] if replace else 'nothing'}"
    commit = ledger.write_candidate(parent, changed, title)
    pair = Pair(seed=7, candidate_bpb=2.0 - gain_bpb, incumbent_bpb=2.0)
    ledger.finish(kept(number, parent, commit, pair), Evidence(proposal=idea(title)))
    return commit


def kept(number: int, parent: str, commit: str, *pairs: Pair) -> TrialRecord:
    settings = continue_settings(SessionSettings(study=STUDY), None).model_dump(mode="json")
    return TrialRecord(
        study=STUDY,
        number=number,
        parent=parent,
        commit=commit,
        title=f"idea {number}",
        proposer="knobs",
        decision=Decision(
            verdict=Verdict.KEEP,
            reason=Reason.IMPROVED if number else Reason.BASELINE,
            sentence="So it is.",
            pairs=pairs,
        ),
        val_bpb=2.0,
        confinement=Confinement(rung="none"),
        settings=settings,
        started_at=utc_now(),
        finished_at=utc_now(),
    )


def idea(title: str) -> Proposal:
    return Proposal(title=title, proposer="knobs")


def score(source: str, seed: int) -> float:
    """What a training of the code comes to: depth helps, nothing else does."""
    # The seed's luck is most of a score, and a pair's two codes share it.
    luck = int.from_bytes(hashlib.sha256(str(seed).encode()).digest()[:2]) / 2**16
    own = int.from_bytes(hashlib.sha256(f"{seed}{source}".encode()).digest()[:2]) / 2**16
    helped = 0.03 if "DEPTH = 6" in source else 0.0
    return 2.0 + 0.1 * luck - helped + NOISE_BPB * (own - 0.5)


def trained(due: Due, bpb: float | None = None) -> Replicate:
    """A training that is due, as if it had been made."""
    found = score(due.source, due.seed) if bpb is None else bpb
    return Replicate(
        seed=due.seed,
        training=TrainingResult(log="said much"),
        evaluation=Evaluation(val_bpb=found),
        place=PLACE,
    )


def failed(due: Due) -> Replicate:
    """A training that crashed."""
    training = TrainingResult(failure=Reason.EXCEPTION, message="It raised.")
    return Replicate(seed=due.seed, training=training, place=PLACE)


def run(session: Any, record: ConsolidationRecord) -> ConsolidationRecord:
    """Train all that a consolidation asks for."""
    for _ in range(60):
        due = next_round(session, record)
        if not due:
            return record
        assert len(due) <= session.lanes
        record = add_trained(session, record, [(each, trained(each)) for each in due])
    raise AssertionError("it never ends")
