import os
import resource
import textwrap
from dataclasses import asdict
from itertools import pairwise
from pathlib import Path

import pytest

from nightlab.presets import PRESETS
from nightlab.sandbox import Job
from nightlab.sandbox.device import Device
from nightlab.sandbox.environment import Limits, job_environment
from nightlab.sandbox.job import CHECKPOINT_MAX_BYTES, Layout
from nightlab.sandbox.protocol import Pair

CPU = Device(name="cpu", description="test", threads=1)


def limits(device=CPU, **changes):
    return Limits.of(Job(program="train", source="", device=device, **changes))


def test_a_processs_share_never_exceeds_the_jobs():
    found = limits(memory_mb=300, scratch_mb=100)
    assert found.data_bytes == found.memory_bytes == 300 * 2**20
    assert found.file_bytes == found.scratch_bytes == 100 * 2**20
    assert limits(scratch_mb=10**6).file_bytes == CHECKPOINT_MAX_BYTES
    assert limits().memory_bytes is None


def test_a_gpus_driver_may_reserve_what_it_likes():
    gpu = Device(name="cuda:1", description="test", threads=4)
    assert limits(gpu, memory_mb=300).data_bytes is None
    assert limits(gpu, memory_mb=300).memory_bytes == 300 * 2**20
    assert limits(gpu).gpu == "1"
    assert limits(gpu.model_copy(update={"uuid": "GPU-12"})).gpu == "GPU-12"
    assert limits().gpu is None


def test_every_preset_lets_two_checkpoints_stand():
    for preset in PRESETS.values():
        assert preset.scratch_mb >= 1000
    sizes = [preset.scratch_mb for preset in PRESETS.values()]
    assert all(small < large for small, large in pairwise(sizes))


def test_limits_are_plain_numbers_that_a_launcher_can_read():
    assert all(
        value is None or isinstance(value, int | str | tuple) for value in asdict(limits()).values()
    )


def test_what_is_counted_for_the_user_or_the_machine_is_limited(sandbox):
    found = limits()
    machine = int(Path("/proc/sys/fs/file-max").read_text())
    assert found.open_files * found.processes <= machine / 4
    assert 256 <= found.open_files <= resource.getrlimit(resource.RLIMIT_NOFILE)[1] / 2
    source = """
        import resource
        names = ("NOFILE", "SIGPENDING", "RTPRIO", "NICE")
        print([resource.getrlimit(getattr(resource, "RLIMIT_" + name)) for name in names])
    """
    job = Job(program="train", source=textwrap.dedent(source), device=CPU)
    with sandbox.start(job) as process:
        assert process.wait(20) == 0
        assert process.log.strip() == str(
            [(most, most) for most in (found.open_files, found.pending_signals, 0, 0)]
        )
    assert found.pending_signals == 1024


@pytest.mark.parametrize("threads", [1, 10_000])
def test_a_job_may_use_any_core_of_the_engine_since_other_work_may_sit_on_one(sandbox, threads):
    device = CPU.model_copy(update={"threads": threads})
    source = "import os; print(sorted(os.sched_getaffinity(0)))"
    ours = sorted(os.sched_getaffinity(0))
    with sandbox.start(Job(program="train", source=source, device=device)) as process:
        assert process.wait(20) == 0
        assert process.log.strip() == str(ours)
    assert sorted(os.sched_getaffinity(0)) == ours


def test_a_job_that_is_not_to_compile_is_told_so_by_our_own_switch():
    # Torch's breaks every torch.compile(fullgraph=True).
    layout, pair = Layout(trainer="t", candidate="c", weights="w", work="k"), Pair.open()
    with pair.channel:
        pair.close_candidate()
        for compiles, told in ((True, None), (False, "0")):
            job = Job(program="train", source="", device=CPU, compiles=compiles)
            environment = job_environment(job, layout, pair)
            assert environment.get("NIGHTLAB_COMPILES") == told
            assert "TORCH_COMPILE_DISABLE" not in environment
