"""What a training step of the h100 preset moves through memory, without a GPU.

    PYTHON bench/kernel_bytes.py                                # a commit and this clone: a minute
    PYTHON bench/kernel_bytes.py --versions now --preset        # with today's constants
    PYTHON bench/kernel_bytes.py WINDOW_PATTERN='"L"' DEPTH=4   # other constants, in all versions

PYTHON is one with the CUDA build of torch, in an environment of this clone. Dynamo and Inductor
compile forward and backward of one device batch for an H100 that is not there: its properties are
made up, tensors are fake, and nothing is launched. What Inductor believes that each of its kernels
reads and writes (``kernel_num_gb``) is added up, times its launches. Left out are the products of
matrices and the attention with cuDNN, which are no kernels of Inductor's, and the optimisers;
FlexAttention's kernels are told apart.

Autograd asks the driver for streams as soon as a tensor says that it lies on a GPU; a few lines of
C in its stead (LD_PRELOAD) say that there are none. So gcc is needed, on Linux.
"""

import argparse
import ast
import ctypes
import importlib
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import torch

from nightlab.presets import PRESETS
from nightlab.proposers import set_knobs
from nightlab.settings import TRAINER_FILE, Places

NOW = "now"
BEFORE = "e2a01b2"
"""The last commit without the order and layout of norm and rotation as they are."""
BASELINE: dict[str, bool | int | float | str] = {
    "DEPTH": 8,
    "WIDTH": 512,
    "HEAD_WIDTH": 128,
    "DEVICE_BATCH_SIZE": 128,
    "TOTAL_BATCH_TOKENS": 262_144,
    "WINDOW_PATTERN": "SSSL",
}
"""What the preset was in that commit, so that only the code differs."""
LONGEST_COMPILATION_SECONDS = 600
NO_DRIVER = """
static int devices = 0;
void pretend_devices(int count) { devices = count; }
signed char _ZN3c104cuda12device_countEv(void) { return devices; }
int cuDevicePrimaryCtxGetState(int device, unsigned *flags, int *active) {
    *flags = 0;
    *active = 0;
    return 0;
}
"""
H100 = SimpleNamespace(
    name="NVIDIA H100 80GB HBM3",
    major=9,
    minor=0,
    multi_processor_count=132,
    regs_per_multiprocessor=65_536,
    max_threads_per_multi_processor=2_048,
    max_threads_per_block=1_024,
    warp_size=32,
    total_memory=80 * 2**30,
    shared_memory_per_block=49_152,
    shared_memory_per_block_optin=232_448,
    shared_memory_per_multiprocessor=233_472,
    L2_cache_size=50 * 2**20,
    gcnArchName="",
)


def main() -> None:
    """Compile every version in a process of its own, and print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("constants", nargs="*", metavar="NAME=VALUE", help="set in train.py")
    parser.add_argument("--versions", nargs="*", default=[BEFORE, NOW], help=f"commits, or {NOW}")
    parser.add_argument("--preset", action="store_true", help="start from today's h100 preset")
    parser.add_argument("--top", type=int, default=5, help="largest kernels to name")
    parser.add_argument("--json", type=Path, help="where to write all numbers")
    parser.add_argument("--compile", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.compile is not None:
        compile_file(arguments.compile)
        return
    if torch.version.cuda is None:
        sys.exit(
            "kernel_bytes: this Python has the CPU build of torch, and only the CUDA build brings "
            "Triton: make an environment with that one, and run this with its Python."
        )
    constants = dict(PRESETS["h100"].knobs if arguments.preset else BASELINE)
    for constant in arguments.constants:
        name, _, value = constant.partition("=")
        constants[name] = ast.literal_eval(value)
    found = {}
    with tempfile.TemporaryDirectory(prefix="nightlab-bench-") as folder:
        shim = no_driver(Path(folder))
        for version in arguments.versions:
            source = set_knobs(source_of(version), constants)
            found[version] = measure(source, Path(folder), shim)
            print_version(version, found[version], arguments.top)
    if arguments.json is not None:
        told = {"constants": constants, "versions": found}
        arguments.json.write_text(json.dumps(told, indent=1) + "\n", encoding="utf-8")


def source_of(version: str) -> str:
    """The text of train.py in a commit, or as it stands."""
    root = Places.find().root
    if version == NOW:
        return (root / TRAINER_FILE).read_text(encoding="utf-8")
    command = ["git", "-C", str(root), "show", f"{version}:{TRAINER_FILE}"]
    shown = subprocess.run(command, capture_output=True, text=True, check=False)
    if shown.returncode != 0:
        sys.exit(f"kernel_bytes: no {TRAINER_FILE} in {version!r}: {shown.stderr.strip()}")
    return shown.stdout


def no_driver(folder: Path) -> Path:
    """Compile the C above; its name is the driver's, so that torch finds it loaded already."""
    compiler = shutil.which("gcc")
    if compiler is None:
        sys.exit("kernel_bytes: needs gcc, and there is none in PATH: install gcc.")
    source, library = folder / "no_driver.c", folder / "no_driver.so"
    source.write_text(NO_DRIVER, encoding="utf-8")
    options = ["-shared", "-fPIC", "-Wl,-soname,libcuda.so.1"]
    subprocess.run([compiler, *options, "-o", library, source], check=True)
    return library


def measure(source: str, folder: Path, shim: Path) -> list[dict[str, Any]]:
    """Compile a version in a child; give its kernels."""
    file = folder / "train.py"
    file.write_text(source, encoding="utf-8")
    environment = {
        **os.environ,
        "LD_PRELOAD": str(shim),
        "TORCHINDUCTOR_CACHE_DIR": str(folder / "inductor"),
        "PYTHONPATH": os.pathsep.join([str(Places.find().root / "trainer"), *sys.path[1:]]),
    }
    done = subprocess.run(
        [sys.executable, __file__, "--compile", str(file)],
        env=environment,
        capture_output=True,
        text=True,
        timeout=LONGEST_COMPILATION_SECONDS,
        check=False,
    )
    if done.returncode != 0:
        sys.exit(f"kernel_bytes: the compilation failed:\n{done.stderr[-3000:]}")
    kernels: list[dict[str, Any]] = json.loads(done.stdout.splitlines()[-1])
    return kernels


def print_version(version: str, kernels: list[dict[str, Any]], top: int) -> None:
    """Print gigabytes by direction and kind, and the largest kernels."""
    print(f"\n{version}: gigabytes of a device batch (launches)")
    kinds = ("pointwise, norms, loss", "FlexAttention")
    for kind in kinds:
        chosen = [each for each in kernels if each["kind"] == kind]
        parts = []
        for direction in ("forward", "backward"):
            of_it = [each for each in chosen if each["direction"] == direction]
            gigabytes = sum(each["launches"] * each["gigabytes"] for each in of_it)
            parts.append(f"{direction} {gigabytes:6.1f} ({sum(e['launches'] for e in of_it)})")
        whole = sum(each["launches"] * each["gigabytes"] for each in chosen)
        print(f"  {kind:23s} {whole:6.1f}   {', '.join(parts)}")
    for each in sorted(kernels, key=lambda k: -k["launches"] * k["gigabytes"])[:top]:
        print(f"    {each['launches']:3d} x {each['gigabytes']:.2f}  {each['name'][:80]}")
    sys.stdout.flush()


# --- The child: compiles for a card that is not there ---------------------------------------


def compile_file(file: Path) -> None:
    """Compile a train.py for an H100, and print its kernels as JSON."""
    pretend_card()
    wrappers: list[str] = []
    keep_code(wrappers)
    specification = importlib.util.spec_from_file_location("train", file)
    if specification is None or specification.loader is None:
        raise ImportError(f"no module in {file}")
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    trace(module)
    kernels = [
        {"direction": direction, **kernel}
        for direction, wrapper in zip(("forward", "backward"), wrappers, strict=True)
        for kernel in kernels_of(wrapper)
    ]
    print(json.dumps(kernels), flush=True)
    os._exit(0)  # autograd's threads for cards that are not there would end in an abort


def pretend_card() -> None:
    """Let torch and Triton believe in an H100."""
    torch._C._ensureCUDADeviceGuardSet()
    # As many as the device guard that does nothing counts, after it was chosen for lack of any.
    ctypes.CDLL(None).pretend_devices(127)
    answers: dict[str, Any] = {
        "is_available": True,
        "is_initialized": False,
        "is_bf16_supported": True,
        "device_count": 1,
        "current_device": 0,
        "_lazy_init": None,
        "_exchange_device": 0,
        "_maybe_exchange_device": 0,
        "get_device_properties": H100,
        "get_device_capability": (H100.major, H100.minor),
        "get_rng_state": torch.empty(0),
        "set_rng_state": None,
        "synchronize": None,
    }
    for name, answer in answers.items():
        setattr(torch.cuda, name, lambda *_, answer=answer, **__: answer)
    from torch._dynamo.device_interface import CudaInterface

    for name in ("current_device", "device_count", "get_device_properties", "synchronize"):
        setattr(CudaInterface, name, staticmethod(getattr(torch.cuda, name)))
    target = importlib.import_module("triton.backends.compiler").GPUTarget("cuda", 90, 32)
    importlib.import_module("triton.runtime").driver.set_active(
        SimpleNamespace(
            get_current_target=lambda: target,
            get_current_device=lambda: 0,
            get_active_torch_device=lambda: torch.device("cuda", 0),
        )
    )


def keep_code(wrappers: list[str]) -> None:
    """Have Inductor write sizes into its code, keep that code, and compile no kernel of it."""
    import torch._functorch.config as functorch
    import torch._inductor.config as inductor
    from torch._inductor.async_compile import AsyncCompile
    from torch._inductor.codecache import PyCodeCache
    from torch._inductor.fx_passes import fuse_attention, misc_patterns, pad_mm

    for config, name, value in (
        (functorch, "force_non_lazy_backward_lowering", True),
        (inductor, "benchmark_kernel", True),
        (inductor, "force_disable_caches", True),
        (inductor, "compile_threads", 1),
        (inductor, "joint_graph_constant_folding", False),  # computes on the card
    ):
        setattr(config, name, value)
    # These look for patterns that are not in this model, with tensors on the card.
    for passes, name in (
        (fuse_attention, "_sfdp_init"),
        (misc_patterns, "_misc_patterns_init"),
        (pad_mm, "_pad_mm_init"),
    ):
        setattr(passes, name, lambda *_: None)
    write = PyCodeCache.write

    def write_and_keep(source: str, *rest: Any, **options: Any) -> Any:
        wrappers.append(source)
        return write(source, *rest, **options)

    setattr(PyCodeCache, "write", write_and_keep)  # noqa: B010 - mypy forbids to assign methods
    setattr(AsyncCompile, "triton", lambda *_, **__: None)  # noqa: B010


def trace(module: ModuleType) -> None:
    """Send one fake batch through Dynamo, AOTAutograd and Inductor, as far as the code."""
    import runtime
    from torch._inductor.compile_fx import compile_fx
    from torch._subclasses.fake_tensor import FakeTensorMode

    class Compiled(Exception):  # noqa: N818 - nothing went wrong
        pass

    def only_compile(graph: torch.fx.GraphModule, inputs: list[torch.Tensor]) -> Any:
        compile_fx(graph, inputs)
        raise Compiled

    def cudnn_attention(
        query: Any, key: Any, value: Any, attn_mask: None, is_causal: bool, scale: float
    ) -> Any:
        """What torch takes on an H100; to choose it asks the card."""
        attend = torch.ops.aten._scaled_dot_product_cudnn_attention
        return attend(query, key, value, None, True, 0.0, is_causal, False, scale=scale)[0]

    torch.nn.functional.scaled_dot_product_attention = cudnn_attention  # type: ignore[assignment]
    sizes = PRESETS["h100"]
    spec = runtime.Spec(sizes.vocab_size, sizes.sequence_length, "cuda")
    with FakeTensorMode(allow_non_fake_inputs=True):
        with torch.device("cuda"):
            model = module.Model(spec).train()
            tokens = torch.empty(module.DEVICE_BATCH_SIZE, spec.sequence_length, dtype=torch.int64)
        model.compute_dtype = torch.bfloat16
        if any(model.is_short):
            window = module.short_window(spec.sequence_length)
            model.window_blocks = module.window_blocks(spec.sequence_length, window, "cuda")
        compiled: Any = torch.compile(model, dynamic=False, backend=only_compile)
        try:
            compiled(tokens, tokens)
        except torch._dynamo.exc.BackendCompilerFailed as error:
            if not isinstance(error.inner_exception, Compiled):
                raise


def kernels_of(wrapper: str) -> list[dict[str, Any]]:
    """Read the kernels, their sizes and launches from the module that Inductor wrote."""
    kernel = re.compile(r"(\w+) = async_compile\.triton\('\w+', '''(.*?)''', device_str", re.DOTALL)
    calls = kernel.sub("", wrapper)
    found = []
    for name, source in kernel.findall(wrapper):
        size = re.search(r"'kernel_num_gb': ([0-9.e-]+)", source)
        found.append(
            {
                "name": name,
                "kind": "FlexAttention" if "_tem_" in name else "pointwise, norms, loss",
                "gigabytes": float(size[1]) if size else 0.0,
                "launches": len(re.findall(rf"\b{name}\.run\(", calls)),
            }
        )
    return found


if __name__ == "__main__":
    main()
