import dataclasses
import math
import random
from statistics import fmean

import pytest

from nightlab.judging import decision, screening, verdict_sentence
from nightlab.judging.case import compare, compare_turns, noise_of, turns
from nightlab.judging.decision import Subject, alpha_at, decide_baseline, judge
from nightlab.judging.scores import counted_scores
from nightlab.records import Decision, Evaluation, Reason, Replicate, TrainingResult, Verdict
from tests.case_samples import STANDING, WELL_KNOWN, case, in_turn, replicate, verdict


def test_one_training_screens() -> None:
    assert judge(case()) is Subject.CANDIDATE
    assert verdict(judge(case(1.999, incumbent=WELL_KNOWN))) is Reason.WITHIN_NOISE
    assert verdict(judge(case(2.1))) is Reason.REGRESSION
    assert judge(case(1.985, incumbent=WELL_KNOWN)) is Subject.CANDIDATE
    assert judge(case(1.9)) is Subject.CANDIDATE, "one seed never keeps"


def test_what_survives_is_kept_as_soon_as_the_evidence_suffices() -> None:
    kept = judge(case(1.9, 1.91))
    assert verdict(kept) is Reason.IMPROVED
    assert kept.verdict is Verdict.KEEP
    assert kept.evidence >= kept.evidence_needed
    assert (kept.replicates, kept.incumbent_replicates) == (2, 3)
    assert kept.difference_bpb == pytest.approx(-0.095)
    low, high = kept.interval_bpb
    assert low < -0.095 < high < 0
    assert "1.9050 bpb against 2.0000, better by 0.0950" in kept.sentence
    assert "2 seeds against 3" in kept.sentence


def test_nothing_is_kept_before_the_incumbent_was_trained_beside_it() -> None:
    # Twenty old trainings, and a machine that is another one since.
    old = (2.05, 2.051, 2.049, 2.05) * 5
    for found in (
        case(1.9, 1.91, incumbent=old),
        case(*[2.05] * 4, incumbent=old, saves_code=True),
    ):
        assert judge(found).verdict is Verdict.KEEP
        assert judge(dataclasses.replace(found, incumbent_anew=())) is Subject.INCUMBENT
        slowed = [
            in_turn(replicate(2.3, 500 + turn), turn).model_copy(update={"contended": True})
            for turn in (1, 5, 7)
        ]
        assert judge(dataclasses.replace(found, incumbent_anew=slowed[:1])) is Subject.INCUMBENT
        again = dataclasses.replace(found, incumbent_anew=slowed[1:])
        assert judge(again) is Subject.CANDIDATE
        # Where other work does not let it be measured, that is not waited for, and nothing kept.
        ended = judge(dataclasses.replace(found, incumbent_anew=slowed))
        assert (ended.verdict, ended.reason) == (Verdict.DISCARD, Reason.WITHIN_NOISE)
        assert "kept the incumbent from being measured" in ended.sentence


def test_an_improvement_has_to_gain_on_the_trainings_next_to_its_own_too() -> None:
    old, candidate = (2.05,) * 20, (2.0, 2.001, 1.999, 2.0)
    assert judge(case(*candidate, incumbent=(*old, *[2.05] * 3), anew=3)) is Subject.INCUMBENT
    held = judge(case(*candidate, incumbent=(*old, *[2.05] * 4), anew=4))
    assert verdict(held) is Reason.IMPROVED
    assert "times on the incumbent's 4 trainings next to its own, better by 0.0500" in held.sentence
    # The machine is faster since: it goes on, and is not kept.
    assert judge(case(*candidate, incumbent=(*old, *[2.001] * 4), anew=4)) is Subject.CANDIDATE
    limit = decision.REPLICATE_LIMIT
    own = [2.0 + 0.01 * (-1) ** index for index in range(limit)]
    others = [2.001 + 0.01 * (-1) ** (index // 2) for index in range(limit)]
    faster = judge(case(*own, incumbent=(*old, *others), anew=limit))
    assert verdict(faster) is Reason.WITHIN_NOISE
    assert faster.evidence > faster.evidence_needed
    assert "16 trainings next to its own the gain is +0.0010, only" in faster.sentence


def test_trainings_next_to_each_other_are_those_that_followed_at_once() -> None:
    found = case(1.9, 1.9, incumbent=(2.0, 2.1, 2.2, 2.3, 2.4), anew=2)
    assert [other.val_bpb for _, other in turns(found)] == [2.3, 2.4]
    # Of several between two of the candidate's the first, and of none, none.
    late = [in_turn(each, turn) for each, turn in zip(found.candidate, (0, 4), strict=True)]
    several = dataclasses.replace(found, candidate=late)
    assert [other.val_bpb for _, other in turns(several)] == [2.3]
    assert judge(several) is Subject.INCUMBENT
    crowded = [each.model_copy(update={"contended": True}) for each in found.incumbent[3:]]
    alone = dataclasses.replace(found, incumbent=(*found.incumbent[:3], *crowded))
    assert turns(alone) == []


def test_what_the_machine_does_to_both_of_a_turn_hides_no_gain() -> None:
    # Spells of many a sigma, in which both codes train: only the differences are quiet.
    spells = [0.1 * (-1) ** (index // 2) for index in range(6)]
    wiggle = [0.002 * (index % 3 - 1) for index in range(6)]
    own = [1.982 + spell + each for spell, each in zip(spells, wiggle, strict=True)]
    others = tuple(2.0 + spell for spell in spells)
    found = case(*own, incumbent=((2.0,) * 20 + others), anew=6)
    alone = compare(own, others, noise_of(found))
    on_turns = compare_turns(found)
    assert on_turns.by_noise == alone
    quiet = on_turns.by_differences
    assert quiet.gain == pytest.approx(alone.gain)
    assert quiet.degrees_of_freedom == 5
    # By hand: differences of 0.018 less -0.002, 0 and 0.002, twice; one training's is 1/√2 of it.
    assert quiet.sigma == pytest.approx(0.002 * (4 / 5) ** 0.5 / 2**0.5)
    assert quiet.evidence() > decision.NEEDED_ON_DIFFERENCES
    assert alone.evidence() < decision.NEEDED_ON_TURNS
    assert compare_turns(case(1.9, incumbent=(2.0,) * 20, anew=1)) is None


def test_differences_that_lie_close_keep_what_the_noise_would_hide() -> None:
    spells = [0.05 * (-1) ** (index // 2) for index in range(8)]
    wiggle = [0.002 * (index % 3 - 1) for index in range(8)]
    own = [1.96 + spell + each for spell, each in zip(spells, wiggle, strict=True)]
    others = [2.0 + spell for spell in spells]
    # As if the machine had become faster since: on all trainings together any gain is certain.
    slower = (2.15, 2.05) * 20
    found = case(*own, incumbent=(*slower, *others), anew=8)
    assert compare_turns(found).by_noise.evidence() < decision.NEEDED_ON_TURNS
    kept = judge(found)
    assert verdict(kept) is Reason.IMPROVED
    assert "times by the spread of those differences" in kept.sentence
    # Differences that lie as far apart as the scores do not.
    mixed = [other - 0.04 for other in reversed(others)]
    assert judge(case(*mixed, incumbent=(*slower, *others), anew=8)) is Subject.CANDIDATE


def test_a_training_without_a_turn_of_the_incumbent_beside_it_adds_nothing_to_the_turns() -> None:
    found = case(*[1.9] * 5, incumbent=(2.0,) * 20, anew=5)
    slowed = [
        each.model_copy(update={"contended": each.turn in (3, 5, 7)}) for each in found.incumbent
    ]
    found = dataclasses.replace(found, incumbent=slowed, incumbent_anew=slowed[-5:])
    assert [each.turn for each, _ in turns(found)] == [0, 8]
    assert compare_turns(found).by_differences.candidate_count == 2


def test_what_falls_behind_later_is_discarded_then() -> None:
    assert judge(case(1.985, incumbent=WELL_KNOWN)) is Subject.CANDIDATE
    assert verdict(judge(case(1.985, 2.01, incumbent=WELL_KNOWN))) is Reason.WITHIN_NOISE


def test_a_trial_ends_at_the_limit_and_says_what_was_missing() -> None:
    weak = [1.99 + (-1) ** index * 0.01 for index in range(decision.REPLICATE_LIMIT)]
    strong = (1.99, 2.01) * 9
    ended = judge(case(*weak, incumbent=strong))
    assert verdict(ended) is Reason.WITHIN_NOISE
    found = f"{verdict_sentence.times(ended.evidence)} times likelier if it is better than if not"
    assert f"after so many seeds only {found}, and 101 were needed" in ended.sentence


def test_a_sentence_names_what_decided() -> None:
    screened = judge(case(1.999, incumbent=WELL_KNOWN))
    asked = screening.LEAST_GAIN * screened.noise_bpb
    assert f"a gain of {asked:.4f} is needed to go on" in screened.sentence
    assert "worse by more than noise of ±" in judge(case(2.02)).sentence
    assert "101 were needed, with 0 trials judged before it" in judge(case(1.9, 1.91)).sentence
    late = judge(case(1.9, 1.91, earlier_trials=1))
    assert "with 1 trial judged before it" in late.sentence
    clear = judge(case(*[1.5] * 4, incumbent=WELL_KNOWN))
    assert "more than 1,000,000 times likelier" in clear.sentence


def test_later_trials_need_more_evidence_and_all_shares_add_up() -> None:
    shares = [alpha_at(trial) for trial in range(100_000)]
    assert shares == sorted(shares, reverse=True)
    assert math.fsum(shares[:100]) == pytest.approx(decision.ERROR_RATE / 2)
    assert math.fsum(shares) == pytest.approx(decision.ERROR_RATE, rel=2e-3)


def test_shorter_code_that_is_no_worse_is_kept() -> None:
    four, five = (*STANDING, 2.0), (*STANDING, 2.0, 2.0)
    assert judge(case(2.005, saves_code=True)) is Subject.CANDIDATE
    assert judge(case(2.005, incumbent=WELL_KNOWN, anew=0, saves_code=True)) is Subject.INCUMBENT
    assert judge(case(2.0, 2.0, 2.0, 2.001, incumbent=four, saves_code=True)) is Subject.INCUMBENT
    kept = judge(case(2.0, 2.0, 2.0, 2.001, incumbent=five, saves_code=True))
    assert (kept.verdict, kept.reason) == (Verdict.KEEP, Reason.SIMPLER)
    assert verdict(judge(case(2.03, saves_code=True))) is Reason.REGRESSION
    assert verdict(judge(case(2.005, incumbent=WELL_KNOWN))) is Reason.WITHIN_NOISE


def test_simplifications_in_a_row_may_lose_no_more_than_one_alone() -> None:
    # Each is no worse than the one before it, and together they are.
    found = case(*[2.004] * 4, incumbent=(*STANDING, 2.0, 2.0), saves_code=True)
    assert verdict(judge(found)) is Reason.SIMPLER
    settled = case(*[2.004] * 4, incumbent=WELL_KNOWN, saves_code=True)
    lost = dataclasses.replace(settled, reference_bpb=1.996)
    assert verdict(judge(lost)) is Reason.WITHIN_NOISE


def test_contended_replicates_decide_nothing() -> None:
    slowed = replicate(2.3, seed=7).model_copy(update={"contended": True})
    base = case(1.9, 1.91)
    judged = judge(dataclasses.replace(base, candidate=[*base.candidate, slowed]))
    assert judged == judge(base)
    assert judge(dataclasses.replace(base, candidate=[slowed])) is Subject.CANDIDATE
    always = case(*[1.9, 1.91] * 3, incumbent=WELL_KNOWN)
    slow = [each.model_copy(update={"contended": True}) for each in always.candidate]
    assert verdict(judge(dataclasses.replace(always, candidate=slow))) is Reason.IMPROVED


def test_where_most_trainings_of_the_incumbent_are_contended_those_next_to_it_count_too() -> None:
    found = case(1.9, 1.91, incumbent=(2.0,) * 5, anew=2)
    slow = [each.model_copy(update={"contended": True}) for each in found.incumbent]
    usual = dataclasses.replace(found, incumbent=slow, incumbent_anew=slow[-2:])
    assert verdict(judge(usual)) is verdict(judge(found)) is Reason.IMPROVED


def test_scores_that_never_differ_keep_nothing_for_improvement() -> None:
    still = case(2.0, incumbent=(2.0, 2.0, 2.0), other_noise=None)
    assert verdict(judge(still)) is Reason.WITHIN_NOISE


def test_scores_that_lie_closer_than_the_audit_can_tell_are_no_closer() -> None:
    def audited(score: float, seed: int) -> Replicate:
        evaluation = Evaluation(val_bpb=score, standard_error=0.01)
        return Replicate(seed=seed, training=TrainingResult(), evaluation=evaluation)

    judged = judge(
        dataclasses.replace(
            case(other_noise=None),
            candidate=[audited(1.999, 1)],
            incumbent=[audited(2.0 + seed / 1e6, seed) for seed in range(16)],
        )
    )
    assert verdict(judged) is Reason.WITHIN_NOISE
    assert judged.noise_bpb == pytest.approx(0.01)


def test_many_exact_audits_of_the_incumbent_hide_no_inexact_one_of_the_candidate() -> None:
    def audited(score: float, error: float, seed: int) -> Replicate:
        evaluation = Evaluation(val_bpb=score, standard_error=error)
        return Replicate(seed=seed, training=TrainingResult(), evaluation=evaluation)

    exact = [audited(2.0 + (-1) ** seed / 1000, 1e-9, 100 + seed) for seed in range(20)]
    inexact = [audited(1.95, 0.05, seed) for seed in range(2)]
    exact[-1] = in_turn(exact[-1], 1)
    found = dataclasses.replace(
        case(), candidate=inexact, incumbent=exact, incumbent_anew=exact[-1:], other_noise=None
    )
    # Two such scores have a mean of the error 0.05 / sqrt(2), and the difference no less.
    comparison = compare(counted_scores(inexact), counted_scores(exact), noise_of(found))
    assert comparison.standard_error == pytest.approx(0.05 / math.sqrt(2))
    assert judge(found) is Subject.CANDIDATE
    # Nor does a row of turns whose differences happen to be alike.
    beside = [in_turn(each, 2 * place + 1) for place, each in enumerate(exact[::2][:2])]
    inexact = [in_turn(each, 2 * place) for place, each in enumerate(inexact)]
    found = dataclasses.replace(found, candidate=inexact, incumbent_anew=beside, incumbent=beside)
    assert compare_turns(found).by_differences.sigma > 0.03


def test_what_could_be_kept_is_what_passes_the_screen() -> None:
    for known in ((2.0,) * screening.LEAST_KNOWN, WELL_KNOWN):
        bound = decision.could_be_kept_below_bpb(case(incumbent=known))
        assert judge(case(bound - 1e-4, incumbent=known)) is Subject.CANDIDATE
        assert judge(case(bound + 1e-3, incumbent=known)) is not Subject.CANDIDATE
        doubtful = decision.could_be_kept_below_bpb(case(incumbent=known), in_doubt=True)
        assert isinstance(judge(case(doubtful + 1e-3, incumbent=known)), Decision)
    assert doubtful == bound, "the incumbent is settled"
    doubtful = decision.could_be_kept_below_bpb(case(), in_doubt=True)
    assert judge(case(doubtful - 1e-3)) is Subject.INCUMBENT
    assert decision.could_be_kept_below_bpb(case(saves_code=True)) > 2.0
    for few in ((), (2.0,)):
        assert decision.could_be_kept_below_bpb(case(incumbent=few, other_noise=None)) == math.inf


@pytest.mark.parametrize(("gain_sigmas", "least", "most"), [(0.0, 0.0, 0.02), (3.0, 0.85, 1.0)])
def test_luck_keeps_little_and_gains_keep_much(gain_sigmas, least, most) -> None:
    """A small simulation of first trials; bench/decisions.py has the large one."""
    draw, trials, kept, screened_out = random.Random(1), 200, 0, 0
    for _ in range(trials):
        scores = {
            Subject.CANDIDATE: [],
            Subject.INCUMBENT: [draw.gauss(2.0, 0.01) for _ in range(3)],
        }
        means = {Subject.CANDIDATE: 2.0 - 0.01 * gain_sigmas, Subject.INCUMBENT: 2.0}
        while True:
            judged = judge(
                case(
                    *scores[Subject.CANDIDATE],
                    incumbent=tuple(scores[Subject.INCUMBENT]),
                    anew=len(scores[Subject.INCUMBENT]) - 3,
                    other_noise=None,
                )
            )
            if isinstance(judged, Decision):
                break
            scores[judged].append(draw.gauss(means[judged], 0.01))
        screened_out += len(scores[Subject.CANDIDATE]) == 1
        kept += judged.verdict is Verdict.KEEP
    assert least <= kept / trials <= most
    if not gain_sigmas:
        assert screened_out / trials > 0.6


def test_a_crash_names_the_first_thing_that_failed() -> None:
    crashed = Replicate(
        seed=1, training=TrainingResult(failure=Reason.OOM, message="It ran out of memory.")
    )
    made = judge(dataclasses.replace(case(), candidate=[crashed]))
    assert (made.verdict, made.reason) == (Verdict.CRASH, Reason.OOM)
    assert made.sentence == "It ran out of memory."
    assert made.difference_bpb is None


def test_a_failure_that_other_work_may_bring_about_is_tried_once_more_after_a_score() -> None:
    def failing(reason: Reason, seed: int) -> Replicate:
        return Replicate(seed=seed, training=TrainingResult(failure=reason, message="It failed."))

    late, again = failing(Reason.TIMEOUT, 8), failing(Reason.OOM, 9)
    scored = case(1.985, incumbent=WELL_KNOWN)
    with_one = dataclasses.replace(scored, candidate=[*scored.candidate, late])
    assert judge(with_one) is judge(scored) is Subject.CANDIDATE
    with_two = dataclasses.replace(scored, candidate=[*with_one.candidate, again])
    assert verdict(judge(with_two)) is Reason.OOM
    first = dataclasses.replace(scored, candidate=[late, *scored.candidate])
    assert verdict(judge(first)) is Reason.TIMEOUT
    for reason in (Reason.AUDIT, Reason.EXCEPTION, Reason.NONFINITE):
        broken = dataclasses.replace(scored, candidate=[*scored.candidate, failing(reason, 8)])
        assert verdict(judge(broken)) is reason


def test_an_evaluation_that_fails_is_a_crash_too() -> None:
    broken = Replicate(
        seed=1,
        training=TrainingResult(),
        evaluation=Evaluation(failure=Reason.NONFINITE, message="A loss was not finite."),
    )
    made = decide_baseline([replicate(2.0), broken])
    assert (made.verdict, made.reason) == (Verdict.CRASH, Reason.NONFINITE)


def test_a_baseline_is_the_mean_of_its_seeds() -> None:
    made = decide_baseline([replicate(s) for s in (1.9, 2.0, 2.1)])
    assert (made.verdict, made.reason) == (Verdict.KEEP, Reason.BASELINE)
    assert f"{fmean((1.9, 2.0, 2.1)):.4f}" in made.sentence


def test_a_baseline_says_which_seeds_do_not_count() -> None:
    slowed = replicate(2.6).model_copy(update={"contended": True})
    excused = Replicate(seed=9, training=TrainingResult(failure=Reason.OOM, message="No room."))
    made = decide_baseline([replicate(1.9), excused, slowed, replicate(2.1)])
    assert made.sentence == (
        "Baseline 2.0000 bpb, the mean of 2 seeds (1.9000, 2.1000); 1 contended, left out."
    )


def test_seeds_that_change_nothing_break_the_contract() -> None:
    def trained(seed: int, loss: float) -> Replicate:
        return Replicate(
            seed=seed,
            training=TrainingResult(final_loss=loss),
            # Scores vary with the audit's draw, even of the same weights.
            evaluation=Evaluation(val_bpb=2.0 + seed * 1e-9, claimed_bpb=2.0),
        )

    made = decide_baseline([trained(1, 3.5), trained(2, 3.4), trained(3, 3.5)])
    assert (made.verdict, made.reason) == (Verdict.CRASH, Reason.CONTRACT)
    assert decide_baseline([trained(1, 3.5), trained(2, 3.4)]).verdict is Verdict.KEEP
