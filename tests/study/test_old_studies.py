"""Studies from before pairs: their records are read as they are, and pairs begin with what follows.

The documents here are written by hand in the shape that version 0.1 gave them.
"""

import json
from pathlib import Path
from typing import Any

import pytest

from nightlab import events
from nightlab.judging.scores import expected_false_keeps, level_bpb, standing_record
from nightlab.ledger import Ledger, study_summary
from nightlab.records import Edit, Proposal, Reason, Verdict
from nightlab.settings import recorded_settings
from nightlab.study.conditions import begun_with, continue_settings, say_new_rule
from nightlab.study.measurement import add_replicates, next_round
from nightlab.study.recording import decide_trial, record_trial
from nightlab.study.session import study_noise_bpb, study_seeds
from nightlab.study.trial import apply_proposal, begin_trial
from tests.session_samples import STUDY, TRAINER, sample_session
from tests.study.trained import trained

MOMENT = "2026-11-20T01:00:00Z"
OLD_SEED = 11


def old_replicate(seed: int, score: float, **more: Any) -> dict[str, Any]:
    return {
        "seed": seed,
        "training": {
            "failure": None,
            "message": "",
            "startup_seconds": 2.0,
            "charged_seconds": 0.0,
            "training_seconds": 20.0,
            "num_steps": 700,
            "num_tokens": 380_000,
            "final_loss": 4.1,
            "tokens_per_second": 19_000.0,
            "slowest_quarter": 0.8,
            "curve": [],
            "loss_profile": [],
            "forecast": None,
            "log": "",
        },
        "evaluation": {"split": "val", "val_bpb": score, "num_tokens": 1000, "num_bytes": 3000},
        "contended": False,
        "outdated": False,
        "precedes_change": False,
        "turn": 0,
        **more,
    }


def old_decision(verdict: str, reason: str, **more: Any) -> dict[str, Any]:
    return {
        "verdict": verdict,
        "reason": reason,
        "sentence": "As it was said then.",
        "difference_bpb": None,
        "threshold_bpb": 0.01,
        "noise_bpb": 0.008,
        "interval_bpb": None,
        "evidence": 41.5,
        "evidence_needed": 40.0,
        "replicates": 2,
        "incumbent_replicates": 3,
        "degrees_of_freedom": 7,
        **more,
    }


def old_record(number: int, parent: str, commit: str, **more: Any) -> dict[str, Any]:
    return {
        "schema_version": 1,
        "study": STUDY,
        "number": number,
        "parent": parent,
        "commit": commit,
        "title": f"Idea {number}",
        "hypothesis": "",
        "proposer": "knobs" if number else "baseline",
        "val_bpb": None,
        "replicates": [],
        "incumbent_replicates": [],
        "confinement": {"rung": "1", "name": "bubblewrap", "features": [], "missing": []},
        "device": "a processor, 2 threads",
        "engine_version": "0.1.0+old",
        "corpus_fingerprint": "f" * 64,
        "settings": {"study": STUDY, "preset": "quick", "budget_seconds": 20.0, "seed": OLD_SEED},
        "started_at": MOMENT,
        "finished_at": MOMENT,
        **more,
    }


def write(ledger: Ledger, document: dict[str, Any], kind: str = "trials") -> None:
    name = f"nightlab/{STUDY}/{kind}/{document['number']:04d}"
    text = json.dumps(document).encode()
    tag = ledger.plumbing.write_tag(name, document["commit"], text)
    ledger.plumbing.transaction([f"create refs/{name} {tag}"])


@pytest.fixture
def session(tmp_path: Path) -> Any:
    """A study with a baseline, a keep and a discard, judged as version 0.1 did."""
    made = sample_session(tmp_path / "clone")
    ledger = made.ledger
    first = ledger.incumbent()
    scores = [old_replicate(seed, score) for seed, score in ((1, 2.00), (2, 2.02), (3, 2.01))]
    decision = old_decision("keep", "baseline")
    write(
        ledger,
        old_record(0, first, first, decision=decision, replicates=scores, val_bpb=2.01),
    )
    kept = ledger.write_candidate(first, TRAINER.replace("4", "6"), "Deeper")
    own = [old_replicate(4, 1.90, turn=0), old_replicate(5, 1.92, turn=2)]
    anew = [old_replicate(6, 2.03, turn=1, contended=True)]
    decision = old_decision("keep", "improved", difference_bpb=-0.1)
    more = {"decision": decision, "replicates": own, "incumbent_replicates": anew, "val_bpb": 1.91}
    write(ledger, old_record(1, first, kept, **more))
    ledger.plumbing.transaction([f"update {ledger.refs.branch} {kept} {first}"])
    other = ledger.write_candidate(kept, TRAINER.replace("4", "7"), "Deeper still")
    decision = old_decision("discard", "within_noise", difference_bpb=0.004)
    own = [old_replicate(7, 1.915, outdated=True, precedes_change=True)]
    write(ledger, old_record(2, kept, other, decision=decision, replicates=own, val_bpb=1.915))
    return made


IDEA = Proposal(
    title="Deepest", proposer="llm", edits=(Edit(search="DEPTH = 6", replace="DEPTH = 9"),)
)


def test_its_records_are_read_as_they_are(session: Any) -> None:
    records = session.ledger.records()
    assert [record.val_bpb for record in records] == [2.01, 1.91, 1.915]
    assert [record.reason for record in records] == [
        Reason.BASELINE,
        Reason.IMPROVED,
        Reason.WITHIN_NOISE,
    ]
    standing = standing_record(records)
    assert standing is not None
    assert standing.number == 1
    assert all(record.decision.pairs == () for record in records)
    assert expected_false_keeps(records) == 0, "none says how likely it is"
    assert study_summary(session.ledger).trials == 3
    # Nothing of it is taken for a pair: how noisy they are is the preset's to say.
    settings = session.settings
    assert study_noise_bpb(settings, records) == settings.sizes.pair_noise_bpb


def test_it_goes_on_with_its_settings_and_says_that_the_rule_is_another(session: Any) -> None:
    records = session.ledger.records()
    settings = continue_settings(session.settings, begun_with(records, ()))
    assert (settings.seed, settings.sizes.budget_seconds) == (OLD_SEED, 20.0)
    assert recorded_settings(records[0].settings).keep_probability == settings.keep_probability
    heard: list[events.Event] = []
    with events.listening(heard.append):
        say_new_rule(records)
    assert "were judged by another rule, before pairs of one seed" in str(heard)


def test_its_next_trial_begins_with_pairs_of_its_own(session: Any) -> None:
    session.lanes = 2
    mark = apply_proposal(session, begin_trial(session, 3, IDEA), IDEA)
    trainings = next_round(session, mark)
    seeds = study_seeds(session.settings)
    # None of the incumbent's old trainings is its twin: they had other seeds, and no place.
    assert [(each.whose, each.seed) for each in trainings] == [
        ("incumbent", seeds[0]),
        ("", seeds[0]),
    ]
    scores = {"incumbent": 1.95, "": 1.80}
    measured = [(each, trained(0, scores[each.whose])) for each in trainings]
    mark = add_replicates(session, mark, measured)
    assert next_round(session, mark) == ()
    record = record_trial(session, mark, decide_trial(session, mark), {})
    assert (record.verdict, record.reason) == (Verdict.KEEP, Reason.IMPROVED)
    # Set on what its incumbent scored by the old rule, so the numbers go on from there.
    assert record.val_bpb == pytest.approx(1.91 - 0.15)
    records = session.ledger.records()
    assert level_bpb(records, record.commit, -0.01) == pytest.approx(1.75)
    heard: list[events.Event] = []
    with events.listening(heard.append):
        say_new_rule(records)
    assert heard == [], "it was said once"


def test_a_trial_that_was_under_way_keeps_its_idea_and_is_trained_in_pairs(session: Any) -> None:
    ledger = session.ledger
    parent = ledger.incumbent()
    commit = ledger.write_candidate(parent, TRAINER.replace("4", "9"), "Deepest")
    mark = {
        "schema_version": 1,
        "study": STUDY,
        "number": 3,
        "parent": parent,
        "commit": commit,
        "proposal": IDEA.model_dump(mode="json"),
        "replicates": [old_replicate(8, 1.7)],
        "incumbent_replicates": [old_replicate(9, 1.9, turn=1, contended=True)],
        "attempts": 1,
        "session": "last night",
        "settings": {},
        "started_at": MOMENT,
    }
    write(ledger, mark, "inflight")
    begun = begin_trial(session, 3)
    assert (begun.commit, begun.proposal, len(begun.replicates)) == (commit, IDEA, 1)
    session.lanes = 4
    seeds = study_seeds(session.settings)
    assert [(each.whose, each.seed) for each in next_round(session, begun)] == [
        ("incumbent", seeds[0]),
        ("", seeds[0]),
        ("incumbent", seeds[1]),
        ("", seeds[1]),
    ]


def test_what_is_written_has_none_of_the_fields_that_are_gone(session: Any) -> None:
    gone = (
        "slowest_quarter",
        "contended",
        "outdated",
        "precedes_change",
        "turn",
        "evidence_needed",
    )
    for record in session.ledger.records():
        text = record.model_dump_json()
        assert not [name for name in gone if f'"{name}"' in text]
