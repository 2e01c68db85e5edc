"""When a study is told that its machine's speed is in its scores."""

import math
import random
from collections.abc import Sequence

import pytest

from nightlab.judging.wandering import find_wandering, wandering_sentence
from nightlab.records import (
    Decision,
    Evaluation,
    Reason,
    Replicate,
    TrainingResult,
    TrialRecord,
    Verdict,
)
from tests.samples import sample_record

MET = (
    # A baseline of the quick preset on two shared cores, 2026-11-29: tokens per second and score.
    *((9218, 2.1035), (8735, 2.1109), (8606, 2.1325), (7320, 2.1855), (6340, 2.2106)),
    *((7527, 2.1639), (8140, 2.1519), (7612, 2.1765), (8349, 2.1405), (8213, 2.1362)),
)
SECONDS = 30


def baseline_of(
    trainings: Sequence[tuple[float, float]], *, code: int = 0, budget_tokens: int | None = None
) -> TrialRecord:
    """A baseline that was trained so often: its rates and scores."""
    replicates = [
        Replicate(
            seed=seed,
            training=TrainingResult(tokens_per_second=rate, num_tokens=round(SECONDS * rate)),
            evaluation=Evaluation(val_bpb=score),
        )
        for seed, (rate, score) in enumerate(trainings)
    ]
    decision = Decision(verdict=Verdict.KEEP, reason=Reason.BASELINE, sentence="Said.")
    made = {"replicates": tuple(replicates), "decision": decision, "budget_tokens": budget_tokens}
    return sample_record(code).model_copy(update=made)


def test_scores_that_follow_the_speed_are_told_of_with_what_mends_it() -> None:
    said = wandering_sentence([baseline_of(MET)])

    assert said is not None
    assert "6,340 to 9,218 tokens per second" in said
    # The median training of those that count: 8,140 and 8,213 tokens a second for 30 s.
    assert said.endswith("--budget-tokens 250000.")


def test_what_is_left_of_the_noise_is_what_a_line_leaves_of_the_scores() -> None:
    found = find_wandering([baseline_of(MET)])

    assert found is not None
    # The spread around a least-squares line.
    logs, scores = [math.log(rate) for rate, _ in MET], [score for _, score in MET]
    at, mean = sum(logs) / len(logs), sum(scores) / len(scores)
    slope = sum((x - at) * (y - mean) for x, y in zip(logs, scores, strict=True)) / sum(
        (x - at) ** 2 for x in logs
    )
    left = [y - mean - slope * (x - at) for x, y in zip(logs, scores, strict=True)]
    spread = math.sqrt(sum(each**2 for each in left) / (len(MET) - 1))
    assert found.own_noise_bpb == pytest.approx(spread)
    assert found.own_noise_bpb < found.noise_bpb / 2


def test_codes_of_other_speeds_and_scores_are_each_compared_with_themselves() -> None:
    draw = random.Random(1)
    # Within a code nothing goes with speed, though the faster code scores better.
    slow = [(draw.gauss(5000, 100), draw.gauss(2.2, 0.01)) for _ in range(6)]
    fast = [(draw.gauss(9000, 180), draw.gauss(2.0, 0.01)) for _ in range(6)]

    assert find_wandering([baseline_of(slow, code=1), baseline_of(fast, code=2)]) is None


@pytest.mark.parametrize(
    "records",
    [
        [],
        [baseline_of(MET[:7])],
        [baseline_of(MET, budget_tokens=250_000)],
        [baseline_of([(8000.0, score) for _, score in MET])],
        [baseline_of([(rate, 2.1) for rate, _ in MET])],
        [baseline_of([(rate, 4.2 - score) for rate, score in MET])],
    ],
    ids=["nothing", "few", "tokens", "one speed", "one score", "faster is worse"],
)
def test_nothing_is_said_where_speed_is_not_in_the_scores(records: list[TrialRecord]) -> None:
    assert wandering_sentence(records) is None


def test_scores_that_do_not_follow_the_speed_seldom_look_it() -> None:
    draw = random.Random(2)
    studies = [
        baseline_of([(draw.gauss(8000, 600), draw.gauss(2.1, 0.02)) for _ in range(8)])
        for _ in range(400)
    ]

    assert sum(find_wandering([study]) is not None for study in studies) <= 20
