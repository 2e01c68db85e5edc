from pathlib import Path

import pytest

from nightlab.proposers import set_knobs
from nightlab.source.schedule import touched_schedule

TRAINER = Path(__file__).parents[2] / "trainer" / "train.py"
SOURCE = TRAINER.read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("knob", "value"),
    [("WARM_UP_SHARE", 0.1), ("WARM_DOWN_SHARE", 0.3), ("FINAL_LEARNING_RATE_SHARE", 0.0)],
)
def test_knobs_that_the_schedule_reads_touch_it(knob: str, value: float) -> None:
    assert touched_schedule(SOURCE, set_knobs(SOURCE, {knob: value})) == knob


@pytest.mark.parametrize(
    ("knob", "value"),
    [
        ("MATRIX_LEARNING_RATE", 0.1),
        ("MATRIX_WEIGHT_DECAY", 0.0),
        ("SHORT_WINDOW_SHARE", 0.25),
        ("WIDTH", 96),
        ("DEVICE_BATCH_SIZE", 4),
        ("TOTAL_BATCH_TOKENS", 4096),
        ("COMPILE", True),
    ],
)
def test_rates_sizes_and_windows_are_no_schedule(knob: str, value: float) -> None:
    assert touched_schedule(SOURCE, set_knobs(SOURCE, {knob: value})) is None


@pytest.mark.parametrize(
    ("old", "new", "touched"),
    [
        ("(1 - fraction) / WARM_DOWN_SHARE", "(1 - fraction) ** 2 / WARM_DOWN_SHARE", "fraction"),
        ("schedule(run.fraction)", "schedule(run.fraction) ** 2", "fraction"),
        ('share * group["peak_lr"]', 'group["peak_lr"]', "peak_lr"),
        ('group["momentum"])', "0.85 + 0.1 * min(1, self.steps / 300))", "steps"),
        (
            "F.cross_entropy(capped(logits), targets)",
            "F.cross_entropy(capped(logits), targets, label_smoothing=0.1)",
            "cross_entropy",
        ),
        (
            "F.relu(self.expand(stream)).square()",
            "F.dropout(F.relu(self.expand(stream)).square(), 0.1, self.training)",
            "dropout",
        ),
        (
            "run.save(model)\n    return model",
            "run.save(ema_of(model))\n    return model",
            "ema_of",
        ),
        (
            "run.save(model)\n    return model",
            "polyak.copy_to(model)\n    run.save(model)\n    return model",
            "polyak",
        ),
        ("run.save(model)\n    return model", "run.save(slow)\n    return slow", "save"),
        (
            "F.relu(self.expand(stream)).square()",
            "drop_path(F.relu(self.expand(stream)).square())",
            "drop_path",
        ),
        (
            "F.relu(self.expand(stream)).square()",
            "F.relu(self.expand(stream)).square() * keep(self.training)",
            "training",
        ),
        ("loss_of(inputs, targets) / accumulation", "loss_of(inputs, targets)", "loss"),
    ],
)
def test_edits_of_the_schedule_and_of_the_loss_are_named(old: str, new: str, touched: str) -> None:
    assert SOURCE.count(old) >= 1
    named = touched_schedule(SOURCE, SOURCE.replace(old, new, 1))
    assert named is not None
    assert touched == named or touched in new + old


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("F.relu(self.expand(stream)).square()", "F.gelu(self.expand(stream))"),
        (
            "rotate(normalise(self.query(stream).view(shape))",
            "rotate(self.query(stream).view(shape)",
        ),
        ("torch.full((DEPTH,), INPUT_SHARE)", "torch.zeros(DEPTH)"),
        ("eps=1e-10", "eps=1e-8"),
        ("# The Frobenius norm", "# The schedule of the norm"),
        ('"""Share of the peak learning rates', '"""A share of the peak learning rates'),
    ],
)
def test_other_edits_are_left_alone(old: str, new: str) -> None:
    assert SOURCE.count(old) >= 1
    assert touched_schedule(SOURCE, SOURCE.replace(old, new, 1)) is None
    assert touched_schedule(SOURCE.replace(old, new, 1), SOURCE) is None


def test_a_constant_counts_for_whatever_function_of_the_clock_reads_it() -> None:
    before = "POWER = 2\nSIZE = 3\ndef decayed(progress):\n    return progress**POWER\n"
    assert touched_schedule(before, before.replace("POWER = 2", "POWER = 3")) == "POWER"
    assert touched_schedule(before, before.replace("SIZE = 3", "SIZE = 4")) is None
