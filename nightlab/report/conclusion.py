"""What came out of a study, in sentences: what was gained, how sure that is, and what is next."""

from nightlab.judging.score_text import false_keeps_sentence
from nightlab.judging.scores import expected_false_keeps
from nightlab.judging.verdict_sentence import percent
from nightlab.records import TrialRecord
from nightlab.report.study import Study

MANY_FALSE = 0.5
"""Expected false keeps from which finding them is the next thing to do."""


def gain_sentence(study: Study) -> str:
    """What the study gained, in one sentence."""
    baseline, incumbent, gain = study.baseline, study.incumbent, study.gain_bpb
    before, now = study.baseline_bpb, study.incumbent_bpb
    if baseline is None or incumbent is None or gain is None or not before or now is None:
        return "No baseline has been scored yet, so there is nothing to compare with."
    if baseline.number == incumbent.number:
        return f"Nothing has been kept yet: the baseline stands at {before:.4f} bits per byte."
    if study.confirmation is not None and not study.confirmation.holds:
        return study.confirmation.sentence
    share = 100 * abs(gain) / before
    word = "fewer" if gain >= 0 else "more"
    return (
        f"From {before:.4f} to {now:.4f} bits per byte: "
        f"{abs(gain):.4f} {word} ({share:.1f}\N{NO-BREAK SPACE}%)."
    )


def certainty_sentences(study: Study) -> list[str]:
    """How sure the gain is: what a confirmation said, and how many keeps help nothing."""
    said = []
    if study.improvements():
        if study.confirmation is None:
            said.append(f"Not confirmed yet: `nightlab confirm {study.name}` tries it on new text.")
        elif study.confirmation.holds:
            said.append(study.confirmation.sentence)
    passengers = false_keeps_sentence(study.name, study.records)
    return [*said, passengers] if passengers else said


def largest_change(study: Study) -> TrialRecord | None:
    """The kept change that is expected to gain most; None where nothing was improved."""
    return max(study.improvements(), key=_gain_of, default=None)


def largest_change_sentence(study: Study) -> str:
    """Which change did it; empty where nothing was improved."""
    record = largest_change(study)
    if record is None:
        return ""
    most = "Most of it came from" if len(study.improvements()) > 1 else "It came from"
    sure = record.decision.probability_better
    chance = "" if sure is None else f"; the chance that it is better is {percent(sure)}"
    return f"{most} trial {record.number}, “{record.title}”: {_gain_of(record):.4f} bpb{chance}."


def next_step(study: Study, *, asked_models: bool) -> str:
    """What to try next, as a clause with its command.

    Args:
        study: as it stands.
        asked_models: whether a model or a command had ideas in it.
    """
    name = study.name
    if study.confirmation is not None and not study.confirmation.holds:
        return f"the gain did not hold; find the changes that do: nightlab consolidate {name}"
    if expected_false_keeps(study.records) >= MANY_FALSE:
        return f"find the changes that help nothing: nightlab consolidate {name}"
    if not asked_models:
        return f"now with a model: nightlab research --study {name} --model PROVIDER/NAME"
    if not study.improvements():
        return f"tell it what to try: nightlab suggest {name} 'YOUR IDEA', then the same again"
    return f"go on from here: nightlab research --study {name}"


def _gain_of(record: TrialRecord) -> float:
    decision = record.decision
    if decision.expected_gain_bpb is not None:
        return decision.expected_gain_bpb
    return -(decision.difference_bpb or 0.0)


def noise_sentence(study: Study) -> str:
    """How far a measurement is off by chance; empty before there is one."""
    if study.pair_noise_bpb is not None:
        return f"By chance a single pair of trainings is off by {study.pair_noise_bpb:.4f} or so."
    if study.seed_noise_bpb is not None:
        return f"By chance a single training is off by {study.seed_noise_bpb:.4f} or so."
    return ""
