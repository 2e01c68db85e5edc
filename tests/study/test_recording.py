"""Verdicts on trials whose replicates are done."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from nightlab import events
from nightlab.judging.scores import standing_record
from nightlab.ledger import give_word
from nightlab.records import (
    Approval,
    Edit,
    InFlight,
    PreflightResult,
    Proposal,
    Reason,
    Replicate,
    TrainingResult,
    TrialRecord,
    Verdict,
    utc_now,
)
from nightlab.study.recording import decide_trial, record_trial, show_last_trial
from nightlab.study.trial import apply_proposal, begin_trial
from tests.samples import UNREADABLE_TRITON
from tests.session_samples import PLACE, sample_session
from tests.study.trained import trained

CRASH = TrainingResult(
    failure=Reason.EXCEPTION, message="ValueError: @jit functions", log=UNREADABLE_TRITON
)


def mark(session: object, proposer: str, **fields: object) -> InFlight:
    proposal = Proposal(title="a trial", proposer=proposer)
    return InFlight.model_validate(
        {
            "study": "night",
            "number": 0,
            "parent": "a" * 40,
            "commit": "a" * 40,
            "started_at": utc_now(),
            "proposal": proposal,
            **fields,
        }
    )


def test_a_baseline_that_cannot_import_the_library_is_the_machinerys_failure(
    tmp_path: Path,
) -> None:
    session = sample_session(tmp_path / "clone")
    trained = {"replicates": (Replicate(seed=1, training=CRASH),)}
    dry = {
        "preflight": PreflightResult(
            failure=Reason.EXCEPTION, message="", log=UNREADABLE_TRITON, seconds=1.0
        )
    }
    for fields in (trained, dry):
        verdict = decide_trial(session, mark(session, "baseline", **fields))
        assert (verdict.verdict, verdict.reason) == (Verdict.FAILED, Reason.MACHINERY)
        assert "@jit functions should be defined" in verdict.sentence
        assert "nightlab doctor" in verdict.sentence
    verdict = decide_trial(session, mark(session, "llm", **dry))
    assert verdict.verdict is Verdict.CRASH, "a candidate's traceback is its own word"


def trial(
    session: Any, number: int, *scores: float | None, twins: tuple[float, ...] = (), edit: str = ""
) -> TrialRecord:
    """A whole trial whose trainings are done: begun, applied, judged and recorded."""
    edits = (Edit(search="DEPTH = 4", replace=f"DEPTH = 4  # {edit}"),) if edit else ()
    proposer = "llm" if number else "baseline"
    idea = Proposal(title=f"Idea {number}", proposer=proposer, edits=edits)
    begun = apply_proposal(session, begin_trial(session, number, idea), idea)
    done = begun.model_copy(
        update={
            "replicates": tuple(
                trained(index, score, place=PLACE) for index, score in enumerate(scores)
            ),
            "incumbent_replicates": tuple(
                trained(index, score, place=PLACE) for index, score in enumerate(twins)
            ),
        }
    )
    return record_trial(session, done, decide_trial(session, done), {})


@pytest.fixture
def session(tmp_path: Path) -> Any:
    return sample_session(tmp_path / "clone")


def test_scores_of_a_study_are_the_baselines_and_the_chain_of_pairs(session: Any) -> None:
    baseline = trial(session, 0, 2.00, 2.10)
    assert baseline.reason is Reason.BASELINE
    assert baseline.val_bpb == pytest.approx(2.05)
    kept = trial(session, 1, 1.90, 2.02, edit="a")
    assert kept.reason is Reason.IMPROVED
    assert kept.val_bpb == pytest.approx(2.05 - 0.09), "mean of 0.10 and 0.08, from 2.05"
    # One pair says how far the next one is from it, not how lucky its seed is.
    worse = trial(session, 2, 2.00, edit="b")
    assert worse.verdict is Verdict.DISCARD
    assert worse.val_bpb == pytest.approx(1.96 + 0.10)
    better = trial(session, 3, 1.84, 1.96, edit="c")
    assert better.reason is Reason.IMPROVED
    assert better.val_bpb == pytest.approx(1.96 - 0.06)
    assert better.val_bpb is not None
    assert standing_record(session.ledger.records()) == session.ledger.record(3)
    assert [each.seed for each in better.decision.pairs] == [
        each.seed for each in baseline.replicates
    ]


def test_on_a_slower_machine_the_chain_goes_on_with_its_own_pairs(session: Any) -> None:
    trial(session, 0, 2.0, 2.0)
    moved = PLACE + ", moved"
    session.place = moved
    idea = Proposal(
        title="Deeper", proposer="llm", edits=(Edit(search="DEPTH = 4", replace="DEPTH = 6"),)
    )
    begun = apply_proposal(session, begin_trial(session, 1, idea), idea)
    done = begun.model_copy(
        update={
            "replicates": tuple(trained(each, 2.4, place=moved) for each in range(2)),
            "incumbent_replicates": tuple(trained(each, 2.5, place=moved) for each in range(2)),
        }
    )
    record = record_trial(session, done, decide_trial(session, done), {})
    assert record.reason is Reason.IMPROVED, "2.4 is worse than what the fast machine scored"
    assert record.val_bpb == pytest.approx(1.9)
    assert [each.val_bpb for each in record.replicates] == [2.4, 2.4]


def test_without_pairs_there_is_no_number(session: Any) -> None:
    trial(session, 0, 2.0, 2.0)
    crashed = trial(session, 1, None, edit="a")
    assert (crashed.verdict, crashed.val_bpb) == (Verdict.CRASH, None)


def test_a_baseline_is_what_was_trained_here(session: Any) -> None:
    begun = begin_trial(session, 0, Proposal(title="baseline", proposer="baseline"))
    elsewhere = (trained(0, 1.0, place="x"), trained(1, None, place="x"))
    here = tuple(trained(index, 2.0, place=PLACE) for index in range(2))
    done = begun.model_copy(update={"replicates": (*elsewhere, *here)})
    record = record_trial(session, done, decide_trial(session, done), {})
    assert (record.reason, record.val_bpb) == (Reason.BASELINE, 2.0)
    assert "the mean of 2 seeds" in record.decision.sentence
    assert len(record.replicates) == 4, "what was trained stands in the record all the same"


def test_what_is_not_trained_to_its_end_is_not_judged(session: Any) -> None:
    trial(session, 0, 2.0, 2.0)
    begun = begin_trial(session, 1, Proposal(title="Idea", proposer="llm"))
    with pytest.raises(RuntimeError, match="judged before all replicates are done"):
        decide_trial(session, begun)


def test_a_record_that_is_written_is_told(session: Any) -> None:
    heard: list[events.Event] = []
    with events.listening(heard.append):
        record = trial(session, 0, 2.0, 2.0)
    assert events.TrialEnded(record=record) in heard


@pytest.mark.parametrize("killed", [set(), {"a run"}])
def test_what_a_killed_session_had_just_recorded_is_completed_in_mlflow(
    tmp_path: Path, killed: set[str]
) -> None:
    session = sample_session(tmp_path / "clone")
    session.hold.killed = killed
    shown: list[int] = []
    show_last_trial(session)  # There is no record yet.
    trial(session, 0, 2.0, 2.0)
    trial(session, 1, 1.9, edit="a")
    session.tracker = SimpleNamespace(
        took_over=lambda in_hand: shown.extend(in_hand),
        trial_ended=lambda record, evidence, diff, source, incumbent: shown.append(record.number),
        study_changed=lambda records, gain: shown.append(len(records)),
    )
    show_last_trial(session)
    assert shown == ([1, 2] if killed else [])


def test_what_stands_on_a_keep_that_waits_waits_with_it(session: Any) -> None:
    begun = session.ledger.incumbent()
    session.settings = session.settings.model_copy(update={"approve": "keeps"})
    assert trial(session, 0, 2.00, 2.10).approval is None
    kept = trial(session, 1, 1.90, 2.02, edit="a")
    assert (kept.verdict, kept.approval) == (Verdict.KEEP, Approval.WAITS)
    assert trial(session, 2, 2.00, edit="b").approval is None, "it is not kept"
    session.settings = session.settings.model_copy(update={"approve": "nothing"})
    onto = trial(session, 3, 1.80, 1.92, edit="c")
    assert (onto.parent, onto.approval) == (kept.commit, Approval.WAITS)
    assert session.ledger.plumbing.resolve(session.ledger.refs.branch) == begun
    give_word(session.ledger, None, 3, approve=True)
    free = trial(session, 4, 1.70, 1.82, edit="d")
    assert (free.verdict, free.approval) == (Verdict.KEEP, None)
    assert session.ledger.plumbing.resolve(session.ledger.refs.branch) == free.commit
