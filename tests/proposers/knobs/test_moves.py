"""Steps of single knobs: kinds, coarse and fine steps, and what must change along."""

from typing import Any

import pytest

from nightlab.proposers import read_knobs
from nightlab.proposers.knobs.moves import (
    FINE,
    Kind,
    at_scale,
    direction_of,
    is_as_far,
    kind_of,
    partners,
    scale_of,
    step,
)
from nightlab.source.knobs import Knob


def knob(declared: str, more: str = "") -> Knob:
    (found,) = read_knobs(f"{declared}\n{more}\n").values()
    return found


@pytest.mark.parametrize(
    ("declared", "kind"),
    [
        ("LAYERS = 4  # 2..12", Kind.SIZE),
        ("LAYERS = 4  # 2..12 log", Kind.SIZE),
        ("CHANNELS = 64  # one of 32, 64", Kind.SIZE),
        ("BATCH = 64  # 8..512", Kind.BATCH),
        ("BATCH_SHAPE = 'a'  # one of 'a', 'b'", Kind.CHOICE),
        ("TIED = True  # one of True, False", Kind.CHOICE),
        ("LR = 1e-3  # 1e-5..1e-1 log", Kind.RATE),
        ("DROPOUT = 0.1  # 0.0..0.5", Kind.SHARE),
        ("DROPOUT = 0.1  # one of 0.0, 0.1", Kind.SHARE),
        ("WARM_UP_STEPS = 100  # 0..1000; share; of no size", Kind.SHARE),
        ("LR = 1e-3  # 1e-5..1e-1 log; rate", Kind.RATE),
        ("LR = 1e-3  # 1e-5..1e-1; sized by hand", Kind.SHARE),
    ],
)
def test_a_knob_is_of_a_kind(declared: str, kind: Kind) -> None:
    assert kind_of(knob(declared)) is kind


@pytest.mark.parametrize(
    ("declared", "down", "up", "fine_down", "fine_up"),
    [
        ("A = 4  # 1..12", 2, 8, 3, 6),
        ("A = 1  # 1..12", None, 2, None, 2),
        ("A = 1  # 0..4", 0, 2, 0, 2),
        ("A = 0  # 0..4", None, 1, None, 1),
        ("A = 9  # 1..12", 4, 12, 6, 12),
        ("A = 96  # 32..512 step 32", 32, 192, 64, 128),
        ("A = 64  # one of 32, 64, 96, 128, 256", 32, 128, 32, 96),
        ("A = 0.1  # 0.01..1.0 log", 0.0464, 0.215, 0.0681, 0.147),
        ("A = 0.1  # 0.05..0.4 log", 0.05, 0.2, 0.0707, 0.141),
        ("A = 1.0  # 1e-3..1.0 log", 0.316, None, 0.562, None),
        ("A = 0.5  # 0.0..1.0", 0.25, 0.75, 0.375, 0.625),
        ("A = 0.0  # 0.0..0.2", None, 0.1, None, 0.05),
        ("A = -4  # -8..8", -6, 2, -5, -1),
        ("A = True  # one of False, True", False, None, None, None),
        ('A = "S"  # one of "L", "S", "SL"', "L", "SL", None, None),
        ('A = "X"  # one of "L", "S"', None, "L", None, None),
    ],
)
def test_steps_lead_to(declared: str, down: Any, up: Any, fine_down: Any, fine_up: Any) -> None:
    found = knob(declared)
    steps = (step(found, -1), step(found, 1), step(found, -1, FINE), step(found, 1, FINE))
    assert steps == (down, up, fine_down, fine_up)


def test_steps_keep_what_a_comment_says_of_another_constant() -> None:
    width = knob(
        "W = 128  # one of 32, 64, 96, 128, 192, 256", "H = 64  # W must be a multiple of it"
    )
    assert (step(width, -1), step(width, -1, FINE), step(width, 1, FINE)) == (64, 64, 192)
    assert partners(width, 96, {}, 256) is None
    assert partners(width, 96, {"H": 32}, 256) == {}


def test_rows_are_halved_along_until_whole_ones_make_the_batch() -> None:
    batch = knob("B = 4096  # 256..65536 log", "R = 8  # B must be a multiple of its tokens")
    assert step(batch, -1) == 2048
    assert partners(batch, 2048, {}, 256) == {}
    assert partners(batch, 512, {}, 256) == {"R": 2}
    assert partners(batch, 2896, {}, 256) is None


def test_directions_and_how_far() -> None:
    depth, choice = knob("A = 4  # 1..12"), knob('A = "L"  # one of "L", "SL", "SSL"')
    assert (direction_of(depth, 4, 2), direction_of(depth, 2, 4), direction_of(depth, 2, 2)) == (
        -1,
        1,
        0,
    )
    assert (direction_of(choice, "L", "SSL"), direction_of(choice, "SL", "L")) == (1, -1)
    assert direction_of(choice, "L", "unknown") == 0
    assert is_as_far(depth, 1, 2, -1)
    assert not is_as_far(depth, 3, 2, -1)
    assert not is_as_far(choice, "SSL", "SL", 1)


@pytest.mark.parametrize(
    "declared", ["A = 4  # 1..12", "A = 0.1  # 0.01..1.0 log", "A = 0.5  # 0.0..1.0"]
)
def test_a_coarse_step_is_a_whole_one_of_the_scale(declared: str) -> None:
    found = knob(declared)
    up, here = step(found, 1), scale_of(found, found.value)
    assert up is not None
    assert here is not None
    assert at_scale(found, here) == found.value
    if kind_of(found) is not Kind.SHARE:
        assert scale_of(found, up) == pytest.approx(here + 1, abs=0.01)
