"""What jobs will do in a sandbox, done there once: the program, one step for each layer.

It runs as a candidate does, by path, with the lines that ``exercise`` adds at its end; its
standard output names each layer before it is tried, so that the last one named is the one
that is missing. Nothing of Nightlab is there: it imports the standard library, torch and
Triton only.
"""

import ctypes
import os
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

TRYING = "trying: "


def import_torch(_: str) -> None:
    """Import what every trainer imports."""
    import numpy as np
    import torch

    torch.from_numpy(np.zeros(4, dtype=np.float32)).sum().item()


def optimise(device: str) -> None:
    """Take a step with the optimisers, which import Triton where it is installed."""
    import torch

    model = torch.nn.Linear(8, 8, device=device)
    for kind in (torch.optim.AdamW, torch.optim.SGD):
        optimizer = kind(model.parameters(), lr=0.1)
        torch.autograd.backward(model(torch.ones(2, 8, device=device)).sum())
        optimizer.step()
        optimizer.zero_grad()


def compile_model(device: str) -> None:
    """Compile a model forwards and backwards, and compare it with what was not compiled."""
    import torch

    model = torch.nn.Sequential(torch.nn.Linear(64, 64), torch.nn.GELU()).to(device)
    rows = torch.randn(16, 64, device=device)
    loss = torch.compile(model)(rows).square().mean()
    torch.autograd.backward(loss)
    _compare(loss, model(rows).square().mean())


def compile_kernel(_: str) -> None:
    """Compile a Triton kernel with a dot product for an H100, which needs no GPU."""
    import triton
    import triton.language as tl
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource

    # Triton would read annotations.
    @triton.jit  # type: ignore[untyped-decorator, unused-ignore]
    def product(left, right, result, SIZE: tl.constexpr):  # type: ignore[no-untyped-def] # noqa: N803
        row = tl.arange(0, SIZE)
        places = row[:, None] * SIZE + row[None, :]
        total = tl.dot(tl.load(left + places), tl.load(right + places))
        tl.store(result + places, tl.sum(tl.exp(total), axis=1)[:, None] + total)

    source = ASTSource(
        fn=product,
        signature={"left": "*bf16", "right": "*bf16", "result": "*fp32", "SIZE": "constexpr"},
        constexprs={"SIZE": 32},
    )
    made = triton.compile(source, target=GPUTarget("cuda", 90, 32))
    if not made.asm["cubin"]:
        raise RuntimeError("Triton compiled a kernel to nothing")


def build_triton_code(_: str) -> None:
    """Build the C code by which Triton reaches a GPU's driver, against a driver of no content."""
    import triton
    from triton.runtime.build import compile_module_from_src

    nvidia = Path(triton.__file__).parent / "backends" / "nvidia"
    with tempfile.TemporaryDirectory() as folder:
        empty = Path(folder, "empty.c")
        empty.write_text("", encoding="ascii")
        driver = f"{folder}/libcuda.so.1"
        subprocess.run(["gcc", "-shared", "-fPIC", str(empty), "-o", driver], check=True)
        try:
            compile_module_from_src(
                src=(nvidia / "driver.c").read_text(encoding="utf-8"),
                name="cuda_utils",
                library_dirs=[folder],
                include_dirs=[str(nvidia / "include")],
                libraries=["libcuda.so.1"],
            )
        except ImportError as error:
            # It was built; without a driver it cannot be loaded.
            if "undefined symbol" not in str(error) and "libcuda" not in str(error):
                raise


def write_own_process_files(_: str) -> None:
    """Name a thread through /proc, as the driver does (CUDA error 304 where it is refused)."""
    name = Path("/proc/self/task", str(threading.get_native_id()), "comm")
    with name.open("r+b", buffering=0) as file:
        file.write(b"exercise")


def bind_socket(_: str) -> None:
    """Bind a socket as the driver does for its unified memory."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as made:
        made.bind(f"\0cuda-uvmfd-exercise-{os.getpid()}")


def load_driver(_: str) -> None:
    """Load the driver's library, and find it where Triton asks for it."""
    ctypes.CDLL("libcuda.so.1")
    from triton.backends.nvidia.driver import libcuda_dirs

    libcuda_dirs()


def start_device(device: str) -> None:
    """Have torch start the device."""
    import torch

    if device == "cuda":
        torch.cuda.init()  # type: ignore[no-untyped-call]
    torch.zeros(1, device=device)


def multiply(device: str) -> None:
    """Multiply matrices and compare with the processor's product."""
    import torch

    left, right = torch.randn(2, 256, 256).unbind()
    product = (left.to(device) @ right.to(device)).cpu()
    _compare(product, left @ right, tolerance=0.05)


def attend(device: str) -> None:
    """Attend, plainly and in FlexAttention's compiled form, forwards and backwards."""
    import torch
    import torch.nn.functional as F  # noqa: N812 - the name every reader of torch code knows
    from torch.nn.attention.flex_attention import create_block_mask, flex_attention

    shape = (1, 2, 256, 64)
    on_gpu = device == "cuda"
    dtype = torch.bfloat16 if on_gpu and torch.cuda.is_bf16_supported(False) else torch.float32
    query, key, value = (
        torch.randn(shape, device=device, dtype=dtype, requires_grad=on_gpu) for _ in range(3)
    )
    plain = F.scaled_dot_product_attention(query, key, value, is_causal=True)
    mask = create_block_mask(
        lambda batch, head, at, seen: at >= seen, None, None, 256, 256, device=device
    )
    flexible = torch.compile(flex_attention)(query, key, value, block_mask=mask)
    _compare(flexible, plain, tolerance=0.05)
    if on_gpu:
        torch.autograd.backward((plain + flexible).sum())
        torch.cuda.synchronize()


LAYERS: dict[str, Callable[[str], None]] = {
    "torch": import_torch,
    "optimiser": optimise,
    "compiler": compile_model,
    "Triton kernel": compile_kernel,
    "Triton's C code": build_triton_code,
    "/proc": write_own_process_files,
    "socket": bind_socket,
    "driver": load_driver,
    "start": start_device,
    "product": multiply,
    "attention": attend,
}


def exercise(names: Sequence[str], device: str) -> None:
    """Try layers in turn; the first that fails ends the program with its exception."""
    for name in names:
        sys.stdout.write(f"{TRYING}{name}\n")
        sys.stdout.flush()
        LAYERS[name](device)


def _compare(found: Any, expected: Any, tolerance: float = 1e-3) -> None:
    difference = (found.float() - expected.float()).abs().max().item()
    if not difference <= tolerance * max(1.0, expected.float().abs().max().item()):
        raise ArithmeticError(f"two ways to compute the same differ by {difference:.3g}")
