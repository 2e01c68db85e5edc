"""What came out of a study, in sentences: what was gained, how sure that is."""

from nightlab.judging.score_text import false_keeps_sentence, waiting_sentence
from nightlab.judging.verdict_sentence import percent
from nightlab.proposers.arms import gain_bpb
from nightlab.records import TrialRecord
from nightlab.report.study import Study


def gain_sentence(study: Study) -> str:
    """What the study gained, in one sentence."""
    baseline, incumbent, gain = study.baseline, study.incumbent, study.gain_bpb
    before, now = study.baseline_bpb, study.incumbent_bpb
    if baseline is None or incumbent is None or gain is None or not before or now is None:
        return "No baseline has been scored yet, so there is nothing to compare with."
    if baseline.number == incumbent.number:
        return f"Nothing has been kept yet: the baseline stands at {before:.4f} bits per byte."
    way = f"{before:.4f} to {now:.4f} bits per byte"
    if study.confirmation is not None and not study.confirmation.holds:
        return f"Claimed and NOT confirmed: from {way}."
    share = 100 * abs(gain) / before
    word = "fewer" if gain >= 0 else "more"
    return f"From {way}: {abs(gain):.4f} {word} ({share:.1f}\N{NO-BREAK SPACE}%)."


def certainty_sentences(study: Study) -> list[str]:
    """How sure the gain is: what a confirmation said, and how many keeps help nothing."""
    said = []
    if study.confirmation is not None:
        said.append(study.confirmation.sentence)
    elif study.improvements():
        said.append(f"Not confirmed yet: `nightlab confirm {study.name}` tries it on new text.")
    said.append(false_keeps_sentence(study.name, study.records))
    said.append(waiting_sentence(study.name, study.records))
    return list(filter(None, said))


def sandbox_sentence(study: Study) -> str:
    """That one job could tell the next what it saw; empty where every trial's sandbox kept it."""
    rungs = sorted({each.confinement.rung for each in study.records if _is_leaky(each)})
    if not rungs:
        return ""
    return (
        f"Trials ran on rung {' and '.join(rungs)} of the sandbox, where a job that scores can "
        "leave word for the one that audits it: publish scores of sessions with "
        "`--require-rung 1`."
    )


def _is_leaky(record: TrialRecord) -> bool:
    return record.confinement.jobs_share_files and bool(record.replicates)


def largest_change_sentence(study: Study) -> str:
    """Which change did it; empty where nothing was improved."""
    changes = study.improvements()
    if not changes:
        return ""
    record = max(changes, key=gain_bpb)
    others = sum(gain_bpb(each) for each in changes if each is not record)
    most = "Most of the gain" if gain_bpb(record) > others else "The largest part of the gain"
    whence = most if len(changes) > 1 else "The gain"
    sure = record.decision.probability_better
    chance = "" if sure is None else f"; the chance that it is better is {percent(sure)}"
    return (
        f"{whence} came from trial {record.number}, “{record.title}”: "
        f"{gain_bpb(record):.4f} bpb{chance}."
    )


def noise_sentence(study: Study) -> str:
    """How far a measurement is off by chance; empty before there is one."""
    if study.pair_noise_bpb is not None:
        return f"By chance a single pair of trainings is off by {study.pair_noise_bpb:.4f} or so."
    if study.seed_noise_bpb is not None:
        return f"By chance a single training is off by {study.seed_noise_bpb:.4f} or so."
    return ""
