"""What a kept model writes, in this process; beside torch alone: study/test_model_folder.py."""

import importlib
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")

TRAINER = Path(__file__).parents[2] / "trainer"
LENGTH, END = 4, 9


@pytest.fixture
def write_on(monkeypatch):
    monkeypatch.syspath_prepend(str(TRAINER))
    generate = importlib.import_module("generate")

    def run(model, tokens, **asked):
        given = {"length": 6, "temperature": 1.0, "seed": 0, **asked}
        return generate.continue_tokens(
            model, tokens, sequence_length=LENGTH, device="cpu", end=END, **given
        )

    return run


def level(tokens):
    """All tokens but the end are equally likely."""
    return torch.tensor([0.0] * END + [-1e9]).expand(*tokens.shape, END + 1)


def test_a_seed_draws_the_same_text_again_and_another_another(write_on):
    first = write_on(level, [1], length=40)
    assert len(first) == 40
    assert write_on(level, [1], length=40) == first
    assert write_on(level, [1], length=40, seed=1) != first
    assert set(first) <= set(range(END))


def test_a_low_temperature_comes_to_the_likeliest(write_on):
    def sloped(tokens):
        return torch.arange(END + 1.0).roll(-1).expand(*tokens.shape, END + 1)

    assert (
        write_on(sloped, [1], temperature=0.01) == write_on(sloped, [1], temperature=0) == [8] * 6
    )


def test_the_model_sees_the_last_tokens_and_filler_after_a_short_text(write_on):
    seen = []

    def model(tokens):
        seen.append(tokens.tolist()[0])
        return torch.eye(END + 1)[(tokens + 1) % (END + 1)]

    assert write_on(model, [3], temperature=0) == [4, 5, 6, 7, 8]
    assert seen == [
        [3, 0, 0, 0],
        [3, 4, 0, 0],
        [3, 4, 5, 0],
        [3, 4, 5, 6],
        [4, 5, 6, 7],
        [5, 6, 7, 8],
    ]
