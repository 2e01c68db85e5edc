"""Verdicts on trials whose replicates are done."""

from pathlib import Path

from nightlab.records import (
    InFlight,
    PreflightResult,
    Proposal,
    Reason,
    Replicate,
    TrainingResult,
    Verdict,
    utc_now,
)
from nightlab.study.recording import decide_trial
from tests.samples import UNREADABLE_TRITON
from tests.session_samples import sample_session

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
