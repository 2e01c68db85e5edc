"""What jobs do in a sandbox, tried there first: with real sandboxes, and layers that are broken.

A GPU's layers are broken one by one, each as it breaks: what the sandbox itself refuses is
refused by it, what only a driver says is said in the driver's and torch's own words.
"""

import stat
import textwrap

import pytest

from nightlab import doctor
from nightlab.doctor import Outcome
from nightlab.errors import GpuUnusable, LibraryIncomplete, SandboxError, SandboxUnavailable
from nightlab.sandbox import Job, choose_sandbox, exercise, ladder, mounts, restricted
from nightlab.sandbox.device import Device
from nightlab.sandbox.exercise import (
    CPU,
    GPU_LAYERS,
    exercised_mark,
    library_layers,
    require_gpu,
    require_library,
    try_layers,
)
from nightlab.sandbox.launch import Wall
from nightlab.sandbox.library import prepare_library
from nightlab.sandbox.seccomp import filter_program

GPU = Device(name="cuda:0", description="NVIDIA Test, 80 GiB", threads=1, uuid="GPU-0001")

TOO_OLD = (
    "The NVIDIA driver on your system is too old (found version 12020). Please update your GPU "
    "driver by downloading and installing a new version"
)
OUT_OF_MEMORY = (
    "CUDA out of memory. Tried to allocate 2.00 MiB. GPU 0 has a total capacity of 79 GiB"
)
BREAKS = {
    "header": """
        def compile_model(_):
            subprocess.run(["g++", "-xc++", "-", "-c", "-o", "/dev/null"], check=True, text=True,
                           input="#include <nowhere.h>")
        LAYERS["compiler"] = compile_model
    """,
    "driver too old": f"""
        def start_device(_):
            raise RuntimeError({TOO_OLD!r})
        LAYERS["start"] = start_device
    """,
    "out of memory": f"""
        class OutOfMemoryError(RuntimeError):
            pass
        def multiply(_):
            raise OutOfMemoryError({OUT_OF_MEMORY!r})
        LAYERS["product"] = multiply
    """,
}
"""Layers in the program's own words; those before them pass, as on a machine with a GPU."""


@pytest.fixture(autouse=True)
def driver(tmp_path, monkeypatch):
    """The driver's tool, as on a machine whose GPU is vacant."""
    program = tmp_path / "nvidia-smi"
    program.write_text("#!/bin/sh\n")
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")


@pytest.fixture
def change_program(tmp_path, monkeypatch):
    """Go on with a program of layers to which a text is added."""

    def change(text, *, passing=()):
        lines = [f"LAYERS[{name!r}] = lambda _: None" for name in passing]
        whole = exercise.PROGRAM.read_text() + "\n".join([*lines, textwrap.dedent(text), ""])
        path = tmp_path / "changed_program.py"
        path.write_text(whole)
        monkeypatch.setattr(exercise, "PROGRAM", path)

    return change


@pytest.mark.parametrize("rung", ["1", "1n", "2"])
def test_all_that_is_installed_is_tried_in_every_sandbox_that_is_chosen(rung):
    choose_sandbox(only=rung)
    assert exercised_mark(prepare_library(), rung).exists()


def test_what_is_tried_depends_on_what_is_installed(monkeypatch):
    library = prepare_library()
    for names, found in ((("torch",), False), (("torch", "triton"), True)):
        monkeypatch.setattr(exercise, "torch_closure", lambda names=names: names)
        layers = library_layers(library)
        assert {"torch", "optimiser"} <= set(layers)
        assert ("compiler" in layers) is library.has_compiler
        assert ("Triton kernel" in layers) is found
        assert ("Triton's C code" in layers) is (found and library.has_compiler)


@pytest.mark.slow
@pytest.mark.usefixtures("compiler")
def test_what_a_gpu_computes_is_computed_on_the_processor_too():
    layers = ("start", "product", "compiler", "attention")
    assert try_layers(choose_sandbox(only="1"), layers, CPU) is None


def test_a_library_that_lacks_something_is_told_before_it_is_used(change_program, bubblewrap):
    change_program(
        """
        def optimise(_):
            raise ValueError("@jit functions should be defined in a Python file")
        LAYERS["optimiser"] = optimise
        """
    )
    with pytest.raises(LibraryIncomplete) as refused:
        require_library(bubblewrap, "never tried")
    said = str(refused.value)
    assert "torch's optimisers cannot take a step" in said
    assert "@jit functions should be defined" in said
    assert "make setup" in said
    assert not exercised_mark(prepare_library(), "never tried").exists()


def test_a_library_is_tried_once(bubblewrap, monkeypatch):
    tried = []
    monkeypatch.setattr(exercise, "try_layers", lambda *_: tried.append(1))
    mark = exercised_mark(prepare_library(), "once")
    try:
        require_library(bubblewrap, "once")
        require_library(bubblewrap, "once")
        assert mark.exists()
        assert tried == [1]
    finally:
        mark.unlink()


def test_a_rung_without_proc_is_refused_to_gpus():
    with pytest.raises(SandboxUnavailable, match="no /proc, which a GPU's driver writes to"):
        choose_sandbox(only="1n", device=GPU)


def test_what_the_driver_does_first_is_allowed_on_both_rungs_and_only_to_jobs_on_a_gpu():
    first = GPU_LAYERS[:2]
    for rung in ("1", "2"):
        runner = restricted.LandlockSandbox() if rung == "2" else choose_sandbox(only="1")
        assert try_layers(runner, first, GPU) is None
    landlock = restricted.LandlockSandbox()
    for layer in first:
        fault = try_layers(landlock, (layer,), CPU)
        assert fault is not None
        assert fault.layer == layer


@pytest.mark.parametrize(
    ("layer", "words"),
    [
        ("/proc", ("its own files in /proc", "Permission denied", "security profile")),
        ("socket", ("bind a local socket", "not permitted", "seccomp profile")),
        ("driver", ("libcuda.so.1", "cannot open shared object file", "ldconfig")),
        ("header", ("torch.compile", "fatal error: nowhere.h", "g++ --version")),
        (
            "driver too old",
            ("cannot start the GPU", "too old (found version 12020)", "TORCH=cu126"),
        ),
        ("out of memory", ("cannot be multiplied", "CUDA out of memory", "nvidia-smi", "--device")),
    ],
)
def test_a_broken_layer_is_the_machines_fault_in_one_sentence(
    layer, words, change_program, monkeypatch, request
):
    if layer == "header":
        request.getfixturevalue("compiler")
    landlock = restricted.LandlockSandbox()
    if layer == "/proc":
        silent = {"names_threads": False}
        monkeypatch.setattr(restricted, "Wall", lambda **rules: Wall(**{**rules, **silent}))
    elif layer == "socket":
        monkeypatch.setitem(landlock._filters, "cuda", filter_program(local_sockets=False))
    elif layer in BREAKS:
        change_program(BREAKS[layer], passing=("driver", "start", "product", "attention"))
    with pytest.raises(GpuUnusable) as refused:
        require_gpu(landlock, GPU)
    said = str(refused.value)
    assert all(word in said for word in words), said
    assert "Traceback" not in said
    assert "candidate" not in said
    assert "\n" not in said


def test_the_doctor_says_of_every_rung_what_a_gpu_lacks_there(monkeypatch):
    monkeypatch.setattr(doctor, "detect_device", lambda _: GPU)
    found = doctor._device()
    assert found.outcome is Outcome.BAD
    assert found.found.count("libcuda.so.1") >= 2
    assert "no /proc" not in found.found, "it is no rung for GPUs"


def test_the_doctor_calls_a_gpu_good_that_jobs_can_use(monkeypatch):
    monkeypatch.setattr(doctor, "detect_device", lambda _: GPU)
    monkeypatch.setattr(ladder, "require_gpu", lambda *_, **__: None)
    found = doctor._device()
    assert found.outcome is Outcome.GOOD
    assert found.found.count("multiplied") == 2


def test_a_gpu_without_the_drivers_tools_is_told_so_and_not_that_no_sandbox_holds(
    monkeypatch, tmp_path
):
    monkeypatch.setenv("PATH", f"{tmp_path}/nothing:/usr/bin:/bin")
    with pytest.raises(SandboxUnavailable) as refused:
        choose_sandbox(device=GPU)
    said = str(refused.value)
    assert "No sandbox here lets a job use" in said
    assert "nvidia-smi, and it is not on PATH" in said
    assert "--trust-candidate" not in said


def test_what_is_not_compiled_needs_no_compiler_on_a_gpu(change_program):
    change_program(BREAKS["header"], passing=("driver", "start", "product", "attention"))
    landlock = restricted.LandlockSandbox()
    require_gpu(landlock, GPU, compiles=False)
    with pytest.raises(GpuUnusable, match=r"torch\.compile fails"):
        require_gpu(landlock, GPU)


def test_a_machine_without_time_or_memory_says_nothing_about_the_library(
    change_program, bubblewrap, monkeypatch
):
    change_program('def import_torch(_):\n    raise MemoryError\nLAYERS["torch"] = import_torch')
    with pytest.raises(SandboxError, match="did not have enough memory"):
        require_library(bubblewrap, "never tried")
    change_program("import time\nLAYERS['torch'] = lambda _: time.sleep(60)")
    monkeypatch.setattr(exercise, "EXERCISE_SECONDS", 0.5)
    with pytest.raises(SandboxError, match="not done after"):
        require_library(bubblewrap, "never tried")


def test_a_machine_without_time_is_no_reason_for_a_weaker_sandbox(monkeypatch):
    def no_time(*_):
        raise SandboxError("not done in time")

    monkeypatch.setattr(ladder, "require_library", no_time)
    with pytest.raises(SandboxError, match="not done in time"):
        choose_sandbox()


@pytest.mark.parametrize("rung", ["1", "2"])
def test_triton_is_led_to_the_drivers_library(rung, tmp_path):
    (tmp_path / "libcuda.so.1").touch()
    device = GPU.model_copy(update={"driver_folders": (str(tmp_path),)})
    runner = restricted.LandlockSandbox() if rung == "2" else choose_sandbox(only="1").runner
    job = Job(program="train", source="", device=device)
    program = "import os; print(os.environ['TRITON_LIBCUDA_PATH'])"
    with runner.start_program(job, ["-c", program]) as process:
        assert process.wait(60) == 0, process.log
        found = process.log.strip()
    assert found == (str(tmp_path) if rung == "2" else mounts.DRIVER)


def test_a_session_on_a_gpu_that_no_job_can_use_does_not_begin():
    with pytest.raises(
        SandboxUnavailable,
        match=r"No sandbox here lets a job use NVIDIA Test, .*libcuda.*--device cpu",
    ):
        choose_sandbox(device=GPU)
