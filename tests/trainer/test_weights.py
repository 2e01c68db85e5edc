"""The file format, in this process; the sandbox around it: tests/training/test_weights.py."""

import importlib
import json
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")

TRAINER = Path(__file__).parents[2] / "trainer"


@pytest.fixture
def weights(monkeypatch):
    monkeypatch.syspath_prepend(str(TRAINER))
    return importlib.import_module("weights")


def test_every_type_and_shape_comes_back_as_it_was(weights, tmp_path):
    shared = torch.randn(3, 4)
    state = {
        **{name: (torch.randn(5, 3) * 9).to(dtype) for dtype, name in weights.NAMES.items()},
        "scalar": torch.tensor(2.5),
        "empty": torch.zeros(0, 3),
        "turned": shared.T,
        "tied": shared,
        "sparse in memory": torch.ones(1).expand(2, 3),
        "é": torch.tensor([True]),
    }
    path = tmp_path / "model.safetensors"
    weights.write(state, path)
    found = weights.read(path)
    assert found.keys() == state.keys()
    for name, tensor in state.items():
        assert found[name].dtype == tensor.dtype
        assert torch.equal(found[name], tensor), name


def test_numbers_that_another_program_placed_anywhere_are_read(weights, tmp_path):
    header = {
        "__metadata__": {"format": "pt"},
        "odd": {"dtype": "U8", "shape": [3], "data_offsets": [0, 3]},
        "b": {"dtype": "F32", "shape": [2, 1], "data_offsets": [3, 11]},
    }
    text = json.dumps(header).encode()
    numbers = torch.tensor([1.5, -2.0]).numpy().tobytes()
    path = tmp_path / "model.safetensors"
    path.write_bytes(len(text).to_bytes(8, "little") + text + b"\x01\x02\x03" + numbers)
    found = weights.read(path)
    assert found["odd"].tolist() == [1, 2, 3]
    assert found["b"].tolist() == [[1.5], [-2.0]]


@pytest.mark.parametrize("value", [torch.zeros(2, dtype=torch.complex64), "text", {"a": 1}])
def test_what_the_format_has_no_word_for_is_named(weights, tmp_path, value):
    with pytest.raises(TypeError, match="hold 'odd'"):
        weights.write({"odd": value}, tmp_path / "model.safetensors")
