"""Optuna's part of the knob proposer: a few knobs near the incumbent, values drawn by TPE.

TPE learns from every scored trial of the study, kept or not, whoever proposed it; each knob is
modelled on its own, for a joint model of twenty knobs needs more trials than a night has. A crash
of a knob trial counts as worse than the worst score, so that TPE keeps away from where memory or
time ran out; a crash of an edit in code says nothing about knobs, and a failure of the machinery
nothing at all.
"""

import random
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from nightlab.proposers.brief import Brief
from nightlab.proposers.knobs.history import TUNER
from nightlab.proposers.knobs.space import is_in_space, is_near_value, search_space, tidy
from nightlab.records import Reason, TrialRecord, Verdict
from nightlab.source.knobs import Knob, Value, read_knobs

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution
    from optuna.samplers import BaseSampler
    from optuna.study import Study

MOVED_KNOBS = (1, 1, 1, 2, 2, 3)
"""How many knobs a trial moves: one of these, each as likely as the next."""
NEIGHBOURHOOD = 0.25
"""How far a knob moves at most, as a share of its range, while anything in there is open."""
STARTUP_TRIALS = 8
"""Scored trials before TPE takes over from random values."""
ATTEMPTS_PER_REACH = 100


def tpe_sampler(seed: int) -> "BaseSampler":
    """What draws the values (docs/decisions/0012-knobs-and-hybrid.md: the others tried)."""
    import optuna

    return optuna.samplers.TPESampler(seed=seed, n_startup_trials=STARTUP_TRIALS)


def drawn_move(
    brief: Brief,
    knobs: Mapping[str, Knob],
    sampler: "BaseSampler",
    seed: int,
    *,
    first: Collection[str],
    is_open: Callable[[Mapping[str, Value]], bool],
) -> dict[str, Value] | None:
    """New values of one to three knobs; None where nothing in reach is open.

    One of the knobs in ``first`` is moved in any case; ``is_open`` says whether a move may be made,
    and was not tried.
    """
    import optuna

    chance = random.Random(seed)
    for reach in (NEIGHBOURHOOD, 1.0):
        spaces = {name: search_space(knob, reach) for name, knob in knobs.items()}
        study = told_study(brief, spaces, sampler)
        for _ in range(ATTEMPTS_PER_REACH):
            names = chance.sample(sorted(knobs), min(chance.choice(MOVED_KNOBS), len(knobs)))
            if first and not set(names) & set(first):
                names[0] = chance.choice(sorted(first))
            asked = study.ask({name: spaces[name] for name in names})
            changes = {name: tidy(knobs[name], asked.params[name]) for name in names}
            moved = {
                name: value
                for name, value in changes.items()
                if not is_near_value(knobs[name], value, knobs[name].value)
            }
            if moved and is_open(moved):
                return moved
            study.tell(asked, state=optuna.trial.TrialState.FAIL)
    return None


def told_study(
    brief: Brief, spaces: Mapping[str, "BaseDistribution"], sampler: "BaseSampler"
) -> "Study":
    """An Optuna study in memory that has been told the study's history."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    study = optuna.create_study(sampler=sampler, direction="minimize")
    scores = {record.commit: record.val_bpb for record in brief.records}
    known = [score for score in scores.values() if score is not None]
    for record in brief.records:
        _tell(study, record.knobs, _told_score(record, scores, known), spaces)
    if brief.incumbent_bpb is not None and brief.incumbent_commit not in scores:
        values = {name: knob.value for name, knob in read_knobs(brief.incumbent_source).items()}
        _tell(study, values, brief.incumbent_bpb, spaces)
    return study


def _told_score(
    record: TrialRecord, scores: Mapping[str, float | None], known: Sequence[float]
) -> float | None:
    """What Optuna is told of a trial, in bits per byte; None says that it failed."""
    if record.val_bpb is not None:
        return record.val_bpb
    if record.reason is Reason.PRUNED:
        # The forecast counts all that is far behind as just behind: a mild word, but a score.
        stood, behind = scores.get(record.parent), record.decision.difference_bpb
        if stood is not None and behind is not None:
            return stood + behind
        forecasts = (each.training.forecast for each in record.replicates)
        return next((each.expected_bpb for each in forecasts if each is not None), None)
    if record.verdict is Verdict.CRASH and record.proposer == TUNER and known:
        return 2 * max(known) - min(known)
    return None


def _tell(
    study: "Study",
    values: Mapping[str, Any],
    score: float | None,
    spaces: Mapping[str, "BaseDistribution"],
) -> None:
    """Add a finished trial, with those of its values that lie where Optuna now searches."""
    import optuna

    told = {}
    for name, space in spaces.items():
        value = values.get(name)
        if is_in_space(space, value):
            told[name] = value
    complete = optuna.trial.TrialState.COMPLETE
    study.add_trial(
        optuna.trial.create_trial(
            state=complete if score is not None else optuna.trial.TrialState.FAIL,
            value=score,
            params=told,
            distributions={name: spaces[name] for name in told},
        )
    )
