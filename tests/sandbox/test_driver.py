from pathlib import Path

import pytest

from nightlab.sandbox.driver import (
    are_hidden,
    driver_version,
    has_gpu,
    minor_number,
    why_unusable,
)
from tests.machine_samples import write_machine

UUIDS = {0: "GPU-aaaa", 1: "GPU-bbbb"}


@pytest.mark.parametrize(
    ("text", "version"),
    [
        (
            "NVIDIA UNIX x86_64 Kernel Module  535.183.01  Sun May 12 19:39:15 UTC 2024",
            "535.183.01",
        ),
        ("NVIDIA UNIX Open Kernel Module for x86_64  580.65.06  Release Build", "580.65.06"),
        ("GCC version:  gcc version 12.3.0 (Ubuntu 12.3.0-1ubuntu1~22.04)", None),
    ],
)
def test_the_drivers_version_is_read(tmp_path: Path, text: str, version: str | None) -> None:
    (write_machine(tmp_path, version="1") / "proc/driver/nvidia/version").write_text(text)
    assert driver_version(tmp_path) == version


def test_a_gpu_is_seen_by_its_node_or_by_its_driver_alone(tmp_path: Path) -> None:
    nothing = write_machine(tmp_path / "nothing", version="580.65.06")
    assert not has_gpu(nothing)
    assert driver_version(tmp_path) is None
    (nothing / "dev" / "nvidiactl").touch()
    assert not has_gpu(nothing), "the driver's own node is no GPU"
    (nothing / "dev" / "nvidia3").touch()
    assert has_gpu(nothing)
    elsewhere = write_machine(tmp_path / "container", {0: UUIDS[0]})
    (elsewhere / "dev" / "nvidia0").unlink()
    assert has_gpu(elsewhere)


def test_a_node_is_found_by_the_gpus_identifier(tmp_path: Path) -> None:
    machine = write_machine(tmp_path, UUIDS)
    assert minor_number("GPU-bbbb", machine=machine) == 1
    assert minor_number("GPU-AAAA", machine=machine) == 0
    assert minor_number("GPU-cccc", machine=machine) is None
    assert minor_number("MIG-cccc", "0000:08:00.0", machine) == 1, "by its card's place on the bus"


TOO_OLD = "driver 535.183.01 is too old for torch 2, which was made for CUDA 13.0"


@pytest.mark.parametrize(
    ("cuda", "version", "problem", "parts"),
    [
        (None, None, "not compiled", ("build for CPUs", "TORCH=cu130` with driver 580", "cu126")),
        (None, "580.65.06", "not compiled", ("build for CPUs", "run `make setup TORCH=cu130`, or")),
        (None, "550.54.14", "not compiled", ("build for CPUs", "run `make setup TORCH=cu126`")),
        ("13.0", "535.183.01", "too old", (TOO_OLD, "needs driver 580", "TORCH=cu126`")),
        ("13.0", "470.82", "too old", ("470.82 is too old", "update the driver to 580")),
        ("12.6", "470.82", "too old", ("needs driver 525", "update the driver to 580")),
        ("13.0", "580.65.06", "no kernel image is here", ("'no kernel image", "TORCH=cu126`")),
        ("12.6", "580.65.06", "no kernel image is here", ("'no kernel image", "TORCH=cu130`")),
        ("13.0", "580.65.06", "It broke", ("torch 2 says 'It broke'", "`nvidia-smi`")),
        ("13.0", "580.65.06", "CUDA out of memory", ("free it", "--device cuda:N")),
    ],
)
def test_the_sentence_says_why_and_what_mends_it(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    cuda: str | None,
    version: str | None,
    problem: str,
    parts: tuple[str, ...],
) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    machine = write_machine(tmp_path, UUIDS, version)
    said = why_unusable(problem, torch_version="2", cuda=cuda, machine=machine)
    for part in (*parts, "--device cpu"):
        assert part in said
    assert said.count("\n") == 0


def test_gpus_that_were_hidden_are_said_to_be(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "7")
    machine = write_machine(tmp_path, UUIDS, "580.65.06")
    problem = "No CUDA GPUs are available"
    said = why_unusable(problem, torch_version="2", cuda="13.0", machine=machine)
    assert "unset CUDA_VISIBLE_DEVICES, which is '7'" in said
    for minor in UUIDS:
        (machine / "dev" / f"nvidia{minor}").unlink()
    said = why_unusable(problem, torch_version="2", cuda="13.0", machine=machine)
    assert "--gpus all" in said


@pytest.mark.parametrize(
    ("visible", "hidden"),
    [
        (None, False),
        ("", True),
        (" ", True),
        ("-1", True),
        (" -1 , 0", True),
        ("0", False),
        ("0,-1", False),
        ("-", False),
        ("NoDevFiles", False),
        ("GPU-aaaa", False),
    ],
)
def test_an_empty_list_or_minus_one_hides_all_on_purpose(
    monkeypatch: pytest.MonkeyPatch, visible: str | None, hidden: bool
) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if visible is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    assert are_hidden() == hidden
