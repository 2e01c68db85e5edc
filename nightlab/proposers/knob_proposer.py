"""The proposer without a language model: Optuna over the knobs that ``train.py`` declares.

A night gives tens of trials for about twenty knobs, so nothing here searches the whole
space. Each trial moves one to three knobs, drawn at random (half of the trials move one),
and leaves the others as the incumbent has them. How far they move is bounded by a
neighbourhood: a quarter of a knob's range to either side of the incumbent's value, on the
knob's own scale, and at least one step for whole numbers. Inside it the first values are
random, and from ``STARTUP_TRIALS`` scored trials on they are drawn by TPE, which learns
from every scored trial of the study, kept or not, whoever proposed it. TPE treats each knob
on its own: a joint model of twenty knobs needs more trials than a night has.

A kept trial counts as what all trainings of its code came to, those that later trials added
included: its own were lucky ones, or it would not have been kept, and TPE would chase them.
A crash of a knob trial counts as worse than the worst score, so that TPE keeps away from
where memory or time ran out. A crash of an edit in code says nothing about knobs, and a
failure of the machinery nothing at all. A combination that was tried, or one too near to
it to matter, is not proposed again.
What an edit changed about the knobs is seen at once: those that it removed are left out, and one
that it brought is moved first, since its value was never tuned.

Nothing is stored: the study is rebuilt from the records each time, and the randomness
depends on the study's seed and the trial's number only, so that a resumed trial gets the
same idea.
"""

import hashlib
import random
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from nightlab.errors import UsageError
from nightlab.judging.scores import incumbent_evidence, mean_bpb
from nightlab.proposers.brief import Brief
from nightlab.proposers.edits import edit_between
from nightlab.proposers.knob_space import (
    is_in_space,
    is_near,
    is_near_value,
    search_space,
    tidy,
)
from nightlab.proposers.knobs import Knob, Value, read_knobs, set_knobs
from nightlab.records import Proposal, Reason, TrialRecord, Verdict
from nightlab.settings import TRAINER_FILE

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution
    from optuna.samplers import BaseSampler
    from optuna.study import Study

MOVED_KNOBS = (1, 1, 1, 2, 2, 3)
"""How many knobs a trial moves: one of these, each as likely as the next."""
NEIGHBOURHOOD = 0.25
"""How far a knob moves at most, as a share of its range."""
VALUES_OF_NEW = 3
"""A knob that an edit brought is moved until it was tried at so many values."""
STARTUP_TRIALS = 8
"""Scored trials before TPE takes over from random values."""
ATTEMPTS_PER_REACH = 100


def tpe_sampler(seed: int) -> "BaseSampler":
    """What draws the values (docs/decisions/0012-knobs-and-hybrid.md: the others tried)."""
    import optuna

    return optuna.samplers.TPESampler(seed=seed, n_startup_trials=STARTUP_TRIALS)


class KnobProposer:
    """Moves a few declared knobs at a time; needs no key and no network."""

    name = "knobs"
    model: str | None = None
    reads = False
    needs_money = False

    def __init__(self, sampler: Callable[[int], "BaseSampler"] = tpe_sampler) -> None:
        self._sampler = sampler

    def propose(self, brief: Brief, first: Collection[str] = ()) -> Proposal:
        """Propose values for one to three knobs.

        Args:
            brief: the state of the study.
            first: knobs of which one is moved in any case.

        Raises:
            UsageError: no knob is declared, or every combination in reach was tried.
        """
        knobs = read_knobs(brief.incumbent_source)
        if not knobs:
            raise UsageError(
                f"The knobs proposer needs UPPERCASE constants with ranges in {TRAINER_FILE}, such "
                "as `DEPTH = 4  # 2..12`, and found none: declare some, or name a model with "
                "--model."
            )
        scored = [record for record in brief.records if record.val_bpb is not None]
        new = new_knobs(knobs, brief.records)
        changes = _choose(knobs, brief, first or new, self._sampler(_seed(brief)))
        edits = edit_between(brief.incumbent_source, set_knobs(brief.incumbent_source, changes))
        title = ", ".join(
            f"{name} {_shown(knobs[name].value)} → {_shown(value)}"
            for name, value in changes.items()
        )
        how = (
            f"values are drawn by TPE from {len(scored)} scored trials"
            if len(scored) >= STARTUP_TRIALS
            else f"values are drawn at random until {STARTUP_TRIALS} trials are scored"
        )
        return Proposal(
            title=title,
            hypothesis=f"Moving {len(changes)} of {len(knobs)} knobs near the incumbent may "
            f"lower val_bpb: {how}.{_told(new, gone_knobs(knobs, brief.records))}",
            edits=edits,
            proposer=self.name,
        )

    def repair(self, brief: Brief, proposal: Proposal, problem: str) -> Proposal | None:
        """Return None: values are drawn without knowing what a crash means."""
        return None


def new_knobs(knobs: Mapping[str, Knob], records: Sequence[TrialRecord]) -> set[str]:
    """Knobs that an edit brought and that were hardly tuned since: their values are a guess."""
    scored = [record.knobs for record in records if record.val_bpb is not None]
    found = set()
    for name, knob in knobs.items():
        enough = min(VALUES_OF_NEW, len(knob.choices or ()) or VALUES_OF_NEW)
        values = {known[name] for known in scored if name in known}
        if len(values) < enough and any(name not in known for known in scored):
            found.add(name)
    return found


def gone_knobs(knobs: Mapping[str, Knob], records: Sequence[TrialRecord]) -> set[str]:
    """Knobs of the last kept trials before this incumbent that it has no more."""
    kept = [record.knobs for record in records if record.verdict is Verdict.KEEP]
    return set(kept[-2]) - set(knobs) if len(kept) > 1 else set()


def _told(new: Collection[str], gone: Collection[str]) -> str:
    parts = []
    if new:
        parts.append(f" An edit brought {', '.join(sorted(new))}, to be tuned first.")
    if gone:
        parts.append(f" The last kept edit removed {', '.join(sorted(gone))}.")
    return "".join(parts)


def _choose(
    knobs: Mapping[str, Knob], brief: Brief, first: Collection[str], sampler: "BaseSampler"
) -> dict[str, Value]:
    """The knobs to move and their values; wider when the neighbourhood is exhausted."""
    import optuna

    chance = random.Random(_seed(brief))
    standing = {name: knob.value for name, knob in knobs.items()}
    tried = [standing]
    tried += [record.knobs for record in brief.records if record.verdict is not Verdict.FAILED]
    for reach in (NEIGHBOURHOOD, 1.0):
        spaces = {name: search_space(knob, reach) for name, knob in knobs.items()}
        study = _study_of(brief, spaces, sampler)
        for _ in range(ATTEMPTS_PER_REACH):
            count = min(chance.choice(MOVED_KNOBS), len(knobs))
            names = chance.sample(sorted(knobs), count)
            if first and not set(names) & set(first):
                names[0] = chance.choice(sorted(first))
            asked = study.ask({name: spaces[name] for name in names})
            changes = {name: tidy(knobs[name], asked.params[name]) for name in names}
            moved = {
                name: value
                for name, value in changes.items()
                if not is_near_value(knobs[name], value, standing[name])
            }
            idea = standing | moved
            if not any(is_near(knobs, idea, earlier) for earlier in tried):
                return moved
            study.tell(asked, state=optuna.trial.TrialState.FAIL)
    raise UsageError(
        f"The knobs proposer found no combination of the {len(knobs)} knobs in {TRAINER_FILE} that "
        f"study {brief.study!r} has not tried: widen ranges, declare more knobs, or name a model "
        "with --model."
    )


def _seed(brief: Brief) -> int:
    text = f"{brief.seed}/{brief.number}".encode()
    return int.from_bytes(hashlib.blake2b(text, digest_size=4).digest())


def _study_of(
    brief: Brief, spaces: Mapping[str, "BaseDistribution"], sampler: "BaseSampler"
) -> "Study":
    """An Optuna study in memory that has been told the study's history."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    study = optuna.create_study(sampler=sampler, direction="minimize")
    scores = [record.val_bpb for record in brief.records if record.val_bpb is not None]
    for record in brief.records:
        score = _told_score(record, scores)
        if record.verdict is Verdict.KEEP:
            score = mean_bpb(incumbent_evidence(brief.records, record.commit)) or score
        _tell(study, record.knobs, score, spaces)
    is_recorded = any(record.commit == brief.incumbent_commit for record in brief.records)
    if brief.incumbent_bpb is not None and not is_recorded:
        values = {name: knob.value for name, knob in read_knobs(brief.incumbent_source).items()}
        _tell(study, values, brief.incumbent_bpb, spaces)
    return study


def _told_score(record: TrialRecord, scores: Sequence[float]) -> float | None:
    """What Optuna is told of a trial, in bits per byte; None says that it failed."""
    if record.val_bpb is not None:
        return record.val_bpb
    if record.reason is Reason.PRUNED:
        # The forecast counts all that is far behind as just behind: a mild word, but a score.
        return next(
            (
                each.training.forecast.expected_bpb
                for each in record.replicates
                if each.training.forecast is not None
            ),
            None,
        )
    if record.verdict is Verdict.CRASH and record.proposer == KnobProposer.name and scores:
        return 2 * max(scores) - min(scores)
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


def _shown(value: Value) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)
