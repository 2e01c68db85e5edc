"""What is handed over at a start, and what comes back where there is none."""

import os
from pathlib import Path

import pytest

from nightlab.errors import SandboxError
from nightlab.sandbox import Job, choose_sandbox
from nightlab.sandbox.device import Device
from nightlab.sandbox.process import Spawner

JOB = Job(program="train", source="", device=Device(name="cpu", description="test", threads=1))


@pytest.mark.parametrize("rung", ["2", "none"])
def test_a_start_that_fails_leaves_nothing_behind(rung, monkeypatch):
    sandbox = choose_sandbox(trust_candidate=True) if rung == "none" else choose_sandbox(only=rung)
    with sandbox.start(JOB) as process:
        process.wait(60)
        jobs = Path(process.folder.path).parent
    before = set(os.listdir("/proc/self/fd")), set(os.listdir(jobs))

    def refuse(*words, **options):
        raise SandboxError("no process can be started")

    monkeypatch.setattr(Spawner, "spawn", refuse)
    for _ in range(3):
        with pytest.raises(SandboxError, match="no process"):
            sandbox.start(JOB)
    # What the first job left open a moment longer may have gone meanwhile; nothing may have come.
    assert set(os.listdir("/proc/self/fd")) <= before[0]
    assert set(os.listdir(jobs)) <= before[1]
