"""Who computes on a GPU: with a stand-in for nvidia-smi, and with a real GPU where there is one."""

import os
import shutil
import stat
import subprocess
import sys
import time

import pytest

from nightlab.errors import SandboxError
from nightlab.records import OtherWork, Reason
from nightlab.sandbox import Job
from nightlab.sandbox.device import Device
from nightlab.sandbox.gpu import (
    ComputeProcess,
    compute_processes,
    other_work,
    require_vacant,
    wait_until_released,
)
from nightlab.training.training import TrainingOrder, train_replicate

GPU = Device(name="cuda:0", description="test", threads=1, uuid="GPU-0001")

# Answers with the contents of files, the one of who computes and the other of how the GPU is used;
# counts its calls.
STAND_IN = """#!/bin/sh
echo "$*" >> {folder}/calls
[ -f {folder}/refusal ] && cat {folder}/refusal && exit 9
case "$*" in *--query-gpu=*) exec cat {folder}/load;; esac
exec cat {folder}/answer
"""


@pytest.fixture
def driver(tmp_path, monkeypatch):
    """A folder whose ``answer`` is what nvidia-smi says from now on."""
    program = tmp_path / "nvidia-smi"
    program.write_text(STAND_IN.format(folder=tmp_path))
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    (tmp_path / "answer").write_text("")
    (tmp_path / "load").write_text("3, 0\n")
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    return tmp_path


def test_answers_are_understood(driver):
    (driver / "answer").write_text("123, 4567\n 89 , [N/A]\n")
    assert compute_processes("GPU-0001") == (
        ComputeProcess(pid=123, memory_mb=4567),
        ComputeProcess(pid=89, memory_mb=None),
    )
    asked = (driver / "calls").read_text()
    assert "--query-compute-apps=pid,used_memory" in asked
    assert "-i GPU-0001" in asked


@pytest.mark.parametrize("answer", ["No devices were found\n", "[Not Supported], 3\n"])
def test_an_answer_that_says_nothing_is_not_taken_for_nobody(driver, answer):
    (driver / "answer").write_text(answer)
    with pytest.raises(SandboxError, match="nvidia-smi"):
        compute_processes("0")


def test_a_driver_that_refuses_is_quoted(driver):
    (driver / "refusal").write_text("Of two lines\nNVIDIA-SMI has failed: no driver\n")
    with pytest.raises(SandboxError, match="no driver"):
        compute_processes("0")


def test_without_the_drivers_tools_the_remedy_is_named(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(SandboxError, match="NVIDIA_DRIVER_CAPABILITIES"):
        compute_processes("0")


def test_waits_until_the_driver_has_let_go(driver):
    (driver / "answer").write_text("123, 400\n77, 100\n")
    release = "import sys, time; time.sleep(1); open(sys.argv[1], 'w').write('77, 100\\n')"
    with subprocess.Popen([sys.executable, "-c", release, str(driver / "answer")]):
        wait_until_released("0", {5, 123}, timeout_seconds=60)
    assert (driver / "answer").read_text() == "77, 100\n", "another's process is not waited for"
    assert len((driver / "calls").read_text().splitlines()) > 1


def test_a_squatter_is_named_at_the_deadline(driver):
    (driver / "answer").write_text("123, 4000\n")
    with pytest.raises(SandboxError, match=r"process 123 with 4,000 MB"):
        wait_until_released("0", {123}, timeout_seconds=0.3)


def test_another_job_of_this_engine_is_refused_and_a_strangers_noted(driver):
    with subprocess.Popen(["sleep", "60"]) as job:
        try:
            (driver / "answer").write_text(f"{job.pid}, 10\n")
            with pytest.raises(SandboxError, match="another job of this engine"):
                require_vacant("0")
            (driver / "answer").write_text("1, 10\n")
            assert require_vacant("0") == (ComputeProcess(pid=1, memory_mb=10),)
        finally:
            job.kill()


def test_a_job_waits_for_the_gpu_before_and_after(driver, unconfined):
    source = "import time; time.sleep(60)"
    (driver / "answer").write_text("1, 10\n")
    with unconfined.start(Job(program="train", source=source, device=GPU)) as process:
        assert process.other_work == OtherWork(processes=1, memory_mb=10, utilization_percent=0)
        asked = len((driver / "calls").read_text().splitlines())
        process.kill()
        assert len((driver / "calls").read_text().splitlines()) > asked


ADA = ComputeProcess(pid=1, memory_mb=12_288)
BOB = ComputeProcess(pid=2, memory_mb=None)


@pytest.mark.parametrize(
    ("there", "load", "expected"),
    [
        ((), "3, 0", None),
        ((), "1023, 99", None),
        ((), "1024, 0", (0, 1024, 0)),
        ((), "12288, 45", (0, 12_288, 45)),
        ((ADA,), "12800, 100", (1, 12_288, 100)),
        ((ADA, BOB), "12800, 100", (2, 12_288, 100)),
        ((BOB,), "700, 3", (1, 700, 3)),
        ((BOB,), "[N/A], [N/A]", (1, None, None)),
        ((ADA,), "[N/A], [N/A]", (1, 12_288, None)),
        ((), "[N/A], [N/A]", None),
        ((), "", None),
        ((), "No devices were found", None),
    ],
)
def test_what_else_is_on_a_gpu_is_told_by_its_processes_or_its_memory(
    driver, there, load, expected
):
    (driver / "load").write_text(f"{load}\n")
    found = other_work("GPU-0001", there)
    assert found == (
        None
        if expected is None
        else OtherWork(
            processes=expected[0], memory_mb=expected[1], utilization_percent=expected[2]
        )
    )
    asked = (driver / "calls").read_text()
    assert "--query-gpu=memory.used,utilization.gpu" in asked
    assert "-i GPU-0001" in asked


def test_a_driver_that_tells_nothing_of_use_is_no_reason_to_fail(driver):
    (driver / "refusal").write_text("Not supported\n")
    assert other_work("MIG-0001", ()) is None
    assert other_work("MIG-0001", (ADA,)) == OtherWork(processes=1, memory_mb=12_288)


def test_a_trainings_record_names_it_however_the_training_ends(driver, unconfined, tmp_path):
    (driver / "answer").write_text("1, 12288\n")
    order = TrainingOrder(
        vocab_size=64,
        sequence_length=8,
        device=GPU,
        seed=1,
        budget_seconds=5.0,
        startup_seconds=30.0,
    )
    told = []
    result = train_replicate(
        order, "raise SystemExit(3)", None, unconfined, tmp_path / "w.pt", told.append, told.append
    )
    assert result.failure is Reason.EXCEPTION
    assert result.other_work == OtherWork(processes=1, memory_mb=12_288, utilization_percent=0)


@pytest.mark.gpu
@pytest.mark.skipif(shutil.which("nvidia-smi") is None, reason="no GPU here")
def test_a_real_gpu_lets_go_of_a_killed_process():
    hold = (
        "import torch, time; held = torch.ones(2**28, device='cuda'); print(flush=True); "
        "time.sleep(99)"
    )
    with subprocess.Popen([sys.executable, "-c", hold], stdout=subprocess.PIPE) as process:
        process.stdout.readline()
        seen = {app.pid for app in compute_processes("0")}
        process.kill()
    began = time.monotonic()
    wait_until_released("0", {process.pid})
    assert process.pid in seen or not seen, "in a container the driver may show nobody"
    assert time.monotonic() - began < 30
