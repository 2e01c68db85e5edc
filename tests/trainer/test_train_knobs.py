"""The trainer's knobs, read as text, as the proposer does."""

import ast
import re
import tokenize
from typing import Any

import pytest

from nightlab.presets import PRESETS
from tests.trainer.child import TRAIN_FILE, in_child

NUMBER = r"-?[\d_]+(?:\.\d+)?(?:e-?\d+)?"
RANGE = re.compile(rf"# ({NUMBER})\.\.({NUMBER})( log| step {NUMBER})?(;.*)?$")
CHOICE = re.compile(r"# one of (.+?)(;.*)?$")


def constants() -> dict[str, tuple[Any, str]]:
    """Value and trailing comment of every top-level UPPERCASE constant that is a literal."""
    source = TRAIN_FILE.read_text()
    comments = {
        token.start[0]: token.string
        for token in tokenize.generate_tokens(iter(source.splitlines(keepends=True)).__next__)
        if token.type == tokenize.COMMENT
    }
    found = {}
    for node in ast.parse(source).body:
        match node:
            case ast.Assign(targets=[ast.Name(id=name)], value=ast.Constant(value=value)):
                found[name] = (value, comments.get(node.lineno, ""))
    return found


def allows(comment: str, value: Any) -> bool | None:
    """Whether a comment's range or choice allows a value; None when it declares neither."""
    if choice := CHOICE.match(comment):
        return value in ast.literal_eval(f"({choice[1]},)")
    if span := RANGE.match(comment):
        low, high = float(span[1]), float(span[2])
        if span[3] == " log":
            assert low > 0, comment
        if span[3] and span[3].startswith(" step"):
            assert (value - low) % float(span[3].split()[1]) == 0, comment
        return bool(low <= value <= high)
    return None


def test_defaults_lie_in_the_ranges_of_their_knobs() -> None:
    knobs = {
        name: allows(comment, value)
        for name, (value, comment) in constants().items()
        if allows(comment, value) is not None
    }
    assert [name for name, allowed in knobs.items() if not allowed] == []
    assert {"DEPTH", "WIDTH", "MATRIX_LEARNING_RATE", "WINDOW_PATTERN"} <= knobs.keys()
    assert not {"COMPILE", "DEVICE_BATCH_SIZE", "TRAINING_PRECISION"} & knobs.keys()
    for name, (value, comment) in constants().items():
        if ".." in comment or "one of" in comment:
            assert name in knobs, f"{name}: the comment {comment!r} is meant as a range"
        if span := RANGE.match(comment):
            is_integer = not any(mark in span[1] + span[2] for mark in ".e")
            assert is_integer == isinstance(value, int), name


@pytest.mark.parametrize("preset", sorted(PRESETS))
def test_presets_set_constants_that_exist_and_go_together(preset: str) -> None:
    sizes = PRESETS[preset]
    found = constants()
    for name, value in sizes.knobs.items():
        assert name in found
        assert allows(found[name][1], value) is not False, f"{name} = {value}"
    in_child(f"""
        module = load()
        for name in SMALL:
            SMALL[name] = getattr(importlib.import_module("train"), name)
        spec = runtime.Spec({sizes.vocab_size}, {sizes.sequence_length}, "cpu")
        load(**{dict(sizes.knobs)!r}).check_settings(spec)
        answer(None)
    """)


def test_the_h100_preset_is_the_published_one_in_this_trainers_units() -> None:
    """Its rates meant for 768 channels there, for 64 here; windows and operations by hand."""
    sizes = PRESETS["h100"]
    assert set(sizes.knobs) <= set(constants())
    found = in_child(f"""
        module = load(**{dict(sizes.knobs)!r})
        spec = runtime.Spec({sizes.vocab_size}, {sizes.sequence_length}, "cpu")
        with torch.device("meta"):
            model = module.Model(spec)
        answer({{"embedding": module.wider(module.EMBEDDING_LEARNING_RATE),
                 "head": module.wider(module.HEAD_LEARNING_RATE),
                 "windows": [module.window_of(block, 2048) for block in range(module.DEPTH)],
                 "flops": module.flops_per_token(model)}})
    """)
    from_768_channels = (768 / 640) ** 0.5
    assert found["embedding"] == pytest.approx(0.9 * from_768_channels, rel=0.02)
    assert found["head"] == pytest.approx(0.005 * from_768_channels, rel=0.02)
    assert found["windows"] == [256] * 4 + [2048] + [256] * 3 + [2048]
    weights = 9 * 12 * 640**2 + 640 * 8192
    assert found["flops"] == 6 * weights + 12 * 640 * (7 * 256 + 2 * 2048)
