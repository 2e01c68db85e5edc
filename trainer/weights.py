"""Weights as safetensors: a file that is numbers and nothing else, which any program may open.

What a candidate saves is a pickle, and to open one is to run what its writer put into it. So it is
turned into such a file inside a sandbox, by this program: see ``main``.

The format (github.com/huggingface/safetensors): the length of a header, 8 bytes little-endian; the
header, a JSON object with ``dtype``, ``shape`` and ``data_offsets`` of each tensor; the tensors'
bytes, one after the other. What is read here may come from any writer of it.
"""

import json
import os
import socket
from pathlib import Path

import runtime
import torch

NAMES = {
    torch.float64: "F64",
    torch.float32: "F32",
    torch.float16: "F16",
    torch.bfloat16: "BF16",
    torch.int64: "I64",
    torch.int32: "I32",
    torch.int16: "I16",
    torch.int8: "I8",
    torch.uint8: "U8",
    torch.bool: "BOOL",
}
DTYPES = {name: dtype for dtype, name in NAMES.items()}


def write(state: dict[str, torch.Tensor], path: Path) -> None:
    """Write tensors that lie on the CPU, the widest numbers first, so that each is aligned.

    Raises:
        TypeError: the state holds something else than tensors of the types above.
    """
    for name, tensor in state.items():
        if not isinstance(tensor, torch.Tensor) or tensor.dtype not in NAMES:
            kind = getattr(tensor, "dtype", type(tensor).__name__)
            raise TypeError(f"the saved weights hold {name!r}, and safetensors has no {kind}")
    tensors = sorted(state.items(), key=lambda item: (-item[1].element_size(), item[0]))
    header, end = {}, 0
    for name, tensor in tensors:
        begin, end = end, end + tensor.numel() * tensor.element_size()
        shape, offsets = list(tensor.shape), [begin, end]
        header[name] = {"dtype": NAMES[tensor.dtype], "shape": shape, "data_offsets": offsets}
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with path.open("wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        for _, tensor in tensors:
            file.write(tensor.contiguous().flatten().view(torch.uint8).numpy().data)


def read(path: Path) -> dict[str, torch.Tensor]:
    """Read all tensors, onto the CPU."""
    data = torch.from_file(str(path), size=path.stat().st_size, dtype=torch.uint8)
    start = 8 + int.from_bytes(bytes(data[:8].tolist()), "little")
    header = json.loads(bytes(data[8:start].tolist()))
    header.pop("__metadata__", None)
    state = {}
    for name, entry in header.items():
        begin, end = entry["data_offsets"]
        numbers = data[start + begin : start + end].clone()  # aligned, whoever wrote the file
        state[name] = numbers.view(DTYPES[entry["dtype"]]).reshape(entry["shape"])
    return state


def main() -> None:
    """Convert one checkpoint for the host: see runtime.py's docstring."""
    frames = runtime.Frames(socket.socket(fileno=int(os.environ[runtime.SOCKET_VARIABLE])))
    asked, _ = frames.receive()
    state = torch.load(asked["checkpoint"], map_location="cpu", weights_only=True)
    write(state, Path(asked["weights"]))
    frames.send({"type": "saved", "final": True})


if __name__ == "__main__":
    main()
