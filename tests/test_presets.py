"""What the presets are, written out: studies begun with one are measured by its numbers."""

import pytest
from pydantic import ValidationError

from nightlab.presets import PRESETS, Preset

NUMBERS: dict[str, dict[str, object]] = {
    "quick": {
        "budget_seconds": 20,
        "budget_tokens": None,
        "startup_seconds": 90,
        "startup_free_seconds": 10,
        "preflight_seconds": 0,
        "sequence_length": 256,
        "vocab_size": 2048,
        "evaluation_tokens": 65_536,
        "pair_noise_bpb": 0.006,
        "screen_positions": 96,
        "corpus_megabytes": 16,
        "memory_mb": 6_000,
        "scratch_mb": 2_000,
        "row_memory_mb": None,
        "compiles": False,
    },
    "laptop": {
        "budget_seconds": 300,
        "budget_tokens": None,
        "startup_seconds": 180,
        "startup_free_seconds": 60,
        "preflight_seconds": 1,
        "sequence_length": 256,
        "vocab_size": 2048,
        "evaluation_tokens": 1_048_576,
        "pair_noise_bpb": 0.003,
        "screen_positions": 512,
        "corpus_megabytes": 64,
        "memory_mb": 12_000,
        "scratch_mb": 8_000,
        "row_memory_mb": None,
        "compiles": True,
    },
    "h100": {
        "budget_seconds": 300,
        "budget_tokens": None,
        "startup_seconds": 300,
        "startup_free_seconds": 180,
        "preflight_seconds": 2,
        "sequence_length": 2048,
        "vocab_size": 8192,
        "evaluation_tokens": 20_971_520,
        "pair_noise_bpb": 0.001,
        "screen_positions": 1_024,
        "corpus_megabytes": 4_000,
        "memory_mb": 0,
        "scratch_mb": 40_000,
        "row_memory_mb": 470,
        "compiles": True,
    },
}

KNOBS: dict[str, dict[str, object]] = {
    "quick": {},
    "laptop": {"WIDTH": 128, "COMPILE": True},
    "h100": {
        "DEPTH": 9,
        "WIDTH": 640,
        "HEAD_WIDTH": 128,
        "WINDOW_PATTERN": "SSSSL",
        "SHORT_WINDOW_SHARE": 0.125,
        "DEVICE_BATCH_SIZE": 128,
        "TOTAL_BATCH_TOKENS": 262_144,
        "COMPILE": True,
        "EMBEDDING_LEARNING_RATE": 3.1,
        "HEAD_LEARNING_RATE": 0.017,
        "MATRIX_LEARNING_RATE": 0.04,
        "SCALAR_LEARNING_RATE": 0.5,
        "RESIDUAL_LEARNING_RATE": 0.005,
        "MUON_MOMENTUM": 0.95,
        "ADAM_BETA1": 0.8,
        "ROPE_BASE": 200_000.0,
        "WARM_DOWN_SHARE": 0.75,
        "INPUT_SHARE": 0.05,
        "INITIAL_SCALE": 0.68,
        "MOMENTUM_RAMP": 0.1,
        "WEIGHT_DECAY_FALL": 1.0,
        "EMBEDDING_WEIGHT_DECAY": 0.001,
        "VALUE_EMBEDDING_WEIGHT_DECAY": 0.003,
        "HEAD_WEIGHT_DECAY": 0.01,
    },
}


@pytest.mark.parametrize("name", NUMBERS)
def test_a_preset_is_what_studies_were_measured_by(name: str) -> None:
    preset = PRESETS[name]
    assert {each: getattr(preset, each) for each in NUMBERS[name]} == NUMBERS[name]
    assert preset.knobs == KNOBS[name]


def test_there_are_no_others() -> None:
    assert set(PRESETS) == set(NUMBERS)


def rows(memory_mb: float | None, **more: object) -> object:
    preset = PRESETS["h100"].model_copy(update=more)
    return preset.knobs_on(memory_mb).get("DEVICE_BATCH_SIZE")


def test_a_device_batch_is_halved_just_below_what_it_takes() -> None:
    """A tenth of the memory and a gigabyte stay free."""
    fits = (128 * 470 + 1024) / 0.9
    assert rows(fits + 1) == 128
    assert rows(fits - 1) == 64
    half = (64 * 470 + 1024) / 0.9
    assert (rows(half + 1), rows(half - 1)) == (64, 32)
    assert rows(0) == 1
    assert rows(None) == rows(1, row_memory_mb=None) == 128
    assert rows(1, knobs={"DEVICE_BATCH_SIZE": "many"}) == "many"
    assert rows(1, knobs={"DEPTH": 2}) is None


def test_a_budget_counts_seconds_unless_it_counts_tokens() -> None:
    assert not PRESETS["quick"].counts_tokens
    assert PRESETS["quick"].model_copy(update={"budget_tokens": 1}).counts_tokens


def test_compiling_is_a_constant_that_may_be_off() -> None:
    preset = PRESETS["laptop"]
    assert not preset.model_copy(update={"knobs": {"COMPILE": False}}).compiles


def test_a_preset_is_whole_and_stays_as_it_is() -> None:
    values = PRESETS["quick"].model_dump()
    for name in ("budget_seconds", "memory_mb", "pair_noise_bpb", "vocab_size"):
        with pytest.raises(ValidationError, match=name):
            Preset.model_validate({key: value for key, value in values.items() if key != name})
    with pytest.raises(ValidationError, match="frozen"):
        PRESETS["quick"].vocab_size = 1  # type: ignore[misc]
    with pytest.raises(ValidationError, match="extra"):
        Preset.model_validate({**values, "extra": 1})
