"""What came out of a study, in sentences."""

from nightlab.records import Confinement, TrialRecord, Verdict
from nightlab.report.conclusion import (
    certainty_sentences,
    gain_sentence,
    largest_change_sentence,
    noise_sentence,
    sandbox_sentence,
)
from nightlab.report.study import Study, read_study
from tests.report.samples import FixedStudy, baseline, trial


def study(*records: TrialRecord) -> Study:
    return read_study(FixedStudy(all_records=list(records)))


def kept(number: int, score: float, gain: float) -> TrialRecord:
    return trial(number, Verdict.KEEP, (score,), difference=-gain, title=f"idea {number}")


def test_what_was_gained_is_the_first_sentence() -> None:
    assert gain_sentence(study(baseline(2.0), kept(1, 1.9, 0.1))) == (
        "From 2.0000 to 1.9000 bits per byte: 0.1000 fewer (5.0\N{NO-BREAK SPACE}%)."
    )
    assert gain_sentence(study(baseline(2.0), trial(1, scores=(2.1,)))) == (
        "Nothing has been kept yet: the baseline stands at 2.0000 bits per byte."
    )
    assert gain_sentence(study(trial(0, Verdict.CRASH))).startswith("No baseline")


def test_the_change_that_did_most_is_named_with_its_chance() -> None:
    found = study(baseline(2.0), kept(1, 1.98, 0.02), kept(2, 1.9, 0.08), kept(3, 1.89, 0.01))
    assert largest_change_sentence(found) == (
        "Most of the gain came from trial 2, “idea 2”: 0.0800 bpb; the chance that it is better "
        "is 96 %."
    )
    even = study(baseline(2.0), *(kept(n, 2 - n / 100, 0.01) for n in (1, 2, 3)))
    assert largest_change_sentence(even).startswith(
        "The largest part of the gain came from trial 1,"
    )
    assert largest_change_sentence(study(baseline(), kept(1, 1.9, 0.1))).startswith(
        "The gain came from"
    )
    assert largest_change_sentence(study(baseline())) == ""
    old = trial(1, Verdict.KEEP, (1.9,))
    assert "chance" not in largest_change_sentence(study(baseline(), old))


def test_how_sure_it_is_names_the_command_that_finds_out() -> None:
    keeps = (kept(number, 1.9, 0.1) for number in (1, 2))
    first, second = certainty_sentences(study(baseline(), *keeps))
    assert "nightlab confirm first-light" in first
    assert "nightlab consolidate first-light" in second
    assert certainty_sentences(study(baseline(), trial(1, scores=(2.1,)))) == []


def test_scores_of_a_sandbox_that_jobs_can_talk_through_say_so() -> None:
    assert sandbox_sentence(study(baseline(), trial(1, scores=(2.1,)))) == ""
    weak = trial(1, scores=(2.1,)).model_copy(update={"confinement": Confinement(rung="2")})
    said = sandbox_sentence(study(baseline(), weak))
    assert said.startswith("Trials ran on rung 2 of the sandbox")
    assert "--require-rung 1" in said
    unscored = weak.model_copy(update={"replicates": ()})
    assert sandbox_sentence(study(baseline(), unscored)) == ""


def test_the_noise_is_of_pairs_where_there_are_some() -> None:
    assert "pair of trainings is off by 0.0050" in noise_sentence(
        study(baseline(), kept(1, 1.9, 0.1))
    )
    assert "single training is off by 0.0040" in noise_sentence(study(baseline()))
    assert noise_sentence(study(trial(0, Verdict.CRASH))) == ""
