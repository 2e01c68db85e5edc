"""Whole consolidations of real repositories, with trainings that take no time."""

from pathlib import Path
from typing import Any

import pytest

from nightlab import events
from nightlab.errors import LedgerError, UsageError
from nightlab.judging.consolidating import MOST_PAIRS, Outcome
from nightlab.ledger import ConsolidationRecord, consolidations, holdout_uses
from nightlab.study import consolidation
from nightlab.study.consolidation import (
    add_trained,
    begin_consolidation,
    finish_consolidation,
    latest_consolidation,
    next_round,
    offer,
)
from nightlab.study.consolidation_codes import (
    INCUMBENT,
    TOGETHER,
    check_consolidatable,
    kept_changes,
    left_out,
    pairs,
    source_of,
    without,
)
from nightlab.tracking.consolidations import describe_consolidation
from tests.conftest import git
from tests.consolidation_samples import (
    DEEPER,
    STUDY,
    TRAINER,
    WIDER,
    failed,
    keep,
    run,
    studied,
    trained,
)

BRANCH = f"nightlab/{STUDY}-consolidated"


def whole(session: Any, most_pairs: int = MOST_PAIRS) -> ConsolidationRecord:
    """A consolidation from its beginning to its end."""
    record = run(session, begin_consolidation(session, most_pairs))
    record = finish_consolidation(session, record)
    assert offer(session.ledger, record) is None
    return record


def outcomes(record: ConsolidationRecord) -> list[Outcome | None]:
    return [each.outcome for each in record.changes]


@pytest.mark.parametrize("lanes", [1, 2, 4])
def test_a_passenger_is_found_a_real_change_stays_and_the_rest_is_offered(
    tmp_path: Path, lanes: int
) -> None:
    session = studied(tmp_path / "clone", DEEPER, WIDER, lanes=lanes)
    ledger, stands = session.ledger, session.ledger.incumbent()
    heard: list[str] = []
    with events.listening(lambda event: heard.append(getattr(event, "text", ""))):
        record = whole(session)
    assert outcomes(record) == [Outcome.STAYS, Outcome.PASSENGER]
    deeper, wider = record.changes
    assert deeper.difference_bpb == pytest.approx(-0.03, abs=0.003)
    assert deeper.interval_bpb[0] < -0.02 < deeper.interval_bpb[1]
    assert deeper.probability_helps > 0.85
    assert wider.probability_helps < 0.6
    assert [each.sentence for each in record.changes] == [text for text in heard if text]

    assert ledger.incumbent() == stands, "the study's branch is not moved"
    offered = ledger.plumbing.resolve(f"refs/heads/{BRANCH}")
    assert offered == record.consolidated_commit
    assert ledger.source(offered) == TRAINER.replace(*DEEPER)
    assert ledger.plumbing.line("rev-parse", f"{offered}^") == stands
    message = ledger.plumbing.line("log", "-1", "--format=%B", offered)
    assert message.startswith(f"Take out what trial 2 changed: passengers of study {STUDY}")
    assert wider.sentence in message
    assert f"`git merge {BRANCH}` adopts it" in record.sentence
    # The holdout split chooses nothing.
    assert holdout_uses(ledger) == ()
    git(tmp_path / "clone", "fsck", "--strict")


def test_the_incumbents_trainings_are_made_once_and_shared(tmp_path: Path) -> None:
    session = studied(tmp_path / "clone", DEEPER, WIDER, lanes=2)
    record = begin_consolidation(session, MOST_PAIRS)
    first = next_round(session, record)
    assert [each.code for each in first] == [INCUMBENT, "without trial 1"]
    assert len({each.seed for each in first}) == 1
    record = add_trained(session, record, [(each, trained(each)) for each in first])
    second = next_round(session, record)
    # The pair that lacks only one training, and one of the pair after it.
    assert [each.code for each in second] == ["without trial 2", INCUMBENT]
    record = whole(session)
    seeds = [each.seed for each in record.incumbent_replicates]
    assert len(seeds) == len(set(seeds))
    fresh = {each.seed for each in record.together.replicates}
    alone = {each.seed for change in record.changes for each in change.replicates}
    assert fresh | alone == set(seeds)
    assert not fresh & alone, "what chose them does not judge them"


def test_every_code_is_what_it_is_called(tmp_path: Path) -> None:
    session = studied(tmp_path / "clone", DEEPER, WIDER, ("RATE = 0.1", "RATE = 0.3"))
    record = run(session, begin_consolidation(session, MOST_PAIRS))
    _, wider, faster = record.changes
    today = session.ledger.source(session.ledger.incumbent())
    assert source_of(session.ledger, record, INCUMBENT) == today
    alone = source_of(session.ledger, record, without(wider))
    assert alone == today.replace("WIDTH = 96", "WIDTH = 64")
    assert record.together.trials == (faster.trial, wider.trial)
    assert source_of(session.ledger, record, TOGETHER) == TRAINER.replace(*DEEPER)


def test_a_kill_after_any_write_costs_nothing_that_was_written(tmp_path: Path) -> None:
    """Each time the record is written the session ends; the next one goes on from git."""
    (tmp_path / "whole").mkdir()
    unbroken = whole(studied(tmp_path / "whole" / "clone", DEEPER, WIDER, lanes=2))
    session = studied(tmp_path / "clone", DEEPER, WIDER, lanes=2)
    seen: list[ConsolidationRecord] = []
    for _ in range(30):
        record = begin_consolidation(session, MOST_PAIRS)
        assert record == (seen[-1] if seen else record), "read back as it was written"
        due = next_round(session, record)
        if not due:
            break
        seen.append(add_trained(session, record, [(each, trained(each)) for each in due]))
        (written,) = consolidations(session.ledger)
        seen[-1] = written
    finished = finish_consolidation(session, record)
    assert outcomes(finished) == outcomes(unbroken)
    assert finished.sentence == unbroken.sentence
    assert len(finished.incumbent_replicates) == len(unbroken.incumbent_replicates)
    # Killed before the branch stood: who asks again is given it.
    known = latest_consolidation(session.ledger)
    assert known == consolidations(session.ledger)[-1]
    assert known.finished_at is not None
    assert session.ledger.plumbing.resolve(f"refs/heads/{BRANCH}") is None
    assert offer(session.ledger, known) is None
    assert session.ledger.plumbing.resolve(f"refs/heads/{BRANCH}") == known.consolidated_commit


@pytest.mark.parametrize("write", range(1, 8))
def test_a_kill_before_a_write_costs_that_round(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, write: int
) -> None:
    session = studied(tmp_path / "clone", DEEPER, WIDER, lanes=2)
    written = consolidation.write_consolidation
    calls = 0

    def killed(ledger: Any, record: ConsolidationRecord) -> None:
        nonlocal calls
        calls += 1
        if calls == write:
            raise KeyboardInterrupt
        written(ledger, record)

    monkeypatch.setattr(consolidation, "write_consolidation", killed)
    interrupted = False
    try:
        whole(session)
    except KeyboardInterrupt:
        interrupted = True
    assert interrupted == (calls >= write)
    record = whole(session)
    assert outcomes(record) == [Outcome.STAYS, Outcome.PASSENGER]
    seeds = [each.seed for each in record.incumbent_replicates]
    assert len(seeds) == len(set(seeds))


def test_what_was_settled_stays_so_though_the_study_went_on(tmp_path: Path) -> None:
    session = studied(tmp_path / "clone", DEEPER, WIDER)
    record = begin_consolidation(session, MOST_PAIRS)
    while record.together is None:
        due = next_round(session, record)
        record = add_trained(session, record, [(each, trained(each)) for each in due])
    # From now on, of everything that is trained, the code is far worse.
    while due := next_round(session, record):
        measured = [(e, trained(e, 3.0 if e.code == TOGETHER else 2.0)) for e in due]
        record = add_trained(session, record, measured)
    record = finish_consolidation(session, record)
    assert outcomes(record) == [Outcome.STAYS, Outcome.PASSENGER]
    assert record.together.holds is False
    assert record.consolidated_commit is None
    assert "Nothing is offered" in record.sentence
    assert offer(session.ledger, record) is None
    assert session.ledger.plumbing.resolve(f"refs/heads/{BRANCH}") is None


def test_a_change_that_others_are_built_on_is_said_to_be_stuck(tmp_path: Path) -> None:
    session = studied(tmp_path / "clone", DEEPER, ("DEPTH = 6", "DEPTH = 6 + 0"))
    record = begin_consolidation(session, MOST_PAIRS)
    assert outcomes(record) == [Outcome.ENTANGLED, None]
    assert "a later change is built on the same lines" in record.changes[0].sentence
    assert {each.code for each in next_round(session, record)} == {INCUMBENT}


def test_what_does_not_parse_without_a_change_is_not_trained(tmp_path: Path) -> None:
    before = "DEPTH = 4\nWIDTH = 64\nRATE = 0.1\n"
    quoted = before.replace("4\n", '"""\n', 1).replace("0.1", '"""')
    session = studied(tmp_path / "clone", (before, quoted), ("WIDTH = 64", "WIDTH = :-)"))
    record = begin_consolidation(session, MOST_PAIRS)
    assert outcomes(record) == [Outcome.ENTANGLED, None]
    assert "stays: trainer/train.py would not parse" in record.changes[0].sentence


def test_without_a_needed_function_the_contract_is_said_to_break(tmp_path: Path) -> None:
    session = studied(tmp_path / "clone")
    ledger = session.ledger
    moved = TRAINER.replace("def build_model()", "def build()")
    first = ledger.incumbent()
    commit = ledger.write_candidate(first, moved, "As if it had been kept so")
    ledger.plumbing.transaction([f"update {ledger.refs.branch} {commit} {first}"])
    keep(ledger, 1, "def build()", "def build_model()")
    change = kept_changes(ledger.records())[-1]
    assert change.number == 1
    found = left_out(ledger, change, ledger.source(ledger.incumbent()))
    assert found.outcome is Outcome.ENTANGLED
    assert "must define the function build_model" in found.sentence


def test_a_change_that_was_taken_back_is_in_the_code_no_more(tmp_path: Path) -> None:
    session = studied(tmp_path / "clone", WIDER, DEEPER, (WIDER[1], WIDER[0]))
    record = begin_consolidation(session, MOST_PAIRS)
    # The one that took it back could be left out: the code is as wide then as it was.
    assert outcomes(record) == [Outcome.UNDONE, None, None]
    assert "took it back" in record.changes[0].sentence


def test_a_code_that_does_not_train_without_a_change_needs_it(tmp_path: Path) -> None:
    session = studied(tmp_path / "clone", DEEPER, WIDER)
    record = begin_consolidation(session, MOST_PAIRS)
    while due := next_round(session, record):
        crashes = "without trial 2"
        measured = [(e, failed(e) if e.code == crashes else trained(e)) for e in due]
        record = add_trained(session, record, measured)
    record = finish_consolidation(session, record)
    assert outcomes(record) == [Outcome.STAYS, Outcome.NEEDED]
    assert "without it the code does not train: It raised." in record.changes[1].sentence
    assert "1 is needed to train" in record.sentence
    assert record.consolidated_commit is None


def test_one_failure_alone_is_an_accident(tmp_path: Path) -> None:
    session = studied(tmp_path / "clone", WIDER)
    record = begin_consolidation(session, MOST_PAIRS)
    count = 0
    while due := next_round(session, record):
        measured = []
        for each in due:
            count += 1
            measured.append((each, failed(each) if count in (2, 5) else trained(each)))
        record = add_trained(session, record, measured)
    assert outcomes(record) == [Outcome.PASSENGER]
    seeds = [pair.seed for pair in pairs(record, "without trial 1")]
    assert len(seeds) == len(set(seeds)) >= 2


def test_an_incumbent_that_does_not_train_any_more_ends_it(tmp_path: Path) -> None:
    session = studied(tmp_path / "clone", DEEPER)
    record = begin_consolidation(session, MOST_PAIRS)
    while due := next_round(session, record):
        record = add_trained(session, record, [(each, failed(each)) for each in due])
    record = finish_consolidation(session, record)
    assert record.sentence.startswith("NOT consolidated: the incumbent failed 2 fresh trainings")
    assert record.consolidated_commit is None


def test_passengers_that_only_together_are_missed_are_not_offered(tmp_path: Path) -> None:
    session = studied(tmp_path / "clone", WIDER, ("RATE = 0.1", "RATE = 0.3"))
    record = begin_consolidation(session, MOST_PAIRS)
    while due := next_round(session, record):
        worse = {TOGETHER: 2.05}
        measured = [(each, trained(each, worse.get(each.code, 2.0))) for each in due]
        record = add_trained(session, record, measured)
    record = finish_consolidation(session, record)
    assert outcomes(record) == [Outcome.PASSENGER] * 2
    assert "Without all 2 the code is worse by 0.0500 bpb" in record.sentence
    assert "Nothing is offered" in record.sentence


def test_a_finished_one_is_known_until_something_else_is_kept(tmp_path: Path) -> None:
    session = studied(tmp_path / "clone", DEEPER, WIDER)
    first = whole(session)
    assert latest_consolidation(session.ledger) == consolidations(session.ledger)[0]
    again = begin_consolidation(session, MOST_PAIRS)
    assert again.number == 1
    fresh = {each.seed for each in next_round(session, again)}
    assert not fresh & {each.seed for each in first.incumbent_replicates}
    second = whole(session)
    assert second.number == 1
    assert session.ledger.plumbing.resolve(f"refs/heads/{BRANCH}") == second.consolidated_commit
    keep(session.ledger, 3, "RATE = 0.1", "RATE = 0.3")
    assert latest_consolidation(session.ledger) is None


def test_another_places_trainings_make_no_pairs_here(tmp_path: Path) -> None:
    session = studied(tmp_path / "clone", DEEPER)
    record = begin_consolidation(session, MOST_PAIRS)
    due = next_round(session, record)
    add_trained(session, record, [(each, trained(each)) for each in due])
    session.place = "another machine"
    other = begin_consolidation(session, MOST_PAIRS)
    assert (other.number, other.incumbent_replicates) == (1, ())


def test_more_pairs_can_be_asked_for_while_it_is_under_way(tmp_path: Path) -> None:
    session = studied(tmp_path / "clone", DEEPER)
    assert begin_consolidation(session, 3).most_pairs == 3
    assert begin_consolidation(session, 8).most_pairs == 8
    assert begin_consolidation(session, 2).most_pairs == 8
    assert [each.most_pairs for each in consolidations(session.ledger)] == [8]


def test_few_pairs_for_each_change_are_no_reason_to_offer_nothing(tmp_path: Path) -> None:
    session = studied(tmp_path / "clone", WIDER)
    record = begin_consolidation(session, 2)
    while due := next_round(session, record):
        measured = [(e, trained(e, 2.002 if e.code == TOGETHER else 2.0)) for e in due]
        record = add_trained(session, record, measured)
    assert outcomes(record) == [Outcome.PASSENGER]
    assert len(pairs(record, "without trial 1")) == 2
    assert len(pairs(record, TOGETHER)) > 2


def test_where_pairs_do_not_tell_the_change_stays(tmp_path: Path) -> None:
    session = studied(tmp_path / "clone", DEEPER)
    record = begin_consolidation(session, MOST_PAIRS)
    while due := next_round(session, record):
        swing = len(record.incumbent_replicates) % 2
        by_code = {INCUMBENT: 2.0, "without trial 1": 2.009 if swing else 1.997}
        measured = [(each, trained(each, by_code[each.code])) for each in due]
        record = add_trained(session, record, measured)
    assert outcomes(record) == [Outcome.UNDECIDED]
    assert len(pairs(record, "without trial 1")) == MOST_PAIRS


def test_a_study_without_keeps_is_told_what_to_do(tmp_path: Path) -> None:
    session = studied(tmp_path / "clone")
    with pytest.raises(UsageError, match=r"kept no change since its baseline.*nightlab research"):
        begin_consolidation(session, MOST_PAIRS)
    with pytest.raises(UsageError, match="no trials"):
        check_consolidatable(STUDY, ())


def test_only_the_keeps_that_lead_to_the_incumbent_are_looked_at(tmp_path: Path) -> None:
    session = studied(tmp_path / "clone", DEEPER, WIDER)
    records = session.ledger.records()
    assert [each.number for each in kept_changes(records)] == [1, 2]
    assert [each.number for each in kept_changes(records[:2])] == [1]


def test_mlflow_shows_what_each_change_brings(tmp_path: Path) -> None:
    record = whole(studied(tmp_path / "clone", DEEPER, WIDER))
    content = describe_consolidation(record)
    assert content.metrics["consolidation/passengers"] == 1
    assert content.metrics["consolidation/trial_1_brings_bpb"] == pytest.approx(0.03, abs=0.003)
    assert content.tags["nightlab.kind"] == "consolidation"
    assert record.changes[0].sentence in content.tags["mlflow.note.content"]


def test_a_ledger_of_another_study_is_refused(tmp_path: Path) -> None:
    session = studied(tmp_path / "clone", DEEPER)
    record = begin_consolidation(session, MOST_PAIRS)
    with pytest.raises(LedgerError, match="elsewhere"):
        consolidation.write_consolidation(
            session.ledger, record.model_copy(update={"study": "elsewhere"})
        )
