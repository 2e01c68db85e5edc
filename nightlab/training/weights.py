"""What a candidate saved, turned into safetensors: the pickle is opened in a sandbox only."""

import json
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from nightlab.sandbox import Job, Sandbox
from nightlab.sandbox.errand import run_errand
from nightlab.sandbox.failure import Failure
from nightlab.sandbox.job import WEIGHTS
from nightlab.sandbox.probe import CPU
from nightlab.sandbox.process import SandboxedProcess
from nightlab.sandbox.protocol import Saved

CONVERSION_SECONDS = 300.0
MAX_HEADER_BYTES = 8 * 2**20

ITEM_BYTES = {
    **dict.fromkeys(("F64", "I64"), 8),
    **dict.fromkeys(("F32", "I32"), 4),
    **dict.fromkeys(("F16", "BF16", "I16"), 2),
    **dict.fromkeys(("I8", "U8", "BOOL"), 1),
}
"""The types of numbers that trainer/weights.py knows."""

Count = Annotated[int, Field(ge=0, le=2**53)]


class _Tensor(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid")

    dtype: Literal[
        "F64", "I64", "F32", "I32", "F16", "BF16", "I16", "I8", "U8", "BOOL"
    ]  # fmt: skip
    shape: tuple[Count, ...] = Field(max_length=16)
    data_offsets: tuple[Count, Count]

    @property
    def num_bytes(self) -> int:
        size = ITEM_BYTES[self.dtype]
        for count in self.shape:
            size *= count
        return size


_HEADER = TypeAdapter(dict[str, _Tensor])


def to_safetensors(
    checkpoint: Path, destination: Path, sandbox: Sandbox, *, memory_mb: int, scratch_mb: int
) -> str | None:
    """Write a checkpoint's weights as safetensors.

    Args:
        checkpoint: what a candidate saved.
        destination: where to.
        sandbox: where the checkpoint is opened.
        memory_mb: limit on memory; 0 for none.
        scratch_mb: limit on disk space.

    Returns:
        None, or why there is none, as a sentence.

    Raises:
        SandboxError: the sandbox broke.
    """

    def take(process: SandboxedProcess, _: Saved) -> str | None:
        missing = process.folder.take_checkpoint(destination, WEIGHTS)
        return missing or problem_of(destination)

    job = Job(
        program="weights",
        source="",
        device=CPU,
        memory_mb=memory_mb,
        scratch_mb=scratch_mb,
        weights=checkpoint,
    )
    done = run_errand(
        sandbox,
        job,
        lambda layout: {
            "type": "convert",
            "checkpoint": layout.saved_weights,
            "weights": layout.written_weights,
        },
        Saved,
        take,
        timeout_seconds=CONVERSION_SECONDS,
    )
    return done.message if isinstance(done, Failure) else done


def problem_of(path: Path) -> str | None:
    """Why a file is no whole safetensors file, as a sentence; None where it is one."""
    size = path.stat().st_size
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if not 2 <= length <= min(MAX_HEADER_BYTES, size - 8):
            return f"{path.name} has no header of safetensors."
        text = file.read(length)
    try:
        header = json.loads(text)
        if isinstance(header, dict):
            header.pop("__metadata__", None)
        tensors = _HEADER.validate_json(json.dumps(header))
    except (ValueError, RecursionError) as error:
        cause = error.errors()[0]["msg"] if isinstance(error, ValidationError) else str(error)
        return f"The header of {path.name} is not one of safetensors ({cause})."
    end = 0
    for name, tensor in sorted(tensors.items(), key=lambda item: item[1].data_offsets):
        begin, after = tensor.data_offsets
        if begin != end or after - begin != tensor.num_bytes:
            return f"The header of {path.name} does not place {name[:80]!r} where its bytes are."
        end = after
    if 8 + length + end != size:
        return f"{path.name} has {size} bytes, and its header speaks of {8 + length + end}."
    return None
