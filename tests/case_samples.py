"""Cases of scores for the tests of the decision."""

from statistics import fmean

from nightlab.judging import decision, screening
from nightlab.judging.case import Case
from nightlab.judging.decision import Subject
from nightlab.judging.scores import Noise
from nightlab.records import Decision, Evaluation, Reason, Replicate, TrainingResult

STANDING = (1.99, 2.0, 2.01)
WELL_KNOWN = (2.0,) * screening.SETTLED_AT_FIRST


def replicate(val_bpb: float | None, seed: int = 1) -> Replicate:
    return Replicate(seed=seed, training=TrainingResult(), evaluation=Evaluation(val_bpb=val_bpb))


def in_turn(each: Replicate, turn: int) -> Replicate:
    return each.model_copy(update={"turn": turn})


def case(
    *candidate: float,
    incumbent: tuple[float, ...] = STANDING,
    anew: int = decision.REPLICATE_LIMIT,
    **more,
) -> Case:
    """A case of scores; noise 0.01 with many degrees of freedom, the incumbent trained in turns."""
    standing = [replicate(score, 100 + seed) for seed, score in enumerate(incumbent)]
    before = max(0, len(standing) - anew)
    fresh = [in_turn(each, 2 * place + 1) for place, each in enumerate(standing[before:])]
    standing = standing[:before] + fresh
    own = [in_turn(replicate(score, seed), 2 * seed) for seed, score in enumerate(candidate)]
    values = {
        "candidate": own,
        "incumbent": standing,
        "incumbent_anew": fresh,
        "reference_bpb": fmean(incumbent or [2.0]),
        "other_noise": Noise(sigma_bpb=0.01, degrees_of_freedom=60),
        "earlier_trials": 0,
        "earlier_against": 0,
        "earlier_since_trained": 0,
        "saves_code": False,
    }
    return Case(**(values | more))


def verdict(judged: Decision | Subject) -> Reason:
    assert isinstance(judged, Decision), judged
    return judged.reason
