"""Tables and texts for the terminal, and the last lines of a session."""

import io

import pytest

from flows.closing import conclusion_lines
from flows.printing import print_mark, print_study, print_trial, trial_table
from flows.terminal import Terminal
from nightlab.records import (
    InFlight,
    OtherWork,
    Proposal,
    ProposalCost,
    Reason,
    TrialRecord,
    Verdict,
    utc_now,
)
from nightlab.report.study import read_study
from tests.report.samples import FixedStudy, baseline, trial
from tests.samples import sample_record


def console() -> Terminal:
    return Terminal(io.StringIO(), width=200, record=True)


def kept() -> TrialRecord:
    return sample_record(
        3, scores=(1.9, 1.91), incumbent=(2.0, 1.99), verdict=Verdict.KEEP, reason=Reason.IMPROVED
    )


def test_a_trial_is_explained_sentence_first_then_its_pairs_then_what_they_mean() -> None:
    out = console()
    print_trial(out, kept(), "")
    text = out.export_text()
    expected = (
        "keep (improved)",
        "Said.",
        "pair  seed  candidate  incumbent  difference",
        "1   300     1.9000     2.0000     -0.1000  better",
        "2   301     1.9100     1.9900     -0.0800  better",
        "Both codes were trained on the same seeds",
        "Chance that it is better: 90 %.",
        "Expected gain: +0.0675 bpb, and with 95 % certainty between +0.0800 and +0.1000.",
    )
    places = [text.index(each) for each in expected]
    assert places == sorted(places)


@pytest.mark.parametrize("whose", ["replicates", "incumbent_replicates"])
def test_other_work_on_the_gpu_is_marked_in_a_trial(whose: str) -> None:
    record = kept()
    others = OtherWork(processes=1, memory_mb=12_288)
    (first, *rest), out = record.replicates, console()
    training = first.training.model_copy(update={"other_work": others})
    shared = first.model_copy(update={"seed": 7, "training": training})
    print_trial(out, record.model_copy(update={whose: (shared, *rest)}), "")
    text = out.export_text()
    assert text.count("seed 7: another process used 12.0 GB of this GPU when the training") == 1


def test_a_record_from_before_pairs_has_dashes_and_its_own_numbers() -> None:
    old = sample_record(2, scores=(1.95,))
    known = {"difference_bpb": -0.05, "interval_bpb": (-0.06, -0.04)}
    old = old.model_copy(update={"decision": old.decision.model_copy(update=known)})
    out = console()
    print_trial(out, old, "")
    assert "judged before trainings were paired" in out.export_text()
    out = console()
    out.print(trial_table([old]))
    row = out.export_text().splitlines()[-1].split()
    assert row == ["2", "discard", "within_noise", "1.9500", "-0.0500", "–", "idea", "2"]


def test_the_table_of_a_study_has_the_chances_and_says_how_many_keeps_may_be_none() -> None:
    out = console()
    print_study(out, "night", [sample_record(0, scores=(2.0,)), kept()])
    text = out.export_text()
    assert "P(better)" in text
    assert "90 %" in text
    assert "one kept change is a passenger, which helps nothing, is 10 %; nightlab" in text


def test_the_last_lines_say_what_was_gained_how_sure_that_is_by_what_and_what_is_next() -> None:
    records = [baseline(2.0), trial(1, Verdict.KEEP, (1.9,), title="Deeper", difference=-0.1)]
    records = [each.model_copy(update={"model": None, "cost": ProposalCost()}) for each in records]
    study = read_study(FixedStudy(all_records=records))
    assert conclusion_lines(study, None) == [
        "From 2.0000 to 1.9000 bits per byte: 0.1000 fewer (5.0\N{NO-BREAK SPACE}%).",
        "The gain came from trial 1, “Deeper”: 0.1000 bpb; the chance that it is better is 96 %.",
        "Not confirmed yet: nightlab confirm first-light tries it on new text.",
        "The chance that the one kept change is a passenger, which helps nothing, is 4 %.",
        "Next: now with a model, since nobody has edited the code itself yet: "
        "nightlab research --study first-light --model PROVIDER/NAME",
    ]
    with_model = conclusion_lines(study, "3 calls, $0.02")
    assert with_model[-1] == "Next: go on from here: nightlab research --study first-light"


def test_nothing_kept_is_said_as_such() -> None:
    study = read_study(FixedStudy(all_records=[baseline(2.0), trial(1, scores=(2.1,))]))
    first, *_, last = conclusion_lines(study, "3 calls, $0.02")
    assert first.startswith("Nothing has been kept yet")
    assert "nightlab suggest" in last


def test_a_trial_in_flight_is_shown_as_far_as_it_is_known() -> None:
    mark = InFlight(
        study="night",
        number=4,
        parent="a" * 40,
        commit="b" * 40,
        proposal=Proposal(title="[Deeper]", hypothesis="Depth helps.", proposer="llm", model="m"),
        replicates=kept().replicates,
        started_at=utc_now(),
    )
    out = console()
    print_mark(out, mark, "-DEPTH = 4\n+DEPTH = 5\n")
    text = out.export_text()
    for part in (
        "Trial 4 of night: [Deeper]",
        "in flight, no verdict yet",
        "Hypothesis: Depth helps.",
        "proposer llm m",
        "2 trainings are done",
        "+DEPTH = 5",
    ):
        assert part in text
    out = console()
    print_mark(out, mark.model_copy(update={"proposal": None, "attempts": 0}), "")
    assert "no idea yet" in out.export_text()


def test_where_all_that_was_said_stands_is_named_and_tokens_without_a_price_are_counted() -> None:
    record = kept().model_copy(
        update={
            "log_tail": "The end.",
            "cost": ProposalCost(calls=1, prompt_tokens=12_000, completion_tokens=345),
        }
    )
    out = console()
    names = [f"refs/nightlab/night/evidence/0003:answer-{number}.md" for number in (1, 2)]
    print_trial(out, record, "", answers=names)
    text = out.export_text()
    assert "model cost – (12,345 tokens)" in text
    assert text.index("The end.") < text.index(f"git show {names[1]}")
    assert names[0] not in text
