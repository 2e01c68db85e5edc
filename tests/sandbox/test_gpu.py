"""Who computes on a GPU: with a stand-in for nvidia-smi, and with a real GPU where there is one."""

import os
import shutil
import stat
import subprocess
import sys
import time

import pytest

from nightlab.errors import SandboxError
from nightlab.sandbox import Job
from nightlab.sandbox.device import Device
from nightlab.sandbox.gpu import (
    ComputeProcess,
    compute_processes,
    require_vacant,
    wait_until_released,
)

GPU = Device(name="cuda:0", description="test", threads=1, uuid="GPU-0001")

# Answers with the contents of a file, counts its calls, and checks how it is asked.
STAND_IN = """#!/bin/sh
echo "$*" >> {folder}/calls
[ -f {folder}/refusal ] && cat {folder}/refusal && exit 9
exec cat {folder}/answer
"""


@pytest.fixture
def driver(tmp_path, monkeypatch):
    """A folder whose ``answer`` is what nvidia-smi says from now on."""
    program = tmp_path / "nvidia-smi"
    program.write_text(STAND_IN.format(folder=tmp_path))
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    (tmp_path / "answer").write_text("")
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
    (driver / "refusal").write_text("NVIDIA-SMI has failed: no driver\n")
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
        assert process.neighbours == (ComputeProcess(pid=1, memory_mb=10),)
        asked = len((driver / "calls").read_text().splitlines())
        process.kill()
        assert len((driver / "calls").read_text().splitlines()) > asked


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
