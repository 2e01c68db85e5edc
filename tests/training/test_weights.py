"""A checkpoint turned into safetensors, in a real sandbox; and what the host checks of the file."""

import json
from pathlib import Path
from typing import Any

import pytest

from nightlab.sandbox import Sandbox, choose_sandbox
from nightlab.training.weights import problem_of, to_safetensors

torch = pytest.importorskip("torch")


@pytest.fixture(scope="module")
def sandbox() -> Sandbox:
    return choose_sandbox()


class Planted:
    """What runs when it is unpickled."""

    def __reduce__(self) -> tuple[Any, ...]:
        return (Path.write_text, (Path("/tmp/nightlab-planted"), "x"))


def convert(checkpoint: Path, sandbox: Sandbox) -> str | None:
    return to_safetensors(
        checkpoint, checkpoint.with_name("model.safetensors"), sandbox, memory_mb=0, scratch_mb=64
    )


def test_a_checkpoint_becomes_a_file_of_numbers(tmp_path: Path, sandbox: Sandbox) -> None:
    checkpoint = tmp_path / "checkpoint.pt"
    torch.save({"a": torch.arange(6.0).view(2, 3), "b": torch.tensor([True])}, checkpoint)
    assert convert(checkpoint, sandbox) is None
    data = (tmp_path / "model.safetensors").read_bytes()
    length = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + length])
    assert header["a"] == {"dtype": "F32", "shape": [2, 3], "data_offsets": [0, 24]}
    assert torch.frombuffer(bytearray(data[-25:-1]), dtype=torch.float32).tolist() == [*range(6)]


@pytest.mark.parametrize(
    ("saved", "why"),
    [
        (Planted(), "UnpicklingError"),
        ({"odd": torch.zeros(1, dtype=torch.complex64)}, "'odd'"),
        ({"huge": torch.zeros(1).expand(2**40)}, "Error|space|large"),
        ([], "AttributeError"),
    ],
)
def test_what_is_none_is_said_and_costs_nothing(
    tmp_path: Path, sandbox: Sandbox, saved: object, why: str
) -> None:
    checkpoint = tmp_path / "checkpoint.pt"
    torch.save(saved, checkpoint)
    problem = convert(checkpoint, sandbox)
    assert problem is not None
    assert pytest.raises(AssertionError, match=why).matches(AssertionError(problem)), problem


def described(text: bytes, data: bytes = b"", length: int | None = None) -> bytes:
    return (len(text) if length is None else length).to_bytes(8, "little") + text + data


def tensor(**fields: Any) -> dict[str, Any]:
    return {"dtype": "F32", "shape": [2], "data_offsets": [0, 8], **fields}


def named(*tensors: dict[str, Any]) -> bytes:
    return json.dumps({str(index): each for index, each in enumerate(tensors)}).encode()


@pytest.mark.parametrize(
    ("content", "word"),
    [
        (b"", "no header"),
        (b"\x80\x02}q\x00.", "no header"),
        (described(b"{}", length=2**60), "no header"),
        (described(b"nonsense"), "not one of safetensors"),
        (described(b"[" * 5_000), "not one of safetensors"),
        (described(b'["a"]'), "not one of safetensors"),
        (described(named(tensor(dtype="F7")), bytes(8)), "not one of safetensors"),
        (described(named(tensor(shape=[-1])), bytes(8)), "not one of safetensors"),
        (described(named(tensor(shape=[2.0])), bytes(8)), "not one of safetensors"),
        (described(named(tensor(more=1)), bytes(8)), "not one of safetensors"),
        (described(named(tensor(shape=[3])), bytes(8)), "does not place '0'"),
        (described(named(tensor(data_offsets=[8, 0])), bytes(8)), "does not place '0'"),
        (described(named(tensor(), tensor()), bytes(8)), "does not place '1'"),
        (described(named(tensor(), tensor(data_offsets=[9, 17])), bytes(17)), "does not place '1'"),
        (described(named(tensor()), bytes(9)), "and its header speaks of"),
        (described(named(tensor()), bytes(7)), "and its header speaks of"),
    ],
)
def test_a_file_is_read_only_where_its_header_says_all(
    tmp_path: Path, content: bytes, word: str
) -> None:
    path = tmp_path / "model.safetensors"
    path.write_bytes(content)
    assert word in str(problem_of(path))


def test_a_whole_file_has_no_problem(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    text = named(tensor(), tensor(data_offsets=[8, 16]))
    path.write_bytes(described(text, bytes(16)))
    assert problem_of(path) is None


@pytest.mark.parametrize(
    ("dtypes", "size"),
    [("F64 I64", 8), ("F32 I32", 4), ("F16 BF16 I16", 2), ("I8 U8 BOOL", 1)],
)
def test_a_number_takes_what_its_type_says(tmp_path: Path, dtypes: str, size: int) -> None:
    path = tmp_path / "model.safetensors"
    for dtype in dtypes.split():
        each = tensor(dtype=dtype, shape=[2, 3], data_offsets=[0, 6 * size])
        path.write_bytes(described(named(each), bytes(6 * size)))
        assert problem_of(path) is None, dtype
        each["data_offsets"] = [0, 6 * size + 1]
        path.write_bytes(described(named(each), bytes(6 * size + 1)))
        assert "does not place" in str(problem_of(path)), dtype


def test_the_smallest_the_empty_and_the_annotated_header_have_no_problem(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    nothing = tensor(shape=[0], data_offsets=[0, 0])
    number = tensor(shape=[], data_offsets=[0, 4])
    for content in (
        described(b"{}"),
        described(named(nothing)),
        described(named(number), bytes(4)),
        described(b'{"__metadata__": {"a": "b"}}'),
    ):
        path.write_bytes(content)
        assert problem_of(path) is None, content
    path.write_bytes(described(b"1"))
    assert "no header" in str(problem_of(path))


def test_a_header_is_read_up_to_eight_mebibytes(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    for length, said in ((8 * 2**20, None), (8 * 2**20 + 1, "no header")):
        path.write_bytes(described(b"{}" + b" " * (length - 2)))
        problem = problem_of(path)
        assert problem is None if said is None else said in str(problem)


def test_of_a_long_name_the_beginning_is_said(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    path.write_bytes(described(json.dumps({"n" * 500: tensor(shape=[3])}).encode(), bytes(8)))
    problem = str(problem_of(path))
    assert f"'{'n' * 80}'" in problem
