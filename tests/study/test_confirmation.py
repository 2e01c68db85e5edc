"""What a confirmation trains next, what it concludes, and when a session has one due."""

import math
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from nightlab.errors import UsageError
from nightlab.judging.case import noise_of
from nightlab.judging.sequential_test import sequential_test
from nightlab.ledger import ConfirmationRecord, confirmations, holdout_uses, write_confirmation
from nightlab.records import (
    Edit,
    Evaluation,
    Pair,
    Proposal,
    Reason,
    Replicate,
    TrainingResult,
    TrialRecord,
    Verdict,
    utc_now,
)
from nightlab.settings import SessionSettings
from nightlab.study import confirmation as confirming
from nightlab.study.confirmation import (
    Code,
    add_confirmed,
    begin_confirmation,
    check_confirmable,
    concluded,
    confirm_once,
    confirmation_due,
    confirmation_of,
    fresh_seed,
    next_round,
    pairs,
    seconds_to_confirm,
    with_enough,
)
from nightlab.study.limits import Limits
from nightlab.study.session import study_seeds
from nightlab.tracking.confirmations import describe_confirmation
from tests.samples import sample_record
from tests.session_samples import PLACE, finish_trial, keep_edit, sample_session
from tests.study.trained import finished

SETTINGS = SessionSettings(study="night")
B, I = Code.BASELINE, Code.INCUMBENT  # noqa: E741
Scores = tuple[float | None, ...]


def confirmation(
    baseline: Scores = (), incumbent: Scores = (), wanted: int = 3, **more: Any
) -> ConfirmationRecord:
    """One under way, whose codes have these scores with its first seeds."""
    record = ConfirmationRecord(
        study="night",
        number=0,
        baseline_commit="b" * 40,
        incumbent_commit="i" * 40,
        incumbent_trial=4,
        wanted=wanted,
        claimed_gain_bpb=0.05,
        started_at=datetime(2026, 1, 2, tzinfo=UTC),
    )
    record = record.model_copy(update=more)
    return with_scores(record, baseline, incumbent)


def with_scores(
    record: ConfirmationRecord, baseline: Scores, incumbent: Scores, place: str = PLACE
) -> ConfirmationRecord:
    """The record with further trainings of both codes, in the order of its seeds."""
    begun = record.carried
    more = {
        "baseline_replicates": trained(record, baseline, place),
        "incumbent_replicates": trained(record, incumbent, place),
    }
    return record.model_copy(
        update={name: getattr(record, name)[:begun] + each for name, each in more.items()}
    )


def trained(record: ConfirmationRecord, scores: Scores, place: str) -> tuple[Replicate, ...]:
    return tuple(
        Replicate(
            seed=fresh_seed(record, index),
            training=TrainingResult(
                failure=None if score is not None else Reason.EXCEPTION,
                message="" if score is not None else "It raised.",
            ),
            evaluation=None if score is None else Evaluation(split="holdout", val_bpb=score),
            place=place,
        )
        for index, score in enumerate(scores)
    )


def session(lanes: int = 1, place: str = PLACE) -> Any:
    return SimpleNamespace(
        lanes=lanes,
        place=place,
        work=Path("work"),
        ledger=SimpleNamespace(source=lambda commit: f"# {commit[0]}\n"),
    )


def due(record: ConfirmationRecord, lanes: int = 1, place: str = PLACE) -> list[tuple[Code, int]]:
    """Whose code is trained next, with the confirmation's seed of which index."""
    seeds = [fresh_seed(record, index) for index in range(20)]
    return [
        (each.code, seeds.index(each.seed)) for each in next_round(session(lanes, place), record)
    ]


class TestNextRound:
    """Both codes of a pair before the next one, side by side as far as there are lanes."""

    def test_one_lane_takes_turns(self) -> None:
        assert due(confirmation()) == [(B, 0)]
        assert due(confirmation((2.0,))) == [(I, 0)]
        assert due(confirmation((2.0,), (1.9,))) == [(B, 1)]
        assert due(confirmation((2.0,) * 3, (1.9,) * 2)) == [(I, 2)]
        assert due(confirmation((2.0,) * 3, (1.9,) * 3)) == []

    @pytest.mark.parametrize(
        ("lanes", "rounds"),
        [
            (2, [[(B, 0), (I, 0)], [(B, 1), (I, 1)], [(B, 2), (I, 2)]]),
            (3, [[(B, 0), (I, 0), (B, 1)], [(I, 1), (B, 2), (I, 2)]]),
            (4, [[(B, 0), (I, 0), (B, 1), (I, 1)], [(B, 2), (I, 2)]]),
        ],
    )
    def test_several_lanes_train_side_by_side(
        self, lanes: int, rounds: list[list[tuple[Code, int]]]
    ) -> None:
        record, found = confirmation(), []
        while wanted := due(record, lanes):
            found.append(wanted)
            counts = {code: sum(each is code for each, _ in wanted) for code in Code}
            had = len(record.baseline_replicates), len(record.incumbent_replicates)
            record = with_scores(
                record, (2.0,) * (had[0] + counts[B]), (1.9,) * (had[1] + counts[I])
            )
        assert found == rounds
        assert sum(map(len, found)) == 2 * record.wanted, "no training that no pair needs"

    @pytest.mark.parametrize("lanes", [2, 3, 4])
    def test_half_a_pair_is_made_whole_and_no_more(self, lanes: int) -> None:
        assert due(confirmation((2.0,), (), wanted=1), lanes) == [(I, 0)]
        assert due(confirmation((), (1.9,), wanted=1), lanes) == [(B, 0)]
        assert due(confirmation((2.0,) * 2, (1.9,), wanted=2), lanes) == [(I, 1)]

    def test_each_has_its_code_and_a_file_of_its_own(self) -> None:
        one, other = next_round(session(2), confirmation())
        assert (one.source, other.source) == ("# b\n", "# i\n")
        assert one.seed == other.seed
        assert one.checkpoint != other.checkpoint

    def test_half_a_pair_of_another_place_is_left_as_it_is(self) -> None:
        record = with_scores(confirmation(), (2.0,), (), place="elsewhere")
        assert due(record, 2) == [(B, 1), (I, 1)]
        assert due(record, 2, "elsewhere") == [(I, 0), (B, 1)]
        both = with_scores(confirmation(), (2.0,), (1.9,), place="elsewhere")
        assert due(both, 2) == [(B, 1), (I, 1)]
        assert len(pairs(both)) == 1, "a whole pair counts wherever it was trained"

    def test_trainings_of_two_places_are_no_pair(self) -> None:
        record = with_scores(confirmation(), (2.0,), (), place="elsewhere")
        mixed = record.model_copy(
            update={"incumbent_replicates": trained(record, (1.0,), place=PLACE)}
        )
        assert pairs(mixed) == []
        assert due(mixed, 2) == [(B, 1), (I, 1)]

    def test_a_seed_on_which_a_code_failed_is_left_and_two_in_a_row_end_it(self) -> None:
        assert due(confirmation((2.0,), (None,)), 2) == [(B, 1), (I, 1)]
        assert due(confirmation((None,), ()), 2) == [(B, 1), (I, 1)]
        now_and_then = confirmation((2.0,) * 4, (None, 1.9, 1.9, None))
        assert due(now_and_then, 1) == [(B, 4)], "never twice in a row"
        assert due(confirmation((2.0, 2.0), (None, None)), 2) == []


def test_a_confirmations_seeds_are_its_own() -> None:
    record = confirmation(settings={"seed": 7})
    seeds = [fresh_seed(record, index) for index in range(40)]
    assert len(set(seeds)) == len(seeds)
    assert set(seeds).isdisjoint(study_seeds(SessionSettings(seed=7)))
    assert set(seeds).isdisjoint(fresh_seed(confirmation(), index) for index in range(40))
    another = record.model_copy(update={"number": 1})
    assert set(seeds).isdisjoint(fresh_seed(another, index) for index in range(40))


class TestConclusion:
    """What comes out, and the sentence on it."""

    def of(self, record: ConfirmationRecord, *records: TrialRecord) -> ConfirmationRecord:
        return concluded(record, SETTINGS, records)

    def test_a_gain_beyond_the_noise_holds(self) -> None:
        found = self.of(confirmation((2.00, 2.01, 1.99), (1.95, 1.96, 1.94)))
        assert found.holds
        assert found.gain_bpb == pytest.approx(0.05)
        assert found.evidence is not None
        assert found.evidence >= 20
        assert found.interval_bpb is not None
        noise = noise_of((), SETTINGS.sizes.pair_noise_bpb)
        expected = sequential_test([0.05] * 3, 4 * noise.pair_bpb**2, 4)
        assert found.interval_bpb == pytest.approx(expected.interval)
        assert found.evidence == pytest.approx(expected.evidence)
        assert found.sentence.startswith(
            "Confirmed on holdout: the gain is 0.0500 bpb, 2.5 % (95 %"
        )
        assert "valid however often one looks; 3 pairs of fresh seeds)" in found.sentence
        assert found.sentence.endswith("0.0500 was claimed by the pairs that chose it.")

    def test_seeds_that_all_do_alike_are_no_noise(self) -> None:
        """What a pair has in common falls out: seeds far apart are no reason for doubt."""
        found = self.of(confirmation((2.0, 2.3, 1.7), (1.95, 2.25, 1.65)))
        assert found.holds
        assert found.gain_bpb == pytest.approx(0.05)

    def test_a_gain_within_the_noise_does_not_hold(self) -> None:
        found = self.of(confirmation((2.00, 2.00, 2.00), (1.99, 2.006, 1.996)))
        assert found.holds is False
        assert found.sentence.startswith("NOT confirmed on holdout: the gain is 0.0027 bpb, 0.1 %")

    def test_a_loss_is_no_gain_however_sure_it_is(self) -> None:
        found = self.of(confirmation((2.00, 2.01, 1.99), (2.05, 2.06, 2.04)))
        assert found.holds is False
        assert found.gain_bpb == pytest.approx(-0.05)
        assert found.evidence is not None
        assert found.evidence > 20
        assert "rule out" not in found.sentence

    def test_one_pair_is_enough_where_the_gain_is_large(self) -> None:
        assert not self.of(confirmation((2.0,), (1.95,), wanted=1)).holds
        assert self.of(confirmation((2.0,), (1.9,), wanted=1)).holds

    def test_the_studys_own_pairs_tell_the_noise(self) -> None:
        record = confirmation((2.0,) * 3, (1.97, 1.98, 1.96))
        assert self.of(record).holds
        wide = tuple(
            Pair(seed=seed, candidate_bpb=2.0 + 0.1 * (-1) ** seed, incumbent_bpb=2.0)
            for seed in range(8)
        )
        noisy = self.of(record, *(finished(number, pairs=wide) for number in range(1, 7)))
        assert not noisy.holds
        assert "neither bear out nor rule out: `nightlab confirm night` adds more" in noisy.sentence

    def test_a_claim_above_the_interval_is_said(self) -> None:
        found = self.of(confirmation((2.00,) * 8, (1.98,) * 8, wanted=8))
        assert found.holds
        assert "which is above the interval" in found.sentence

    def test_a_code_that_fails_twice_in_a_row_confirms_nothing(self) -> None:
        found = self.of(confirmation((2.0, 2.0), (None, None)))
        assert (found.holds, found.gain_bpb, found.evidence) == (False, None, None)
        assert "the incumbent failed 2 fresh trainings in a row" in found.sentence
        assert "It raised." in found.sentence

    def test_what_is_shown_beside_the_gain_adds_up_to_it(self) -> None:
        done = self.of(confirmation((2.0, 5.0, 2.02), (1.9, None, 1.88), wanted=2))
        assert done.gain_bpb == pytest.approx(0.12), "of the two whole pairs"
        shown = describe_confirmation(done).metrics
        means = tuple(shown[f"confirmation/{who}_holdout_bpb"] for who in ("baseline", "incumbent"))
        assert means == pytest.approx((2.01, 1.89))

    def test_it_is_written_and_read_back(self, tmp_path: Path) -> None:
        study = studied(tmp_path)
        record = with_scores(begin_confirmation(study, 2), (2.0, 2.0), (1.9, 1.9))
        done = self.of(record)
        write_confirmation(study.ledger, done)
        assert confirmations(study.ledger)[-1].interval_bpb == done.interval_bpb
        assert confirmations(study.ledger)[-1].evidence == done.evidence


def studied(folder: Path) -> Any:
    """A session whose study kept a trial."""
    made = sample_session(folder / "clone")
    finish_trial(made, Proposal(title="baseline", proposer="baseline"), Verdict.KEEP)
    edits = (Edit(search="DEPTH = 4", replace="DEPTH = 6"),)
    keep_edit(made, 1, Proposal(title="Deeper", proposer="llm", edits=edits))
    return made


@pytest.mark.parametrize(
    ("baseline", "incumbent", "wanted"),
    [
        ((), (), 4),
        ((2.0,), (), 4),  # on one lane
        ((2.0,), (1.0,), 4),  # one pair alone is never enough
        ((2.0, 2.01), (1.9, 1.9), 2),
        ((2.0, 2.01), (1.999, 2.0), 4),
        ((1.9, 1.9), (2.0, 2.0), 4),  # sure that it is worse, and not ended early for that
        ((2.0, 2.0), (1.9, None), 4),
        ((2.0, 2.01, 2.0, 2.0), (1.9, 1.9, 1.9, 1.9), 4),
    ],
)
def test_no_more_pairs_are_wanted_than_make_it_sure(
    tmp_path: Path, baseline: Scores, incumbent: Scores, wanted: int
) -> None:
    study = studied(tmp_path)
    record = with_scores(begin_confirmation(study, 4), baseline, incumbent)
    enough = with_enough(study, record)
    assert enough.wanted == wanted
    if wanted == len(pairs(record)):
        assert next_round(study, enough) == ()
        assert concluded(enough, study.settings, ()).holds


def test_only_a_gain_can_be_confirmed() -> None:
    baseline = sample_record(0, scores=(2.0,), verdict=Verdict.KEEP, reason=Reason.BASELINE)
    with pytest.raises(UsageError, match="nothing as better than its baseline"):
        check_confirmable("night", (baseline,))
    with pytest.raises(UsageError, match="has no trials"):
        check_confirmable("night", ())
    better = sample_record(1, scores=(1.9,), verdict=Verdict.KEEP, reason=Reason.IMPROVED)
    assert check_confirmable("night", (baseline, better)) == (baseline, better)
    shorter = sample_record(1, scores=(2.001,), verdict=Verdict.KEEP, reason=Reason.SIMPLER)
    with pytest.raises(UsageError, match="nothing as better than its baseline"):
        check_confirmable("night", (baseline, shorter))


class TestBeginning:
    """Begun, made longer, taken up after a kill, or set on top of an earlier one."""

    def finish(self, study: Any, record: ConfirmationRecord) -> ConfirmationRecord:
        done = concluded(record, SETTINGS, ())
        done = done.model_copy(update={"finished_at": record.started_at})
        write_confirmation(study.ledger, done)
        return done

    def test_it_claims_what_the_chain_of_pairs_says(self, tmp_path: Path) -> None:
        record = begin_confirmation(studied(tmp_path), 2)
        assert record.claimed_gain_bpb == pytest.approx(0.0), "both records say 1.9"
        assert (record.incumbent_trial, record.carried, record.engine_version) == (1, 0, "1")

    def test_one_under_way_can_be_made_longer_and_not_shorter(self, tmp_path: Path) -> None:
        study = studied(tmp_path)
        assert begin_confirmation(study, 2).wanted == 2
        assert begin_confirmation(study, 5).wanted == 5
        assert begin_confirmation(study, 3).wanted == 5
        assert [each.wanted for each in confirmations(study.ledger)] == [5]

    def test_after_a_kill_it_asks_for_what_is_missing(self, tmp_path: Path) -> None:
        study = studied(tmp_path)
        study.lanes = 2
        begun = begin_confirmation(study, 2)
        first = next_round(study, begun)
        measured = [(each, trained(begun, (2.0,), PLACE)[0]) for each in first]
        add_confirmed(study, begun, measured)
        again = begin_confirmation(study, 2)
        assert len(pairs(again)) == 1
        assert [(each.code, each.seed) for each in next_round(study, again)] == [
            (code, fresh_seed(again, 1)) for code in Code
        ]

    def test_who_goes_on_with_another_seed_keeps_the_confirmations(self, tmp_path: Path) -> None:
        study = studied(tmp_path)
        begun = begin_confirmation(study, 2)
        study.settings = study.settings.model_copy(update={"seed": 99})
        assert [fresh_seed(begin_confirmation(study, 2), each) for each in range(3)] == [
            fresh_seed(begun, each) for each in range(3)
        ]

    def test_one_that_follows_another_rests_on_the_pairs_of_both(self, tmp_path: Path) -> None:
        study = studied(tmp_path)
        first = self.finish(
            study, with_scores(begin_confirmation(study, 2), (2.0, 2.02), (2.01, 1.99))
        )
        assert not first.holds
        second = begin_confirmation(study, 3)
        assert (second.number, second.wanted, second.carried) == (1, 5, 2)
        assert len(pairs(second)) == 2
        assert begin_confirmation(study, 3).wanted == 5
        earlier = {each.seed for each in first.baseline_replicates}
        assert earlier.isdisjoint(fresh_seed(second, index) for index in range(20))
        grown = with_scores(second, (2.1,) * 3, (1.9,) * 3)
        found = concluded(grown, SETTINGS, ())
        assert found.gain_bpb == pytest.approx(0.6 / 5 + 0.02 / 5)
        assert "5 pairs of fresh seeds, 2 of them from an earlier confirmation" in found.sentence

    def test_a_run_that_is_tried_again_knows_the_one_that_it_finished(self, tmp_path: Path) -> None:
        study = studied(tmp_path)
        study.began = before = utc_now()
        assert confirmation_of(study) is None
        begun = begin_confirmation(study, 2)
        assert confirmation_of(study) is None
        done = self.finish(study, with_scores(begun, (2.0, 2.02), (2.01, 1.99)))
        study.began = utc_now()
        assert confirmation_of(study) == done
        study.identifier = "another run"
        assert confirmation_of(study) is None
        study.began = before
        assert confirmation_of(study) == done, "it finished another's"

    def test_a_training_that_failed_is_not_held_against_the_next_one(self, tmp_path: Path) -> None:
        study = studied(tmp_path)
        scores = (2.2, 2.0, 2.1), (None, 2.0, 2.1)
        self.finish(study, with_scores(begin_confirmation(study, 2), *scores))
        second = begin_confirmation(study, 2)
        assert second.carried == 2
        assert [each.val_bpb for each in second.incumbent_replicates] == [2.0, 2.1]
        assert [each.val_bpb for each in second.baseline_replicates] == [2.0, 2.1]
        again = with_scores(second, (), (None,))
        assert due(again, 2) == [(B, 1), (I, 1)]

    def test_what_was_paired_before_a_code_failed_for_good_is_gone_on_with(
        self, tmp_path: Path
    ) -> None:
        study = studied(tmp_path)
        scores = (2.0, 2.1, 2.2, 2.3), (1.9, 2.0, None, None)
        first = self.finish(study, with_scores(begin_confirmation(study, 4), *scores))
        assert "failed 2 fresh trainings in a row" in first.sentence
        second = begin_confirmation(study, 2)
        assert (second.carried, second.wanted) == (2, 4)
        assert [each.val_bpb for each in second.incumbent_replicates] == [1.9, 2.0]

    def test_pairs_of_two_places_are_carried_each_as_it_was_trained(self, tmp_path: Path) -> None:
        study = studied(tmp_path)
        self.finish(study, with_scores(begin_confirmation(study, 2), (2.0, 2.0), (1.9, 1.9)))
        study.place = "elsewhere"
        second = begin_confirmation(study, 1)
        assert (second.carried, len(pairs(second))) == (2, 2)
        assert due(second, 2, "elsewhere") == [(B, 0), (I, 0)]

    def test_a_new_engine_begins_anew_and_keeps_the_pairs_there_were(self, tmp_path: Path) -> None:
        study = studied(tmp_path)
        study.engine_version = "0"
        assert begin_confirmation(study, 9).number == 0
        study.engine_version = "1"
        assert begin_confirmation(study, 2).number == begin_confirmation(study, 2).number == 1
        assert begin_confirmation(study, 2).wanted == 2
        self.finish(study, with_scores(begin_confirmation(study, 2), (2.0, 2.1), (2.0, 2.1)))
        study.engine_version = "2"
        assert begin_confirmation(study, 3).carried == 2, "no second chance"


class TestOnce:
    """One training of a confirmation, and what is written down of the holdout."""

    @pytest.fixture
    def study(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
        made = studied(tmp_path)
        made.told = []

        def train(session: Any, source: str, checkpoint: Path, **more: Any) -> TrainingResult:
            made.told.append((more["number"], more["seed"], more["whose"]))
            checkpoint.write_bytes(b"weights")
            return TrainingResult()

        def score(*given: Any, record_use: Any, **more: Any) -> Evaluation:
            assert given[3] == "holdout"
            assert more["keep_below_bpb"] == math.inf, "no audit of it is a coarse one"
            scored = Evaluation(split="holdout", val_bpb=1.9)
            record_use(scored)
            return scored

        monkeypatch.setattr(confirming, "train_code", train)
        monkeypatch.setattr(confirming, "evaluate", score)
        return made

    def test_every_scoring_on_holdout_is_written_down(self, study: Any) -> None:
        record = begin_confirmation(study, 1)
        study.lanes = 2
        trainings = next_round(study, record)
        measured = [(each, confirm_once(study, record, each)) for each in trainings]
        assert study.told == [(1, fresh_seed(record, 0), each.value) for each in Code]
        assert {replicate.place for _, replicate in measured} == {PLACE}
        assert not any(each.checkpoint.exists() for each in trainings)
        record = add_confirmed(study, record, measured)
        assert confirmations(study.ledger)[-1] == record
        assert len(pairs(record)) == 1
        uses = holdout_uses(study.ledger)
        assert [(use.trial, use.seed) for use in uses] == [
            (0, fresh_seed(record, 0)),
            (1, fresh_seed(record, 0)),
        ]

    def test_one_that_failed_uses_no_holdout(
        self, study: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        failed = TrainingResult(failure=Reason.OOM, message="Out of memory.")
        monkeypatch.setattr(confirming, "train_code", lambda *_, **__: failed)
        record = begin_confirmation(study, 1)
        (first,) = next_round(study, record)
        replicate = confirm_once(study, record, first)
        assert (replicate.failure, replicate.place) == (Reason.OOM, PLACE)
        assert holdout_uses(study.ledger) == ()


class TestHours:
    """A session's hours hold what confirming takes."""

    def timed(self, number: int, seconds: float, own: int, anew: int = 0) -> TrialRecord:
        (one,) = trained(confirmation(), (2.0,), PLACE)
        record = finished(
            number,
            f"{number:040x}",
            own=[one] * own,
            anew=[one] * anew,
            reason=Reason.IMPROVED if number else Reason.BASELINE,
        )
        steps = {"sandbox": 1.0, "startup": 2.0, "train": seconds - 7, "evaluate": 4.0}
        return record.model_copy(update={"step_seconds": {**steps, "propose": 900.0}})

    def study(self, tmp_path: Path, *records: TrialRecord, lanes: int = 1, **more: Any) -> Any:
        made = sample_session(tmp_path / "clone")
        made.lanes = lanes
        made.settings = made.settings.model_copy(update={"confirm_replicates": 3, **more})
        # Only what is read of it is of memory: confirmations and requests to stop stand in git.
        ledger = made.ledger
        made.ledger = SimpleNamespace(
            records=lambda: records,
            **{name: getattr(ledger, name) for name in ("tags", "plumbing")},
            study=ledger.study,
            refs=ledger.refs,
            root=ledger.root,
        )
        made.proposer.needs_money = False
        return made

    def test_it_takes_as_long_as_the_studys_trainings_did(self, tmp_path: Path) -> None:
        records = (self.timed(0, 60, 2), self.timed(1, 40, 1, 1), self.timed(2, 100, 1))
        # 30, 20 and 100 seconds a training: six of them, one after the other.
        assert seconds_to_confirm(self.study(tmp_path, *records)) == pytest.approx(6 * 30)

    @pytest.mark.parametrize(("lanes", "rounds"), [(2, 3), (3, 2), (4, 2)])
    def test_side_by_side_it_takes_less(self, tmp_path: Path, lanes: int, rounds: int) -> None:
        records = (self.timed(0, 30, 2), self.timed(1, 30, 1, 1))
        study = self.study(tmp_path, *records, lanes=lanes)
        assert seconds_to_confirm(study) == pytest.approx(rounds * 30)

    def test_where_nothing_is_due_it_takes_nothing(self, tmp_path: Path) -> None:
        baseline, better = self.timed(0, 60, 2), self.timed(1, 60, 2)
        assert seconds_to_confirm(self.study(tmp_path / "a", baseline)) == 0
        off = self.study(tmp_path / "b", baseline, better, confirm_replicates=0)
        assert not confirmation_due(off)
        assert seconds_to_confirm(off) == 0
        assert confirmation_due(self.study(tmp_path / "c", baseline, better))

    def test_what_is_confirmed_is_due_again_only_for_another_incumbent(
        self, tmp_path: Path
    ) -> None:
        study = studied(tmp_path)
        assert confirmation_due(study)
        record = begin_confirmation(study, 1)
        assert confirmation_due(study), "it is under way"
        write_confirmation(study.ledger, record.model_copy(update={"finished_at": utc_now()}))
        assert not confirmation_due(study)
        edits = (Edit(search="DEPTH = 6", replace="DEPTH = 8"),)
        keep_edit(study, 2, Proposal(title="Deeper still", proposer="llm", edits=edits))
        assert confirmation_due(study)

    @pytest.mark.parametrize(
        ("gone", "is_over"), [(40, False), (46, False), (49, True), (61, True)]
    )
    def test_the_last_trial_begins_so_early_that_the_gain_is_confirmed_in_time(
        self, tmp_path: Path, gone: float, is_over: bool
    ) -> None:
        began = utc_now() - timedelta(minutes=gone)
        ours = {"session": "session", "started_at": began}
        # Six trainings of 100 seconds, and the next trial: twelve minutes of the hour.
        records = [self.timed(0, 100, 1), self.timed(1, 100, 1).model_copy(update=ours)]
        study = self.study(tmp_path, *records, hours=1.0)
        said = Limits(study).reached()
        assert (said is not None) is is_over
        if is_over:
            assert said == (
                "The time given, 1 h, is over, but for less than another trial and the "
                "confirmation take."
            )

    def test_without_a_gain_only_the_next_trial_is_allowed_for(self, tmp_path: Path) -> None:
        def reached(minutes: float, folder: str) -> str | None:
            ours = {
                "session": "session",
                "started_at": utc_now() - timedelta(minutes=minutes),
            }
            records = [self.timed(0, 100, 1), finished(1).model_copy(update=ours)]
            return Limits(self.study(tmp_path / folder, *records, hours=1.0)).reached()

        assert reached(57, "a") is None
        said = reached(59, "b")
        assert said is not None
        assert said.startswith("The time given, 1 h, is over")
