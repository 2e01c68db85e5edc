"""A session on a real repository, for steps of a trial that need neither sandbox nor servers."""

import threading
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from nightlab.ledger import Ledger
from nightlab.proposers import Brief, Spending, apply_edits
from nightlab.records import (
    Approval,
    Confinement,
    Decision,
    Evidence,
    Proposal,
    Reason,
    TrialRecord,
    Verdict,
    utc_now,
)
from nightlab.sandbox.device import Device
from nightlab.sandbox.endable import EndableSandbox
from nightlab.settings import SessionSettings
from nightlab.study.patience import Outage
from tests.conftest import git

STUDY = "night"
TRAINER = '"""A trainer."""\n\nDEPTH = 4\n'
RUNTIME = '"""What a trainer may call."""\n'
MODEL = "openai/new"
PLACE = "a machine, test, engine 1"


@dataclass
class ScriptedProposer:
    """Answers what it was given, and remembers what it was told."""

    answer: Callable[[Brief], Proposal]
    name: str = "llm"
    reads: bool = True
    needs_money: bool = True
    told: list[Brief] = field(default_factory=list)

    def propose(self, brief: Brief) -> Proposal:
        self.told.append(brief)
        return self.answer(brief)


class SilentTracker:
    """Is told everything, and shows nothing."""

    def model_calls(self, number: int) -> AbstractContextManager[None]:
        return nullcontext()

    def __getattr__(self, name: str) -> Callable[..., None]:
        return lambda *_, **__: None


def idea(brief: Brief) -> Proposal:
    """An idea that a model was paid for."""
    return Proposal(title=f"Idea for {brief.number}", proposer="llm")


def sample_session(root: Path, answer: Callable[[Brief], Proposal] = idea) -> Any:
    """A session of a study that has just begun, in a new repository at ``root``."""
    (root / "trainer").mkdir(parents=True)
    (root / "trainer" / "train.py").write_text(TRAINER, encoding="utf-8")
    (root / "trainer" / "runtime.py").write_text(RUNTIME, encoding="utf-8")
    (root / "program.md").write_text("Learn.\n", encoding="utf-8")
    git(root, "init", "-q", "-b", "main")
    git(root, "add", ".")
    git(root, "-c", "user.name=Ada", "-c", "user.email=ada@localhost", "commit", "-qm", "Begin")
    ledger = Ledger(root, STUDY)
    ledger.create()
    settings = SessionSettings(study=STUDY)
    return SimpleNamespace(
        identifier="session",
        settings=settings,
        places=SimpleNamespace(root=root, cache=root / "cache"),
        ledger=ledger,
        remote=None,
        device=Device(name="cpu", description="test", threads=1),
        place=PLACE,
        lanes=1,
        startup_free_seconds=None,
        answering_allowed=None,
        engine_version="1",
        work=root.parent,
        proposer=ScriptedProposer(answer),
        spending=Spending(settings),
        ready_corpus=SimpleNamespace(fingerprint="f" * 64, vocab_size=64),
        sandbox=EndableSandbox(SimpleNamespace(confinement=Confinement(rung="none"))),
        hold=SimpleNamespace(push=lambda: None),
        tracker=SilentTracker(),
        tried={},
        asking=None,
        began=utc_now(),
        trials_ended_at=None,
        prefect=Outage(),
        troubles={},
        locks=root.parent,
    )


def finish_trial(session: Any, proposal: Proposal, verdict: Verdict = Verdict.FAILED) -> None:
    """Record the next trial with a proposal."""
    ledger = session.ledger
    commit = ledger.incumbent()
    reason = Reason.BASELINE if verdict is Verdict.KEEP else Reason.MACHINERY
    _record(session, ledger.next_number(), commit, commit, proposal, verdict, reason)


def lose_an_answer(session: Any) -> None:
    """Count a call of a model that may be billed though no answer came."""
    price = SimpleNamespace(of=lambda prompt, answer: 0.25, is_known=True, completion=1e-6)
    session.spending.add_unanswered(MODEL, 1000, price)


def hold_answers() -> tuple[Callable[[Brief], Proposal], threading.Event, threading.Event]:
    """An answer that waits: what gives it, when it was asked for, and what lets it go."""
    asked, released = threading.Event(), threading.Event()

    def answer(brief: Brief) -> Proposal:
        asked.set()
        if not released.wait(timeout=30):
            raise TimeoutError("the test did not let the answer go")
        return idea(brief)

    return answer, asked, released


def keep_edit(
    session: Any, number: int, proposal: Proposal, approval: Approval | None = None
) -> str:
    """Record a trial whose proposal is kept; return its commit, the new incumbent."""
    ledger = session.ledger
    parent = ledger.incumbent()
    source = apply_edits(ledger.source(parent), proposal.edits).source
    commit: str = ledger.write_candidate(parent, source, proposal.title, "")
    verdict, reason = Verdict.KEEP, Reason.IMPROVED
    _record(session, number, parent, commit, proposal, verdict, reason, approval)
    return commit


def _record(
    session: Any,
    number: int,
    parent: str,
    commit: str,
    proposal: Proposal,
    verdict: Verdict,
    reason: Reason,
    approval: Approval | None = None,
) -> None:
    record = TrialRecord(
        study=STUDY,
        number=number,
        parent=parent,
        commit=commit,
        title=proposal.title,
        proposer=proposal.proposer,
        decision=Decision(verdict=verdict, reason=reason, sentence="So it is."),
        val_bpb=1.9 if verdict is Verdict.KEEP else None,
        cost=proposal.cost,
        approval=approval,
        settings=session.settings.model_dump(mode="json"),
        confinement=Confinement(rung="none"),
        started_at=utc_now(),
        finished_at=utc_now(),
    )
    session.ledger.finish(record, Evidence(proposal=proposal))
