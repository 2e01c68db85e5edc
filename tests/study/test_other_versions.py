"""Studies that another version has worked on: read as they are, and gone on with where it is right.

Their documents are written by hand, with fields, values and numbers that no version has had yet.
"""

import json
from pathlib import Path
from typing import Any

import pytest

from flows.commands import study
from nightlab import events
from nightlab.errors import LedgerError, UsageError
from nightlab.ledger.documents import from_json, to_json
from nightlab.records import InFlight, TrialRecord
from nightlab.report import write_report
from nightlab.report.comparable import check_comparable
from nightlab.report.comparison import read_arm
from nightlab.settings import Places, SessionSettings, recorded_settings, unread_settings
from nightlab.study.conditions import begun_with, continue_settings, require_known_schema
from nightlab.study.session import flat_settings, open_session
from tests.session_samples import STUDY, TRAINER, sample_session
from tests.study.test_old_studies import old_decision, old_record, old_replicate, write

TOMORROW = {"mood": "curious", "plan": {"steps": [1, 2]}}
"""Settings that no version has had yet."""


def tomorrows(document: dict[str, Any], **more: Any) -> dict[str, Any]:
    """The document with fields besides, at every depth."""
    settings = {**document["settings"], **TOMORROW}
    replicates = [
        {**each, "weather": "fair", "training": {**each["training"], "heat": 31.5}}
        for each in document["replicates"]
    ]
    decision = {**document["decision"], "doubt": 0.25}
    added = {"settings": settings, "replicates": replicates, "decision": decision, "omen": [1]}
    return {**document, **added, **more}


def begin(folder: Path, **more: Any) -> Any:
    """A study with a baseline and a keep, both by tomorrow's version."""
    made = sample_session(folder)
    first = made.ledger.incumbent()
    baseline = old_record(
        0,
        first,
        first,
        decision=old_decision("keep", "baseline"),
        replicates=[old_replicate(1, 2.0)],
        val_bpb=2.0,
    )
    write(made.ledger, tomorrows(baseline, **more))
    kept = made.ledger.write_candidate(first, TRAINER.replace("4", "6"), "Deeper")
    better = old_record(
        1,
        first,
        kept,
        decision=old_decision("keep", "improved", difference_bpb=-0.1),
        replicates=[old_replicate(2, 1.9)],
        val_bpb=1.9,
    )
    write(made.ledger, tomorrows(better, **more))
    made.ledger.plumbing.transaction([f"update {made.ledger.refs.branch} {kept} {first}"])
    return made


def test_fields_of_any_depth_are_read_and_written_again(tmp_path: Path) -> None:
    ledger = begin(tmp_path / "clone").ledger
    record = ledger.record(0)
    written = json.loads(to_json(record))
    assert written["omen"] == [1]
    assert written["decision"]["doubt"] == 0.25
    assert written["replicates"][0]["weather"] == "fair"
    assert written["replicates"][0]["training"]["heat"] == 31.5
    assert written["settings"]["plan"] == {"steps": [1, 2]}
    changed = record.model_copy(update={"title": "Another", "settings": {}})
    assert json.loads(to_json(changed))["omen"] == [1], "whatever else is changed of it"


def test_what_a_mark_of_another_version_holds_outlives_a_session_of_this_one() -> None:
    text = (
        '{"study": "night", "number": 1, "parent": "p", "commit": "c", "started_at": '
        '"2026-11-30T01:00:00Z", "soul": "calm", "proposal": {"title": "T", "proposer": "llm", '
        '"edits": [{"search": "a", "replace": "b", "why": "hope"}]}}'
    )
    mark = from_json(InFlight, text.encode(), "a ref")
    again = json.loads(to_json(mark.model_copy(update={"attempts": 2})))
    assert (again["soul"], again["attempts"]) == ("calm", 2)
    assert again["proposal"]["edits"][0]["why"] == "hope"


@pytest.mark.parametrize("schema", [1, 99])
def test_such_a_study_is_shown_reported_compared_and_exported(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    schema: int,
) -> None:
    ledger = begin(tmp_path / "clone", schema_version=schema).ledger
    monkeypatch.chdir(tmp_path / "clone")
    study.show(STUDY)
    study.show(STUDY, 1)
    study.show(STUDY, as_json=True)
    study.studies()
    study.export(STUDY)
    said = capsys.readouterr().out
    assert "1.900000\t\tkeep\tIdea 1" in said
    assert '"omen"' in said
    files = write_report(ledger, tmp_path)
    assert "mood curious" in files.html.read_text(encoding="utf-8")
    other = begin(tmp_path / "other").ledger
    check_comparable([read_arm(ledger), read_arm(other)])


def test_a_newer_schema_is_read_and_not_added_to(tmp_path: Path) -> None:
    ledger = begin(tmp_path / "clone", schema_version=7).ledger
    records = ledger.records()
    sentence = r"newer Nightlab \(schema 7; this one writes 1\), so nothing is added .*update this"
    with pytest.raises(UsageError, match=sentence):
        require_known_schema(STUDY, records)
    mine = [each.model_copy(update={"schema_version": 1}) for each in records]
    require_known_schema(STUDY, mine)
    require_known_schema(STUDY, ())
    places = Places.find(tmp_path / "clone", {"NIGHTLAB_CACHE": str(tmp_path)})
    opening = open_session(SessionSettings(study=STUDY), places, identifier="session")
    with pytest.raises(UsageError, match=sentence), opening:
        pass
    with pytest.raises(UsageError, match="schema 2"):
        require_known_schema(STUDY, [mine[0].model_copy(update={"schema_version": 2}), *mine[1:]])


@pytest.mark.parametrize(
    ("schema", "sentence"),
    [
        (1, "not a readable TrialRecord: number: "),
        (2, r"newer Nightlab \(schema 2; this one writes 1\), and its number is not .*update"),
        ("two", "newer Nightlab .schema two"),
    ],
)
def test_what_cannot_be_read_says_whose_it_is(schema: object, sentence: str) -> None:
    content = json.dumps({"schema_version": schema, "study": STUDY}).encode()
    with pytest.raises(LedgerError, match=sentence):
        from_json(TrialRecord, content, "a ref")


def test_settings_of_another_version_are_kept_and_said_once(tmp_path: Path) -> None:
    ledger = begin(tmp_path / "clone").ledger
    heard: list[events.Event] = []
    with events.listening(heard.append):
        going_on = continue_settings(SessionSettings(study=STUDY), begun_with(ledger.records(), ()))
    assert [each.text for each in heard if isinstance(each, events.Notice)] == [
        f"Study '{STUDY}' was begun by another version of Nightlab, with settings that this one "
        "does not know (mood, plan): the study goes on without them."
    ]
    assert going_on.seed == 11
    assert {name: flat_settings(going_on)[name] for name in TOMORROW} == TOMORROW
    assert recorded_settings(flat_settings(going_on)) == going_on, "and so on, ever after"


def test_what_a_person_misspells_is_still_refused() -> None:
    with pytest.raises(ValueError, match="mood"):
        SessionSettings.model_validate({"study": STUDY, **TOMORROW})


def test_settings_of_an_earlier_version_lack_what_came_later() -> None:
    early = {"study": STUDY, "preset": "laptop", "trials": 4, "seed": 3}
    settings = recorded_settings(early)
    assert settings == SessionSettings(study=STUDY, preset="laptop", trials=4, seed=3)
    assert unread_settings(early) == ()


@pytest.mark.parametrize(
    "value",
    [
        {"proposer": "oracle"},
        {"require_rung": "0"},
        {"keep_probability": 1.5},
        {"confirm_replicates": None},
        {"command_timeout_seconds": "long", "prune": "perhaps"},
    ],
)
def test_a_value_that_is_not_accepted_any_more_is_left_at_its_default(
    value: dict[str, object],
) -> None:
    values = {"study": STUDY, "seed": 5, **value}
    assert recorded_settings(values) == SessionSettings(study=STUDY, seed=5)
    assert unread_settings(values) == tuple(value)


@pytest.mark.parametrize(
    ("value", "named"),
    [
        ({"preset": "b200"}, "preset 'b200'"),
        ({"budget_seconds": -1}, "budget_seconds -1"),
        ({"budget_tokens": 0, "proposer": "oracle"}, "budget_tokens 0"),
        ({"seed": -1}, "seed -1"),
        ({"study": "a/b", "seed": "x", "corpus": 7}, "study 'a/b', seed 'x', corpus 7"),
    ],
)
def test_a_measure_that_is_not_known_is_refused(value: dict[str, object], named: str) -> None:
    with pytest.raises(UsageError, match=rf"does not know how it was measured \({named}\): update"):
        recorded_settings({"study": STUDY, **value})
