import math

import pytest

from nightlab.records import Reason, Verdict
from nightlab.tracking.content import LONGEST_NAME, LONGEST_TAG, ReplicateKey, describe_trial
from tests.tracking.samples import DIFF, SOURCE, evidence, record, replicate


def test_every_number_of_the_record_passes_unchanged() -> None:
    trial = record("s", scores=(1.9876543210123,))
    content = describe_trial(trial, evidence(), DIFF, SOURCE)
    training = trial.replicates[0].training
    evaluation = trial.replicates[0].evaluation
    assert evaluation is not None
    assert content.run.metrics == {
        "val_bpb": trial.val_bpb,
        "claimed_bpb": evaluation.claimed_bpb,
        "audit_correction_bpb": 0.001,
        "audited_positions": 512,
        "largest_deviation_nats": 0.25,
        "audit_seconds": 0.75,
        "evaluation_seconds": evaluation.seconds,
        "training_seconds": training.training_seconds,
        "startup_seconds": training.startup_seconds,
        "peak_memory_mb": training.peak_memory_mb,
        "tokens_per_second": training.tokens_per_second,
        "num_steps": training.num_steps,
        "num_params": training.num_params,
        "difference_bpb": -0.00123,
        "difference_low_bpb": -0.01,
        "difference_high_bpb": 0.008,
        "noise_bpb": 0.004,
        "probability_better": 0.625,
        "expected_gain_bpb": 0.0008,
        "pairs": 1,
        "prompt_tokens": 700,
        "completion_tokens": 30,
        "model_calls": 2,
        "lines_added": 1,
        "lines_removed": 1,
        "seconds_propose": 4.5,
        "seconds_train": 20.125,
        "seconds_total": 31.5,
    }
    child = content.replicates[ReplicateKey("30")].metrics
    assert child["val_bpb"] == trial.replicates[0].val_bpb
    assert child["val_bpb_standard_error"] == evaluation.standard_error


def test_a_missing_number_is_left_out_and_never_nought() -> None:
    trial = record("s", scores=(None,), verdict=Verdict.CRASH, reason=Reason.NONFINITE)
    content = describe_trial(trial, evidence(scores=(None,)), DIFF, SOURCE)
    for missing in ("val_bpb", "training_seconds", "num_steps", "mfu_percent", "cost_usd"):
        assert missing not in content.run.metrics
        assert missing not in content.replicates[ReplicateKey("30")].metrics
    assert content.run.metrics["startup_seconds"] == 2.25


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
        (Verdict.CRASH, "FINISHED"),
        (Verdict.FAILED, "FAILED"),
    ],
)
def test_only_a_failure_of_the_machinery_is_a_failed_run(verdict: Verdict, status: str) -> None:
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
    assert run.params["sandbox"] == "1 bubblewrap"
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
