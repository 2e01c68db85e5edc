"""What a trial is trained on next, in every state that it can be in, and what each training has."""

import math
import random
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from nightlab import events
from nightlab.errors import EvaluationError
from nightlab.judging import decision
from nightlab.judging.bank import CHECK_AFTER
from nightlab.judging.case import Case
from nightlab.judging.crashes import FAILURES_IN_A_ROW
from nightlab.judging.decision import BASELINE_REPLICATES, MOST_PAIRS, Subject
from nightlab.records import (
    CurvePoint,
    Decision,
    Evaluation,
    Forecast,
    InFlight,
    Reason,
    Replicate,
    TrainingResult,
    Verdict,
)
from nightlab.sandbox.device import Device
from nightlab.sandbox.endable import EndableSandbox
from nightlab.settings import SessionSettings
from nightlab.study import measurement
from nightlab.study.conditions import continue_settings
from nightlab.study.measurement import (
    Training,
    add_replicates,
    evaluate_once,
    judged_case,
    next_round,
    say_pairs,
    say_twin,
    train_once,
    trained_here,
)
from nightlab.study.session import study_seeds
from nightlab.training.curve import PROFILE_BINS
from nightlab.training.pruning import SPARED_ONE_IN
from tests.study.trained import (
    BASELINE,
    BETTER,
    CANDIDATE,
    ELSEWHERE,
    HERE,
    SCHEDULED,
    SEEDS,
    UNCLEAR,
    WORSE,
    begun,
    finished,
    session,
    trained,
    under_way,
)

C, B = Subject.CANDIDATE, Subject.INCUMBENT
FIRST = [(C, 0)]


LOST = tuple(finished(number, difference_bpb=0.01) for number in range(1, CHECK_AFTER + 1))
"""Trials that were all worse: the one after them looks at the bank."""
NEXT = CHECK_AFTER + 1


def asked(study: Any, mark: InFlight) -> list[tuple[Subject, int]]:
    """Whose code is trained next, with the study's seed of which index."""
    return [(each.wanted.subject, SEEDS.index(each.seed)) for each in next_round(study, mark)]


def own(*differences: float | None, place: str = HERE) -> list[Replicate]:
    """The candidate's trainings, by what they differ from a twin of 2.0; None where it failed."""
    return [
        trained(index, None if each is None else 2.0 + each, place=place)
        for index, each in enumerate(differences)
    ]


def twins(*indices: int, score: float | None = 2.0, place: str = HERE) -> list[Replicate]:
    return [trained(index, score, place=place) for index in indices]


class TestBaseline:
    """The trainings of a study's beginning."""

    @pytest.mark.parametrize(("lanes", "wanted"), [(1, [0]), (2, [0, 1]), (4, [0, 1])])
    def test_its_seeds_are_trained_side_by_side(self, lanes: int, wanted: list[int]) -> None:
        study, mark = session(lanes=lanes), under_way(proposer="baseline")
        assert asked(study, mark) == [(C, index) for index in wanted]
        assert all(each.source == "DEPTH = 4\n" for each in next_round(study, mark))

    @pytest.mark.parametrize("lanes", [1, 2, 4])
    @pytest.mark.parametrize(("done", "missing"), [([0], [1]), ([1], [0]), ([0, 1], [])])
    def test_a_resumed_one_asks_for_what_is_missing(
        self, lanes: int, done: list[int], missing: list[int]
    ) -> None:
        mark = under_way(*twins(*done), proposer="baseline")
        assert asked(session(lanes=lanes), mark) == [(C, index) for index in missing]

    def test_what_was_trained_elsewhere_is_trained_anew(self) -> None:
        mark = under_way(*twins(0, 1, place=ELSEWHERE), proposer="baseline")
        assert asked(session(lanes=2), mark) == [(C, 0), (C, 1)]
        assert trained_here(session(), mark) == []
        assert len(trained_here(session(place=ELSEWHERE), mark)) == BASELINE_REPLICATES

    def test_a_crash_ends_it(self) -> None:
        mark = under_way(trained(0, None), proposer="baseline")
        assert asked(session(lanes=2), mark) == []

    def test_its_scores_are_audited_exactly_and_nothing_stops_it(self) -> None:
        for each in next_round(session(lanes=2), under_way(proposer="baseline")):
            assert (each.keep_below_bpb, each.watch, each.twin) == (math.inf, None, None)


# What is in the bank besides the baseline's two, the candidate's trainings so far, and what each
# number of lanes then asks for.
STATES: list[tuple[str, list[Replicate], list[Replicate], dict[int, list[tuple[Subject, int]]]]] = [
    ("nothing yet", [], [], {1: FIRST, 2: [(C, 0), (C, 1)], 4: [(C, 0), (C, 1), (B, 2), (C, 2)]}),
    ("well ahead", own(BETTER), [], {1: [], 2: [], 4: []}),
    ("far behind", own(WORSE), [], {1: [], 2: [], 4: []}),
    (
        "unclear after one pair",
        own(UNCLEAR),
        [],
        {1: [(C, 1)], 2: [(C, 1), (B, 2)], 4: [(C, 1), (B, 2), (C, 2), (B, 3)]},
    ),
    (
        "unclear, and the next twin missing",
        own(UNCLEAR, -0.004),
        [],
        {1: [(B, 2)], 2: [(B, 2), (C, 2)], 4: [(B, 2), (C, 2), (B, 3), (C, 3)]},
    ),
    (
        "unclear, and the next twin ahead of its pair",
        own(UNCLEAR, -0.004),
        twins(2),
        {1: [(C, 2)], 2: [(C, 2), (B, 3)], 4: [(C, 2), (B, 3), (C, 3), (B, 4)]},
    ),
    (
        "a training that a busy machine may have failed, once",
        own(UNCLEAR, None),
        [],
        {1: [(C, 1)], 2: [(C, 1), (B, 2)]},
    ),
    ("a first training that failed", own(None), [], {1: [], 2: []}),
    (
        "what was trained elsewhere",
        own(BETTER, BETTER, place=ELSEWHERE),
        twins(0, 1, place=ELSEWHERE),
        {1: FIRST, 2: [(C, 0), (C, 1)]},
    ),
]


@pytest.mark.parametrize(
    ("replicates", "anew", "wanted"),
    [each[1:] for each in STATES],
    ids=[each[0] for each in STATES],
)
def test_each_state_asks_for_what_its_pairs_lack(
    replicates: list[Replicate],
    anew: list[Replicate],
    wanted: dict[int, list[tuple[Subject, int]]],
) -> None:
    mark = under_way(*replicates, anew=anew)
    found = {lanes: asked(session(begun(), lanes=lanes), mark) for lanes in wanted}
    if not any(len(each) for each in wanted.values()):
        assert isinstance(decision.judge(judged_case(session(begun()), mark)), Decision)
    assert found == wanted


# Where the study goes on at another place, its incumbent has no twin there.
ELSEWHERE_STATES: list[
    tuple[str, list[Replicate], list[Replicate], dict[int, list[tuple[Subject, int]]]]
] = [
    (
        "nothing yet",
        [],
        [],
        {1: [(B, 0)], 2: [(B, 0), (C, 0)], 4: [(B, 0), (C, 0), (B, 1), (C, 1)]},
    ),
    ("the twin is there", [], twins(0), {1: FIRST, 2: [(C, 0), (B, 1)]}),
    ("the twin is not", own(BETTER), [], {1: [(B, 0)], 2: [(B, 0), (B, 1)]}),
    ("the twin failed", own(BETTER), [trained(0, None)], {1: [(B, 0)], 2: [(B, 0), (B, 1)]}),
    ("the pair is there", own(BETTER), twins(0), {1: [], 2: []}),
    (
        "the candidate failed beside its twin",
        own(None),
        twins(0),
        {1: [], 2: []},
    ),
]


@pytest.mark.parametrize(
    ("replicates", "anew", "wanted"),
    [each[1:] for each in ELSEWHERE_STATES],
    ids=[each[0] for each in ELSEWHERE_STATES],
)
def test_at_another_place_twins_are_trained_anew(
    replicates: list[Replicate],
    anew: list[Replicate],
    wanted: dict[int, list[tuple[Subject, int]]],
) -> None:
    baseline = begun(1.0, 1.0).model_copy(
        update={"replicates": tuple(twins(0, 1, score=1.0, place=ELSEWHERE))}
    )
    mark = under_way(*replicates, anew=anew)
    for lanes, expected in wanted.items():
        assert asked(session(baseline, lanes=lanes), mark) == expected, lanes
    # A pair of two places would have been a score of 1.95 beside one of 1.0.
    case = judged_case(session(baseline), mark)
    assert all(each.place == HERE for each in case.bank.values())


def test_a_twin_is_trained_once_for_all_trials_of_its_incumbent() -> None:
    earlier = finished(1, "e" * 40, own=own(UNCLEAR, -0.004, WORSE), anew=twins(2))
    study = session(begun(), earlier, lanes=2)
    third = under_way(*own(UNCLEAR, -0.004), number=2)
    assert asked(study, third) == [(C, 2), (B, 3)]
    # Of a trial that stood on another incumbent it says nothing.
    other = earlier.model_copy(update={"parent": "e" * 40})
    assert asked(session(begun(), other, lanes=2), third) == [(B, 2), (C, 2)]


def test_the_trainings_of_what_was_kept_are_the_bank_of_what_follows() -> None:
    kept = finished(1, CANDIDATE, own=own(BETTER, BETTER, BETTER), reason=Reason.IMPROVED)
    following = under_way(number=2, commit=SCHEDULED).model_copy(update={"parent": CANDIDATE})
    bank = judged_case(session(begun(), kept), following).bank
    assert {seed: each.val_bpb for seed, each in bank.items()} == dict.fromkeys(SEEDS[:3], 1.95)


class TestBankCheck:
    """Where one trial after the other is worse the first twin is trained anew."""

    @pytest.mark.parametrize(
        ("lanes", "wanted"),
        [(1, [(B, 0)]), (2, [(B, 0), (C, 0)]), (4, [(B, 0), (C, 0), (C, 1), (B, 2)])],
    )
    def test_the_next_trial_trains_the_first_twin_anew(
        self, lanes: int, wanted: list[tuple[Subject, int]]
    ) -> None:
        assert asked(session(begun(), *LOST, lanes=lanes), under_way(number=NEXT)) == wanted

    def test_it_does_so_once(self) -> None:
        study = session(begun(), *LOST)
        assert asked(study, under_way(anew=twins(0, score=2.001), number=NEXT)) == FIRST
        # Nor does one that failed draw another: the one that is banked counts.
        assert asked(study, under_way(anew=[trained(0, None)], number=NEXT)) == FIRST

    def test_where_it_comes_out_alike_the_later_one_counts_and_the_others_stay(self) -> None:
        mark = under_way(anew=twins(0, score=2.001), number=NEXT)
        bank = judged_case(session(begun(), *LOST), mark).bank
        assert [bank[seed].val_bpb for seed in SEEDS[:2]] == [2.001, 2.0]

    def test_where_it_does_not_nothing_banked_is_used_any_more(self) -> None:
        mark = under_way(*own(0.09), anew=twins(0, score=2.1), number=NEXT)
        study = session(begun(), *LOST, lanes=2)
        case = judged_case(study, mark)
        assert list(case.bank) == [SEEDS[0]]
        assert asked(study, mark) == [(B, 1), (C, 1)]
        # Nor by the trials after it, which do not look again.
        record = finished(NEXT, own=own(0.2), anew=twins(0, score=2.1))
        later = under_way(number=NEXT + 1)
        assert asked(session(begun(), *LOST, record, lanes=2), later) == [(C, 0), (B, 1)]

    def test_one_without_a_twin_has_nothing_to_look_at(self) -> None:
        assert asked(session(begun(), *LOST, place=ELSEWHERE), under_way(number=NEXT)) == [(B, 0)]


Scores = Callable[[Subject, int], float | None]


def run(
    study: Any, mark: InFlight, score: Scores, lanes: Callable[[], int], most_rounds: int = 60
) -> tuple[InFlight, list[tuple[Subject, int]]]:
    """Train what is asked for until nothing is; what was trained, in order."""
    done: list[tuple[Subject, int]] = []
    for _ in range(most_rounds):
        study.lanes = lanes()
        trainings = next_round(study, mark)
        if not trainings:
            return mark, done
        assert len(trainings) <= study.lanes
        measured = []
        for each in trainings:
            index = SEEDS.index(each.seed)
            done.append((each.wanted.subject, index))
            measured.append((each, trained(index, score(each.wanted.subject, index))))
        mark = add_replicates(study, mark, measured)
    raise AssertionError(f"no end: {done}")


@pytest.mark.parametrize("draw", range(40))
def test_whatever_comes_out_nothing_is_trained_twice_and_seeds_come_in_order(draw: int) -> None:
    """Also where a session with other lanes goes on."""
    chance = random.Random(draw)
    effect = chance.choice((-0.012, -0.006, 0.0, 0.006))

    def score(subject: Subject, index: int) -> float:
        return 2.0 + chance.gauss(effect if subject is C else 0.0, 0.004)

    study = session(begun())
    mark, done = run(study, under_way(), score, lambda: chance.choice((1, 2, 3, 4)))
    assert len(set(done)) == len(done)
    for subject in Subject:
        indices = [index for each, index in done if each is subject]
        assert indices == sorted(indices)
    verdict = decision.judge(judged_case(study, mark))
    assert isinstance(verdict, Decision)
    assert 1 <= len(verdict.pairs) <= MOST_PAIRS + study.lanes
    assert [pair.seed for pair in verdict.pairs] == list(SEEDS[: len(verdict.pairs)])
    # What is resumed in any state asks for the rest alone, and comes to the same.
    for kept in range(len(mark.replicates)):
        cut = mark.model_copy(update={"replicates": mark.replicates[:kept]})
        wanted = next_round(study, cut)
        for each in wanted:
            assert each.whose or each.seed not in {replicate.seed for replicate in cut.replicates}
        scored = {each.seed for each in mark.incumbent_replicates}
        assert not any(each.whose and each.seed in scored for each in wanted)


def test_all_codes_of_a_study_have_the_same_seeds_in_the_same_order() -> None:
    study = session(begun(), lanes=1)
    orders = []
    for number in (1, 2, 7):
        score: Scores = lambda subject, index: 1.99 + 0.01 * (subject is B)  # noqa: E731
        _, done = run(study, under_way(number=number), score, lambda: 1)
        orders.append([index for subject, index in done if subject is C])
    assert all(each == list(range(len(each))) for each in orders)
    assert next_round(session(), under_way(proposer="baseline"))[0].seed == SEEDS[0]


def test_a_continued_session_keeps_the_studys_seeds() -> None:
    first = continue_settings(SessionSettings(study="night", seed=7), None)
    record = begun().model_copy(update={"settings": first.model_dump(mode="json")})
    for given in (SessionSettings(study="night"), SessionSettings(study="night", seed=3)):
        assert study_seeds(continue_settings(given, record)) == study_seeds(first)
    assert set(study_seeds(first)).isdisjoint(SEEDS)
    assert len(set(SEEDS)) == len(SEEDS) >= MOST_PAIRS
    assert all(0 <= seed < 2**31 for seed in SEEDS)


class TestBrokenIncumbent:
    """Its code has trained before, so a failure is the machine's."""

    def test_one_that_fails_twice_in_a_row_ends_the_trial(self) -> None:
        failed = [trained(index, None) for index in range(FAILURES_IN_A_ROW)]
        with pytest.raises(EvaluationError, match=r"Out of memory\..*nightlab retry night 1"):
            next_round(session(begun()), under_way(anew=failed))

    def test_one_that_fails_once_is_trained_again(self) -> None:
        study = session(begun(), place=ELSEWHERE)
        failed = trained(0, None, place=ELSEWHERE)
        assert asked(study, under_way(anew=[failed])) == [(B, 0)]

    def test_one_that_fails_now_and_then_goes_on(self) -> None:
        anew = [trained(2, None), trained(2, 2.0), trained(3, None)]
        assert asked(session(begun()), under_way(anew=anew)) == FIRST


class TestWatch:
    """What may stop a training early."""

    def watches(self, study: Any, mark: InFlight) -> list[bool]:
        return [each.watch is not None for each in next_round(study, mark)]

    def test_a_candidate_is_watched_beside_its_twin(self) -> None:
        (first,) = next_round(session(begun(2.0, 2.1)), under_way())
        assert first.watch is not None
        assert first.twin == begun(2.0, 2.1).replicates[0]
        assert self.watches(session(begun(), lanes=2), under_way()) == [True, True]

    def test_two_side_by_side_share_the_allowance_for_false_stops(self) -> None:
        (alone,) = next_round(session(begun()), under_way())
        both = next_round(session(begun(), lanes=2), under_way())
        assert alone.watch is not None
        chances = [each.watch._most_chance for each in both if each.watch is not None]
        assert chances == [alone.watch._most_chance / 2] * 2
        assert alone.watch._most_chance > 0

    def test_nothing_is_watched_where_pruning_is_off(self) -> None:
        study = session(begun(), lanes=2, prune=False)
        assert self.watches(study, under_way()) == [False, False]
        assert all(each.twin is not None for each in next_round(study, under_way()))

    def test_an_edit_of_the_schedule_is_not_followed(self) -> None:
        assert self.watches(session(begun()), under_way(commit=SCHEDULED)) == [False]

    def test_what_is_trained_beside_its_twin_is_not_either(self) -> None:
        study = session(begun(), place=ELSEWHERE, lanes=2)
        assert self.watches(study, under_way()) == [False, False]
        assert [each.twin for each in next_round(study, under_way())] == [None, None]

    def test_nor_is_the_incumbent(self) -> None:
        mark = under_way(*own(UNCLEAR, -0.004))
        (twin,) = next_round(session(begun()), mark)
        assert (twin.whose, twin.watch, twin.twin) == ("incumbent", None, None)

    def test_nor_what_lacks_a_curve_to_be_set_beside(self) -> None:
        bare = tuple(
            each.model_copy(update={"training": TrainingResult()}) for each in begun().replicates
        )
        study = session(begun().model_copy(update={"replicates": bare}))
        assert self.watches(study, under_way()) == [False]

    def test_a_later_pair_is_not_stopped_for_what_a_first_one_needs(self) -> None:
        (second,) = next_round(session(begun()), under_way(*own(UNCLEAR)))
        assert (second.watch, second.keep_below_bpb) == (None, math.inf)
        assert second.twin is not None, "its curve is shown all the same"

    def test_one_trial_in_twenty_is_spared(self) -> None:
        study, trials, spared = session(begun()), 600, 0
        for number in range(1, trials + 1):
            trainings = next_round(study, under_way(number=number))
            watch = trainings[0].watch
            if trainings[0].wanted.subject is C:
                assert watch is not None
                spared += watch._is_spared
        expected = trials / SPARED_ONE_IN
        # Binomial: all but one in a million draws lie within five deviations.
        assert abs(spared - expected) < 5 * math.sqrt(expected)

    def test_what_it_needs_is_what_the_judge_goes_on_with(self) -> None:
        (first,) = next_round(session(begun()), under_way())
        assert first.watch is not None
        assert first.watch._needed_bpb == first.keep_below_bpb < 2.0


@pytest.mark.parametrize("twin", [1.9, 2.0, 2.1])
def test_whatever_a_first_score_may_still_lead_to_a_keep_is_audited_as_exactly(
    twin: float,
) -> None:
    study = session(begun(twin, 2.0))
    (first,) = next_round(study, under_way())
    leads_on = []
    for score in np.linspace(twin - 0.05, twin + 0.05, 201):
        case = judged_case(study, under_way(trained(0, float(score))))
        judged = decision.judge(case)
        if not isinstance(judged, Decision) or judged.verdict is Verdict.KEEP:
            leads_on.append(score)
    assert leads_on
    # The threshold is found by halving, to a twentieth of the noise.
    assert max(leads_on) <= first.keep_below_bpb + 0.05 * 0.006
    assert first.keep_below_bpb - max(leads_on) < 0.002


def test_a_finished_round_stands_in_the_mark_with_its_place() -> None:
    study = session(begun(), place=ELSEWHERE, lanes=2)
    mark = under_way()
    trainings = next_round(study, mark)
    measured = [(each, trained(0, 2.0, place="")) for each in trainings]
    grown = add_replicates(study, mark, measured)
    assert study.marked == [grown]
    assert [each.place for each in grown.replicates] == [ELSEWHERE]
    assert [each.place for each in grown.incumbent_replicates] == [ELSEWHERE]
    assert asked(study, grown) != asked(study, mark)


def test_after_a_round_the_checkpoint_of_the_best_training_stands_alone(tmp_path: Path) -> None:
    study, mark = session(begun(), work=tmp_path, place=ELSEWHERE, lanes=2), under_way()
    kept = None
    for score in (2.1, 2.2, 2.0):
        training = next_round(study, mark)[-1]
        training.checkpoint.touch()
        index = SEEDS.index(training.seed)
        mark = add_replicates(study, mark, [(training, trained(index, score, place=ELSEWHERE))])
        kept = training.checkpoint if score != 2.2 else kept
        assert list(tmp_path.iterdir()) == [kept]


class TestOnce:
    """A training and an evaluation, with what is around them."""

    @pytest.fixture
    def study(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
        made = session(begun(), work=tmp_path, lanes=2)
        made.device = Device(name="cpu", description="test", threads=1)
        made.locks = tmp_path
        made.ready_corpus = SimpleNamespace(vocab_size=64)
        made.sandbox = EndableSandbox(SimpleNamespace())
        made.heard = []
        made.tokens = lambda seed: SimpleNamespace(__enter__=None)
        made.tracker = SimpleNamespace(
            replicate_started=lambda number, seed, began, whose: made.heard.append(
                ("started", number, seed, whose)
            ),
            point=lambda number, seed, point, whose: made.heard.append((number, seed, whose)),
        )
        return made

    def result(
        self, study: Any, monkeypatch: pytest.MonkeyPatch, training: Training
    ) -> TrainingResult:
        def train(
            order: Any, source: str, tokens: Any, sandbox: Any, checkpoint: Path, *rest: Any
        ) -> TrainingResult:
            on_gate, on_point, watch = rest
            on_gate()
            on_point(CurvePoint(seconds=1.0, step=1, loss=3.0))
            if watch is not None:
                watch.forecast = FORECAST
            return TrainingResult(num_steps=order.seed, log=source)

        class Tokens:
            def __init__(self, seed: int) -> None:
                study.heard.append(("text", seed))

            def __enter__(self) -> None:
                return None

            def __exit__(self, *_: object) -> None:
                study.heard.append("closed")

        study.tokens = Tokens
        monkeypatch.setattr(measurement, "train_replicate", train)
        return train_once(study, training)

    def test_listeners_are_told_whose_it_is(
        self, study: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        study.place = ELSEWHERE
        twin, candidate = next_round(study, under_way())
        told: list[events.Event] = []
        with events.listening(told.append):
            for training in (twin, candidate):
                result = self.result(study, monkeypatch, training)
                assert (result.num_steps, result.log) == (SEEDS[0], training.source)
                assert result.started_at is not None
        assert study.heard[0] == ("started", 1, SEEDS[0], "incumbent")
        assert study.heard[1:4] == [("text", SEEDS[0]), (1, SEEDS[0], "incumbent"), "closed"]
        assert study.heard[4] == ("started", 1, SEEDS[0], "")
        gates = [each for each in told if isinstance(each, events.GateOpened)]
        assert [each.whose for each in gates] == ["incumbent", ""]
        assert [each.whose for each in told if isinstance(each, events.Trained)] == [
            "incumbent",
            "",
        ]

    def test_what_was_foreseen_stands_in_the_result(
        self, study: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        first, _ = next_round(study, under_way())
        assert self.result(study, monkeypatch, first).forecast == FORECAST

    def test_its_names_are_for_people(self, study: Any) -> None:
        study.place = ELSEWHERE
        twin, candidate = next_round(study, under_way())
        assert twin.label == f"1 incumbent seed {SEEDS[0]}"
        assert candidate.label == f"1 candidate seed {SEEDS[0]}"
        assert twin.checkpoint != candidate.checkpoint

    def test_the_incumbents_checkpoint_goes_once_it_is_scored_and_no_sooner(
        self, study: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        study.place = ELSEWHERE
        first, second = next_round(study, under_way())
        assert first.checkpoint != second.checkpoint
        first.checkpoint.write_bytes(b"weights")
        told: list[Any] = []

        def score(*given: Any, **more: Any) -> Evaluation:
            told.append(more["keep_below_bpb"])
            if len(told) == 1:
                raise EvaluationError("It broke.")
            return Evaluation(val_bpb=2.0)

        monkeypatch.setattr(measurement, "evaluate", score)
        with pytest.raises(EvaluationError):
            evaluate_once(study, first)
        assert first.checkpoint.exists(), "another try needs it"
        assert evaluate_once(study, first).val_bpb == 2.0
        assert not first.checkpoint.exists()
        assert told == [first.keep_below_bpb] * 2
        second.checkpoint.write_bytes(b"weights")
        evaluate_once(study, second)
        assert second.checkpoint.exists(), "it may be kept"


FORECAST = Forecast(share=0.5, gap_bpb=0.1, expected_bpb=2.1, needed_bpb=1.99, chance=0.01, pairs=8)


def heard(study: Any, say: Callable[[], None]) -> list[Any]:
    told: list[Any] = []
    with events.listening(told.append):
        say()
    return told


def test_pairs_are_told_with_the_chance_that_the_candidate_is_better() -> None:
    study, mark = session(begun(2.0, 2.1)), under_way(*own(UNCLEAR, UNCLEAR))
    (told,) = heard(study, lambda: say_pairs(study, mark))
    assert (told.study, told.number) == ("night", 1)
    assert [pair.difference_bpb for pair in told.pairs] == pytest.approx([-0.01, -0.11])
    case: Case = judged_case(study, mark)
    assert told.probability_better == decision.weigh(case, told.pairs).belief.better > 0.5


@pytest.mark.parametrize(
    "mark",
    [under_way(), under_way(*own(None)), under_way(*own(0.0, 0.0), proposer="baseline")],
    ids=["none yet", "failed", "baseline"],
)
def test_without_a_pair_nothing_is_told(mark: InFlight) -> None:
    study = session(begun())
    assert heard(study, lambda: say_pairs(study, mark)) == []


def test_the_twins_curve_is_told_over_the_budget() -> None:
    study, mark = session(begun()), under_way()
    (first,) = next_round(study, mark)
    (told,) = heard(study, lambda: say_twin(study, mark, first))
    assert (told.number, told.seed, len(told.curve)) == (1, SEEDS[0], PROFILE_BINS)
    budget = study.settings.sizes.budget_seconds
    assert 0 < told.curve[0].seconds < told.curve[-1].seconds < budget
    assert {point.loss for point in told.curve} == {3.0}
    (baseline,) = next_round(session(), under_way(proposer="baseline"))
    assert heard(study, lambda: say_twin(study, mark, baseline)) == []


def test_a_pruned_training_ends_its_trial() -> None:
    (pruned,) = own(None)
    stopped = {"failure": Reason.PRUNED, "message": "Stopped.", "forecast": FORECAST}
    training = pruned.training.model_copy(update=stopped)
    mark = under_way(pruned.model_copy(update={"training": training}))
    study = session(begun())
    assert asked(study, mark) == []
    verdict = decision.judge(judged_case(study, mark))
    assert isinstance(verdict, Decision)
    assert (verdict.reason, verdict.pairs) == (Reason.PRUNED, ())
    assert verdict.difference_bpb == pytest.approx(0.1)


def test_the_code_that_is_trained_is_the_commits() -> None:
    study = session(begun(), place=ELSEWHERE, lanes=2)
    twin, candidate = next_round(study, under_way())
    assert (twin.source, candidate.source) == ("DEPTH = 4\n", "DEPTH = 6\n")
    assert {measurement.subject_commit(under_way(), each) for each in Subject} == {
        BASELINE,
        CANDIDATE,
    }
