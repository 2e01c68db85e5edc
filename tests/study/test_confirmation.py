"""What a confirmation concludes, and what it trains next: pure functions of its record."""

from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from nightlab.errors import EvaluationError, UsageError
from nightlab.judging.scores import Noise
from nightlab.ledger import ConfirmationRecord, confirmations, write_confirmation
from nightlab.records import (
    Edit,
    Evaluation,
    Proposal,
    Reason,
    Replicate,
    TrainingResult,
    Verdict,
)
from nightlab.report.page import confirmation_rows
from nightlab.report.study import Study
from nightlab.study.confirmation import (
    Code,
    begin_confirmation,
    check_confirmable,
    concluded,
    fresh_seed,
    next_code,
    pairs,
)
from nightlab.tracking.confirmations import describe_confirmation
from tests.samples import sample_record
from tests.session_samples import finish_trial, keep_edit, sample_session


def trained(*scores: float | None, first_seed: int = 0) -> tuple[Replicate, ...]:
    return tuple(
        Replicate(
            seed=seed,
            training=TrainingResult(
                failure=None if score is not None else Reason.EXCEPTION,
                message="" if score is not None else "It raised.",
            ),
            evaluation=None if score is None else Evaluation(split="holdout", val_bpb=score),
        )
        for seed, score in enumerate(scores, first_seed)
    )


def confirmation(
    baseline: tuple[float | None, ...] = (), incumbent: tuple[float | None, ...] = (), wanted=3
) -> ConfirmationRecord:
    return ConfirmationRecord(
        study="night",
        number=0,
        baseline_commit="b" * 40,
        incumbent_commit="i" * 40,
        incumbent_trial=4,
        wanted=wanted,
        baseline_replicates=trained(*baseline),
        incumbent_replicates=trained(*incumbent),
        claimed_gain_bpb=0.05,
        started_at=datetime(2026, 1, 2, tzinfo=UTC),
    )


def test_both_codes_are_trained_in_turn_until_both_have_enough() -> None:
    assert next_code(confirmation()) is Code.BASELINE
    assert next_code(confirmation((2.0,))) is Code.INCUMBENT
    assert next_code(confirmation((2.0,), (1.9,))) is Code.BASELINE
    assert next_code(confirmation((2.0, 2.0, 2.0), (1.9, 1.9))) is Code.INCUMBENT
    assert next_code(confirmation((2.0, 2.0, 2.0), (1.9, 1.9, 1.9))) is None
    # One that an earlier version left had trained one of the codes more often.
    assert next_code(confirmation((2.0,) * 4, (1.9,) * 3)) is Code.INCUMBENT


def test_a_training_under_contention_takes_its_pair_with_it_and_another_pair_follows() -> None:
    record = confirmation((2.0, 2.5), (1.9,), wanted=2)
    slowed = record.baseline_replicates[1].model_copy(update={"contended": True})
    record = record.model_copy(
        update={"baseline_replicates": (record.baseline_replicates[0], slowed)}
    )
    # The incumbent all the same: the two are trained in turn, whatever the machine does.
    assert next_code(record) is Code.INCUMBENT
    record = record.model_copy(update={"incumbent_replicates": trained(1.9, 1.3)})
    assert [(each.val_bpb, other.val_bpb) for each, other in pairs(record)] == [(2.0, 1.9)]
    assert next_code(record) is Code.BASELINE
    whole = {
        "baseline_replicates": (*record.baseline_replicates, *trained(2.02, first_seed=2)),
        "incumbent_replicates": (*record.incumbent_replicates, *trained(1.88, first_seed=2)),
    }
    record = record.model_copy(update=whole)
    assert next_code(record) is None
    done = concluded(record, None)
    assert done.gain_bpb == pytest.approx(0.12), "of the two whole pairs"
    # What is shown beside the gain adds up to it.
    page, shown = render_pairs(done), describe_confirmation(done).metrics
    assert page == ("2.0100", "1.8900")
    means = (shown["baseline_holdout_bpb"], shown["incumbent_holdout_bpb"])
    assert means == pytest.approx((2.01, 1.89))


def test_a_code_that_fails_is_tried_once_more_and_then_nothing_is_confirmed() -> None:
    assert next_code(confirmation((2.0,), (None,))) is Code.BASELINE
    now_and_then = confirmation((2.0,) * 4, (None, 1.9, 1.9, None))
    assert next_code(now_and_then) is Code.BASELINE, "never twice in a row"
    broken = confirmation((2.0, 2.0), (None, None))
    assert next_code(broken) is None
    found = concluded(broken, None)
    assert found.holds is False
    assert "It raised." in found.sentence
    assert found.gain_bpb is None


def test_a_gain_beyond_the_noise_holds_and_one_within_it_does_not() -> None:
    clear = concluded(confirmation((2.00, 2.01, 1.99), (1.95, 1.96, 1.94)), None)
    assert clear.holds
    assert clear.gain_bpb == pytest.approx(0.05)
    assert clear.interval_bpb is not None
    # By hand: pooled standard deviation 0.01 with 4 degrees of freedom, t 2.776.
    half = 2.776 * 0.01 * (2 / 3) ** 0.5
    assert clear.interval_bpb == pytest.approx((0.05 - half, 0.05 + half), abs=1e-4)
    assert clear.sentence.startswith("Confirmed on holdout")
    unclear = concluded(confirmation((2.00, 2.03, 1.97), (1.99, 2.02, 1.96)), None)
    assert unclear.holds is False
    assert unclear.sentence.startswith("NOT confirmed")


def test_the_studys_noise_counts_and_one_training_of_each_needs_it() -> None:
    record = confirmation((2.0,), (1.9,), wanted=1)
    with pytest.raises(EvaluationError, match="at least two"):
        concluded(record, None)
    assert concluded(record, Noise(sigma_bpb=0.01, degrees_of_freedom=20)).holds
    assert not concluded(record, Noise(sigma_bpb=0.1, degrees_of_freedom=20)).holds


def test_a_claim_above_the_interval_is_said() -> None:
    record = confirmation((2.00, 2.001, 1.999), (1.98, 1.981, 1.979))
    found = concluded(record, None)
    assert found.holds
    assert "which is above the interval" in found.sentence


def test_both_codes_get_the_same_fresh_seeds_whoever_goes_on() -> None:
    record = confirmation((2.0,), (1.9,)).model_copy(update={"settings": {"seed": 7}})
    seed = fresh_seed(record, Code.BASELINE)
    assert seed == fresh_seed(record, Code.INCUMBENT)
    assert seed != fresh_seed(confirmation((2.0,), (1.9,)), Code.BASELINE)
    assert seed != fresh_seed(record.model_copy(update={"number": 1}), Code.BASELINE)
    further = record.model_copy(update={"baseline_replicates": trained(2.0, 2.0)})
    assert fresh_seed(further, Code.BASELINE) != seed


def test_only_a_gain_can_be_confirmed() -> None:
    baseline = sample_record(0, scores=(2.0,), verdict=Verdict.KEEP, reason=Reason.BASELINE)
    with pytest.raises(UsageError, match="nothing as better than its baseline"):
        check_confirmable("night", (baseline,))
    better = sample_record(1, scores=(1.9,), verdict=Verdict.KEEP, reason=Reason.IMPROVED)
    assert check_confirmable("night", (baseline, better)) == (baseline, better)


def test_shorter_code_alone_claims_no_gain() -> None:
    baseline = sample_record(0, scores=(2.0,), verdict=Verdict.KEEP, reason=Reason.BASELINE)
    shorter = sample_record(1, scores=(2.001,), verdict=Verdict.KEEP, reason=Reason.SIMPLER)
    with pytest.raises(UsageError, match="nothing as better than its baseline"):
        check_confirmable("night", (baseline, shorter))


def test_seeds_too_few_to_tell_are_said_to_be() -> None:
    unclear = concluded(confirmation((2.00, 2.06, 1.94), (1.96, 2.01, 1.91)), None)
    assert "neither bear out nor rule out: `nightlab confirm night` adds more" in unclear.sentence
    negative = confirmation((2.00, 2.01, 1.99), (1.99, 2.00, 1.98))
    negative = concluded(negative.model_copy(update={"claimed_gain_bpb": -0.5}), None)
    assert "rule out" not in negative.sentence, "the interval does rule it out"
    refuted = concluded(confirmation((2.00, 2.01, 1.99), (2.05, 2.06, 2.04)), None)
    assert refuted.holds is False
    assert "rule out" not in refuted.sentence


def test_one_that_is_under_way_can_be_made_longer_and_not_shorter(tmp_path: Path) -> None:
    session = studied(tmp_path)
    assert begin_confirmation(session, 2).wanted == 2
    assert begin_confirmation(session, 5).wanted == 5
    assert begin_confirmation(session, 3).wanted == 5
    assert [each.wanted for each in confirmations(session.ledger)] == [5]


def test_one_that_follows_another_rests_on_the_trainings_of_both(tmp_path: Path) -> None:
    session = studied(tmp_path)
    first = begin_confirmation(session, 2)
    trainings = {
        "baseline_replicates": trained(2.00, 2.02),
        "incumbent_replicates": trained(2.01, 1.99),
    }
    first = concluded(first.model_copy(update=trainings), None)
    assert not first.holds
    first = first.model_copy(update={"finished_at": first.started_at})
    write_confirmation(session.ledger, first)

    second = begin_confirmation(session, 3)
    assert (second.number, second.wanted, second.carried) == (1, 5, 2)
    assert len(pairs(second)) == 2
    assert begin_confirmation(session, 3).wanted == 5
    assert fresh_seed(second, Code.BASELINE) not in range(2)
    further = {
        "baseline_replicates": second.baseline_replicates + trained(2.1, 2.1, 2.1, first_seed=7),
        "incumbent_replicates": second.incumbent_replicates + trained(1.9, 1.9, 1.9, first_seed=7),
    }
    found = concluded(second.model_copy(update=further), None)
    assert found.gain_bpb == pytest.approx(0.6 / 5 + 0.02 / 5)
    assert "5 fresh seeds against 5, 2 of them from an earlier confirmation" in found.sentence


def test_a_training_that_failed_is_not_held_against_the_next_confirmation(tmp_path: Path) -> None:
    session = studied(tmp_path)
    scores = {
        "baseline_replicates": trained(2.2, 2.0, 2.1),
        "incumbent_replicates": trained(None, 2.0, 2.1),
    }
    first = concluded(begin_confirmation(session, 2).model_copy(update=scores), None)
    write_confirmation(session.ledger, first.model_copy(update={"finished_at": first.started_at}))
    second = begin_confirmation(session, 2)
    assert second.carried == 2
    assert [each.val_bpb for each in second.incumbent_replicates] == [2.0, 2.1]
    assert [each.val_bpb for each in second.baseline_replicates] == [2.0, 2.1]
    again = second.incumbent_replicates + trained(None, first_seed=7)
    assert next_code(second.model_copy(update={"incumbent_replicates": again})) is Code.BASELINE


def test_what_was_paired_before_a_code_failed_for_good_is_gone_on_with(tmp_path: Path) -> None:
    session = studied(tmp_path)
    scores = {
        "baseline_replicates": trained(2.0, 2.1, 2.2, 2.3),
        "incumbent_replicates": trained(1.9, 2.0, None, None),
    }
    first = concluded(begin_confirmation(session, 4).model_copy(update=scores), None)
    assert "failed 2 fresh trainings in a row" in first.sentence
    write_confirmation(session.ledger, first.model_copy(update={"finished_at": first.started_at}))
    second = begin_confirmation(session, 2)
    assert (second.carried, second.wanted) == (2, 4)
    assert [each.val_bpb for each in second.incumbent_replicates] == [1.9, 2.0]


def test_trainings_of_another_engine_or_of_a_code_that_failed_are_not_gone_on_with(
    tmp_path: Path,
) -> None:
    session = studied(tmp_path)
    session.engine_version = "0"
    assert begin_confirmation(session, 9).number == 0
    session.engine_version = "1"
    assert (begin_confirmation(session, 2).number, begin_confirmation(session, 2).wanted) == (1, 2)
    scores = {"baseline_replicates": trained(2.0, 2.1), "incumbent_replicates": trained(2.0, 2.1)}
    first = concluded(begin_confirmation(session, 2).model_copy(update=scores), None)
    first = first.model_copy(update={"finished_at": first.started_at})
    write_confirmation(session.ledger, first)
    session.engine_version = "2"
    assert begin_confirmation(session, 3).carried == 0

    second = confirmations(session.ledger)[-1]
    broken = second.model_copy(update={"incumbent_replicates": trained(None, None)})
    broken = concluded(broken, None).model_copy(update={"finished_at": first.started_at})
    write_confirmation(session.ledger, broken)
    assert begin_confirmation(session, 3).incumbent_replicates == ()


def render_pairs(record: ConfirmationRecord) -> tuple[str, str]:
    """Both codes' scores as the report's page shows them beside the gain."""
    kept = sample_record(4, scores=(1.9,), verdict=Verdict.KEEP, reason=Reason.IMPROVED)
    study = SimpleNamespace(confirmation=record, baseline=kept, incumbent=kept)
    _, (_, baseline, incumbent, _) = confirmation_rows(cast("Study", study))
    return baseline, incumbent


def studied(folder: Path) -> Any:
    """A session whose study kept a trial."""
    session = sample_session(folder / "clone")
    session.engine_version = "1"
    finish_trial(session, Proposal(title="baseline", proposer="baseline"), Verdict.KEEP)
    edits = (Edit(search="DEPTH = 4", replace="DEPTH = 6"),)
    keep_edit(session, 1, Proposal(title="Deeper", proposer="llm", edits=edits))
    return session
