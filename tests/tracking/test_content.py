import math

import pytest

from nightlab.records import Reason, Verdict
from nightlab.tracking.content import LONGEST_NAME, describe_trial
from nightlab.tracking.pairs import Incumbent
from nightlab.tracking.replicates import ReplicateKey, describe_replicate
from nightlab.tracking.runs import milliseconds
from nightlab.tracking.tags import LONGEST_TAG
from tests.tracking.samples import DIFF, PROFILE, SOURCE, began, evidence, record, replicate


def test_every_number_of_the_record_passes_unchanged() -> None:
    trial = record("s", scores=(1.9876543210123,))
    content = describe_trial(trial, evidence(), DIFF, SOURCE)
    training = trial.replicates[0].training
    evaluation = trial.replicates[0].evaluation
    assert evaluation is not None
    assert content.run.metrics == {
        "val_bpb": trial.val_bpb,
        "training_seconds": training.training_seconds,
        "training/startup_seconds": training.startup_seconds,
        "peak_memory_mb": training.peak_memory_mb,
        "tokens_per_second": training.tokens_per_second,
        "num_steps": training.num_steps,
        "num_params": training.num_params,
        "difference_bpb": -0.00123,
        "probability_better": 0.625,
        "score/difference_low_bpb": -0.01,
        "score/difference_high_bpb": 0.008,
        "score/noise_bpb": 0.004,
        "score/expected_gain_bpb": 0.0008,
        "score/pairs": 1,
        "model/prompt_tokens": 700,
        "model/completion_tokens": 30,
        "model/calls": 2,
        "edit/lines_added": 1,
        "edit/lines_removed": 1,
        "seconds/propose": 4.5,
        "seconds/train": 20.125,
        "seconds/total": 31.5,
    }
    child = content.replicates[ReplicateKey("30")].metrics
    assert child["val_bpb"] == trial.replicates[0].val_bpb
    assert {name: value for name, value in child.items() if name.startswith("audit/")} == {
        "audit/standard_error_bpb": evaluation.standard_error,
        "audit/row_standard_error_bpb": 0.02,
        "audit/claimed_bpb": evaluation.claimed_bpb,
        "audit/correction_bpb": 0.001,
        "audit/positions": 512,
        "audit/largest_deviation_nats": 0.25,
        "audit/audit_seconds": 0.75,
        "audit/evaluation_seconds": evaluation.seconds,
    }


def test_a_missing_number_is_left_out_and_never_nought() -> None:
    trial = record("s", scores=(None,), verdict=Verdict.CRASH, reason=Reason.NONFINITE)
    content = describe_trial(trial, evidence(scores=(None,)), DIFF, SOURCE)
    for missing in ("val_bpb", "training_seconds", "num_steps", "mfu_percent", "model/usd"):
        assert missing not in content.run.metrics
        assert missing not in content.replicates[ReplicateKey("30")].metrics
    assert content.run.metrics["training/startup_seconds"] == 2.25


def test_a_number_that_is_not_finite_counts_as_missing() -> None:
    trial = record("s").model_copy(update={"val_bpb": math.nan})
    assert "val_bpb" not in describe_trial(trial, evidence(), DIFF, SOURCE).run.metrics


def test_replicates_are_averaged_and_the_highest_memory_stands() -> None:
    trial = record("s", scores=(2.0, 2.5))
    content = describe_trial(trial, evidence(scores=(2.0, 2.5)), DIFF, SOURCE)
    assert content.run.metrics["val_bpb"] == 2.25
    assert content.run.metrics["tokens_per_second"] == pytest.approx(1010.1 + 30.5)
    assert content.run.metrics["peak_memory_mb"] == 512.5 + 31


def test_both_codes_trainings_with_one_seed_are_runs_of_their_own() -> None:
    trial = record("s").model_copy(update={"incumbent_replicates": (replicate(30, 1.99),)})
    told = evidence().model_copy(update={"incumbent_replicates": (replicate(30, 1.99, points=3),)})
    content = describe_trial(trial, told, DIFF, SOURCE)
    own, twin = ReplicateKey("30"), ReplicateKey("30", "incumbent")
    assert set(content.replicates) == {own, twin}
    assert content.replicates[twin].metrics["val_bpb"] == 1.99
    assert len(content.replicates[own].curve) > len(content.replicates[twin].curve)
    assert content.replicates[twin].tags["mlflow.runName"] == "0003 incumbent seed 30"
    assert content.replicates[twin].tags["subject"] == "incumbent"
    assert {"log-30.txt", "log-incumbent-30.txt"} <= set(content.run.texts)
    assert content.run.metrics["val_bpb"] == trial.val_bpb


@pytest.mark.parametrize(
    ("verdict", "status"),
    [
        (Verdict.KEEP, "FINISHED"),
        (Verdict.DISCARD, "FINISHED"),
        (Verdict.CRASH, "FAILED"),
        (Verdict.FAILED, "FAILED"),
    ],
)
def test_what_did_not_come_to_a_score_is_a_failed_run(verdict: Verdict, status: str) -> None:
    trial = record("s", verdict=verdict)
    assert describe_trial(trial, evidence(), DIFF, SOURCE).run.status == status


def test_tags_parameters_and_artifacts_say_what_happened() -> None:
    run = describe_trial(record("s"), evidence(), DIFF, SOURCE).run
    assert run.tags["mlflow.runName"] == "0003 deeper & <b>narrower</b>"
    assert (run.tags["verdict"], run.tags["reason"]) == ("discard", "within_noise")
    assert run.tags["commit"] == run.tags["mlflow.source.git.commit"] == "b" * 40
    assert run.tags["mlflow.note.content"].startswith("Within the noise.")
    assert run.params["DEPTH"] == "6"
    assert run.params["COMPILE"] == "False"
    assert run.params["trial"] == "3"
    assert run.tags["sandbox"] == "1 bubblewrap"
    assert run.tags["title"] == "deeper & <b>narrower</b>"
    assert run.tags["sandbox_holds"] == "no network"
    assert run.tags["sandbox_lacks"] == "memory in sum"
    assert run.params["seed"] == "7"
    assert set(run.texts) == {
        "record.json",
        "train.py",
        "diff.patch",
        "prompt-1.md",
        "answer-1.md",
        "prompt-2.md",
        "answer-2.md",
        "log-30.txt",
    }
    assert run.texts["log-30.txt"] == "training with seed 30\n\n--- evaluation ---\nscored\n"


def test_what_no_database_holds_is_made_harmless() -> None:
    title = "half \ud83d of\0 a pair\nand " + "long " * 100
    run = describe_trial(record("s", title=title), evidence(), DIFF, SOURCE).run
    assert len(run.tags["mlflow.runName"]) == LONGEST_NAME
    for text in (*run.tags.values(), *run.texts.values()):
        assert "\0" not in text
        assert text.encode("utf-8")


def test_the_description_shows_the_change_within_a_fence_that_it_cannot_close() -> None:
    diff = "+```` a fence of the candidate's\n" + "+x\n" * 10_000
    note = describe_trial(record("s"), evidence(), diff, SOURCE).run.tags["mlflow.note.content"]
    assert note.startswith("Within the noise.\n\nDepth helps.\n\n`````diff\n+````")
    assert note.endswith("\n`````")
    assert len(note) < LONGEST_TAG + 50
    plain = describe_trial(record("s"), evidence(), DIFF, SOURCE).run.tags["mlflow.note.content"]
    assert plain.endswith(f"```diff\n{DIFF.strip()}\n```")
    bare = describe_trial(record("s"), evidence(), "", SOURCE).run.tags["mlflow.note.content"]
    assert bare == "Within the noise.\n\nDepth helps."


def test_the_first_pair_is_two_curves_over_the_same_share_of_the_budget() -> None:
    twin = replicate(30, 1.99)
    slower = twin.training.model_copy(update={"loss_profile": (3.0, None, 2.0, math.nan)})
    twin = twin.model_copy(update={"training": slower})
    run = describe_trial(record("s"), evidence(), DIFF, SOURCE, Incumbent(trial=2, twin=twin)).run
    own = [(row.step, row.value) for row in run.curve if row.key == "curve/candidate_loss"]
    assert own == [(5 * share, loss) for share, loss in enumerate(PROFILE, start=1)]
    other = [(row.step, row.value) for row in run.curve if row.key == "curve/incumbent_loss"]
    assert other == [(25, 3.0), (75, 2.0)]
    assert run.tags["parent_trial"] == "2"
    assert "A change of trial 2." in run.tags["mlflow.note.content"]


def test_a_training_has_its_own_beginning_end_and_state() -> None:
    told = evidence(scores=(2.0, None))
    content = describe_trial(record("s", scores=(2.0, None)), told, DIFF, SOURCE)
    scored, crashed = content.replicates.values()
    training, evaluation = told.replicates[0].training, told.replicates[0].evaluation
    assert scored.started_ms == milliseconds(began(3)) > content.run.started_ms
    assert evaluation is not None
    assert evaluation.seconds is not None
    assert training.training_seconds is not None
    assert training.startup_seconds is not None
    took = training.startup_seconds + training.training_seconds + evaluation.seconds
    assert scored.ended_ms - scored.started_ms == int(1000 * took)
    assert (scored.status, crashed.status) == ("FINISHED", "FAILED")
    assert crashed.ended_ms - crashed.started_ms == 2250
    # Records from before the start was kept.
    earlier = told.replicates[0].model_copy(
        update={"training": training.model_copy(update={"started_at": None})}
    )
    whole = describe_replicate("s", 3, earlier, "candidate", record("s").started_at)
    assert whole.started_ms == content.run.started_ms
