"""A hybrid night on two endpoints, one of them dead, with a person's idea in the queue."""

import json
from pathlib import Path

import pytest

from nightlab.ledger import Ledger, suggestions
from nightlab.proposers import apply_edits
from nightlab.proposers.arms import Arm, arm_of
from nightlab.records import TrialRecord, Verdict
from nightlab.study.briefing import MAX_RESCUES, NEAR_NOISES, near_misses
from tests.conftest import ROOT, expect_success, git, make_clone, run_nightlab
from tests.scripted_endpoint import Failure, ScriptedEndpoint

EDITS = [path.read_text() for path in sorted((ROOT / "bench" / "structural_edits").glob("*.md"))]
WISH = "Try something with the previous token."


@pytest.mark.slow
def test_a_hybrid_session_divides_its_trials_hears_the_person_and_survives_a_dead_endpoint(
    tmp_path: Path, shared_cache: Path, prefect_api: dict[str, str]
) -> None:
    clone = make_clone(tmp_path / "clone")
    options = ("--budget-tokens", "8192", "--preflight-seconds", "0", "--confirm-replicates", "0")
    session = ("research", "--study", "night", *options)
    begun = run_nightlab(clone, shared_cache, *session, "--trials", "0", extra=prefect_api)
    expect_success(begun)
    expect_success(run_nightlab(clone, shared_cache, "suggest", "night", WISH))
    with ScriptedEndpoint([Failure(500)] * 60) as dead, ScriptedEndpoint(EDITS * 3) as alive:
        models = f"openai/dead@{dead.api_base},openai/alive@{alive.api_base}"
        done = run_nightlab(
            clone,
            shared_cache,
            *(*session, "--trials", "6", "--proposer", "hybrid", "--model", models),
            extra={**prefect_api, "OPENAI_API_KEY": "sk-0123456789abcdef"},
            timeout_seconds=1800,
        )
        asked = [request.text for request in alive.requests]
    said = expect_success(done)
    assert "Proposer: hybrid, Optuna and the model openai/dead" in said
    ledger = Ledger(clone, "night")
    records = [record for record in ledger.records() if record.number > 0]
    assert len(records) == 6

    # Both had turns, each record says why, and no trial failed for the endpoint that is down.
    assert {Arm.STRUCTURE, Arm.TUNING} <= {arm_of(record) for record in records}
    assert all(record.verdict is not Verdict.FAILED for record in records)
    assert all(record.note.startswith("Hybrid: ") for record in records)
    structure = [record for record in records if arm_of(record) is Arm.STRUCTURE]
    assert {record.model for record in structure} == {"openai/alive"}
    assert "Whose ideas" in (clone / "mlruns" / "reports" / "night.html").read_text()

    # The first prompt showed the person's idea; its trial took it, and no later one was shown it.
    assert WISH in asked[0]
    (idea,) = suggestions(ledger)
    assert idea.trial == structure[0].number
    later = [text for text in asked if f"Propose trial {structure[0].number}." not in text]
    assert not any(WISH in text for text in later)
    listed = expect_success(run_nightlab(clone, shared_cache, "suggest", "night", "--json"))
    assert json.loads(listed)[0]["trial"] == structure[0].number

    _near_misses_are_what_they_say(ledger, ledger.records())
    assert git(clone, "status", "--porcelain") == ""


def _near_misses_are_what_they_say(ledger: Ledger, records: tuple[TrialRecord, ...]) -> None:
    rescues = [record.rescue_of for record in records]
    near = {
        record.number
        for record in records
        if record.verdict is Verdict.DISCARD
        and record.rescue_of is None
        and record.proposer == "llm"
        and record.decision.difference_bpb is not None
        and record.decision.noise_bpb is not None
        and record.decision.difference_bpb <= NEAR_NOISES * record.decision.noise_bpb
        and rescues.count(record.number) < MAX_RESCUES
    }
    told = near_misses(ledger, records)
    assert {miss.number for miss in told} == near
    for miss in told:
        parent = records[miss.number].parent
        assert apply_edits(ledger.source(parent), miss.edits).error is None
