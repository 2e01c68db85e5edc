"""bench/gpu.py on machines without a GPU: its stages told apart, and all of it in its tiny form."""

import importlib
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import psutil
import pytest

from nightlab.errors import SandboxUnavailable
from nightlab.sandbox.device import Device
from nightlab.sandbox.driver import has_gpu
from tests.conftest import ROOT

CPU = Device(name="cpu", description="A processor, 2 threads", threads=2, precision="float32")
SCRIPT = ROOT / "bench" / "gpu.py"
LONGEST_SECONDS = 400


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The script as a module, with its siblings beside it and a CPU as the only device."""
    monkeypatch.syspath_prepend(str(ROOT / "bench"))
    module = importlib.import_module("gpu")
    monkeypatch.setattr(module, "detect_device", lambda wanted: CPU)
    return module


@pytest.fixture
def stages_of(gpu: ModuleType, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Put other work in the place of the stages, by their names."""

    def put(needs_seconds: float = 0.0, most_seconds: float = 60.0, **works: Any) -> None:
        made = [
            gpu.Stage(name=name, needs_seconds=needs_seconds, most_seconds=most_seconds, work=work)
            for name, work in works.items()
        ]
        monkeypatch.setattr(gpu, "STAGES", made)

    return put


def measured(gpu: ModuleType, tmp_path: Path, *words: str) -> dict[str, Any]:
    """What the script wrote down."""
    file = tmp_path / "found.json"
    gpu.main(["--tiny", "--json", str(file), *words])
    found: dict[str, Any] = json.loads(file.read_text())
    return found


def test_without_a_gpu_one_sentence_says_so(gpu, capsys):
    with pytest.raises(SystemExit) as ended:
        gpu.main([])
    assert ended.value.code == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.count("\n") == 1
    assert "measures a GPU, and torch finds none here" in said.err
    assert "--tiny" in said.err


def test_options_choose_stages_and_time(gpu):
    arguments = gpu.parse(["--only", "kernels", "trial", "--seconds", "60"])
    assert (arguments.only, arguments.seconds) == (["kernels", "trial"], 60)
    assert gpu.parse([]).seconds < 8 * 60 + 1
    with pytest.raises(SystemExit):
        gpu.parse(["--only", "nothing"])


def test_a_stage_that_fails_says_it_in_one_sentence_and_the_others_go_on(
    gpu, stages_of, tmp_path, capsys
):
    def no_sandbox(bench):
        raise SandboxUnavailable("rung 2 needs Landlock,\nand the kernel has none", "update it")

    def odd(bench):
        return json.loads("not JSON")

    stages_of(machine=no_sandbox, kernels=odd, trial=lambda bench: {"steps": 3})
    rows = measured(gpu, tmp_path)["stages"]
    assert [row["outcome"] for row in rows] == ["failed", "failed", "done"]
    assert rows[0]["said"] == "rung 2 needs Landlock, and the kernel has none: update it."
    assert rows[1]["said"].startswith("JSONDecodeError: ")
    assert rows[2]["facts"] == {"steps": 3}
    printed = capsys.readouterr().out.splitlines()
    assert any(line.split()[:2] == ["kernels", "failed"] for line in printed), "as it is done"
    assert any(line.startswith("| trial | done |") for line in printed), "and in the table"


def test_a_stage_that_hangs_is_ended_in_time_for_the_next(gpu, stages_of, tmp_path):
    def hang(bench):
        assert bench.seconds_left <= 0.5
        time.sleep(60)

    stages_of(most_seconds=0.5, machine=hang, trial=lambda bench: {})
    began = time.monotonic()
    first, second = measured(gpu, tmp_path)["stages"]
    assert time.monotonic() - began < 20
    assert (first["outcome"], second["outcome"]) == ("failed", "done")
    assert "not done after" in first["said"]


def test_a_stage_for_which_time_is_short_is_skipped_and_says_so(gpu, tmp_path):
    rows = measured(gpu, tmp_path, "--seconds", "1")["stages"]
    assert [row["stage"] for row in rows] == list(gpu.NAMES)
    assert {row["outcome"] for row in rows} == {"skipped"}
    assert "at least" in rows[0]["said"]
    assert "1 s are left" in rows[0]["said"]


def test_what_was_measured_stays_when_the_next_stage_breaks_the_script(gpu, stages_of, tmp_path):
    def interrupted(bench):
        raise KeyboardInterrupt

    stages_of(machine=lambda bench: {"steps": 3}, trial=interrupted)
    with pytest.raises(KeyboardInterrupt):
        measured(gpu, tmp_path)
    found = json.loads((tmp_path / "found.json").read_text())
    assert [row["facts"] for row in found["stages"]] == [{"steps": 3}]


def test_the_file_says_how_it_was_measured(gpu, stages_of, tmp_path):
    stages_of(machine=lambda bench: {})
    found = measured(gpu, tmp_path)
    assert found["device"] == CPU.description
    assert (found["tiny"], found["preset"]) == (True, "quick")
    assert set(found["stages"][0]) == {"stage", "outcome", "seconds", "said", "facts"}


def test_kernels_have_a_table_of_their_own(gpu, stages_of, tmp_path, capsys):
    kernel = {"name": "triton_poi_fused_a|b", "calls": 8.0, "milliseconds": 1.5, "share": 0.25}
    stages_of(kernels=lambda bench: {"step_milliseconds": 160.25, "kernels": [kernel]})
    measured(gpu, tmp_path)
    printed = capsys.readouterr().out
    assert "step_milliseconds 160\n" in printed
    assert "| `triton_poi_fused_a\\|b` | 8 | 1.5 | 25.0% |" in printed


def test_a_program_that_outlives_its_stage_is_ended_with_all_it_started(gpu, tmp_path, monkeypatch):
    programs = importlib.import_module("gpu_programs")
    monkeypatch.setattr(programs, "END_SECONDS", 3.0)
    bench = SimpleNamespace(seconds_left=4.0, folder=tmp_path)
    deaf = "trap '' INT; sleep 300 & echo $! > child; sleep 300"
    began = time.monotonic()
    said = programs.run_bounded(["sh", "-c", deaf], bench, tmp_path, os.environ)
    assert said == "its time was up."
    assert time.monotonic() - began < 20
    child = int((tmp_path / "child").read_text())
    wait_until_gone(child)


def test_a_program_that_fails_is_quoted(gpu, tmp_path):
    programs = importlib.import_module("gpu_programs")
    bench = SimpleNamespace(seconds_left=60.0, folder=tmp_path)
    program = "import sys; print('one', flush=True); sys.exit('no such thing')"
    command = [sys.executable, "-c", program]
    said = programs.run_bounded(command, bench, tmp_path, os.environ)
    assert said == "it ended with 1, and its last line was 'no such thing'."


def test_nvidia_smi_is_timed_and_asked_for_our_process(gpu, tmp_path, monkeypatch):
    program = tmp_path / "nvidia-smi"
    program.write_text(f"#!/bin/sh\necho '1, 10'; echo '{os.getpid()}, 20'\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    stages = importlib.import_module("gpu_stages")
    facts = stages.smi_facts("GPU-1", os.getpid())
    assert (facts["nvidia_smi_processes"], facts["nvidia_smi_shows_ours"]) == (2, True)
    assert 0 < facts["nvidia_smi_seconds"] < 30
    assert not stages.smi_facts("GPU-1", 2**22)["nvidia_smi_shows_ours"]


def wait_until_gone(pid: int) -> None:
    """Whoever inherits the processes of the dead may take a moment to bury one."""
    for _ in range(100):
        if not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE:
            return
        time.sleep(0.1)
    pytest.fail(f"process {pid} is still there")


@pytest.mark.skipif(has_gpu(), reason="a GPU is here")
def test_a_gpu_that_cannot_be_held_is_told_in_torchs_words(gpu):
    stages = importlib.import_module("gpu_stages")
    bench = SimpleNamespace(device=CPU.model_copy(update={"name": "cuda:0"}))
    with pytest.raises(stages.StageFailed, match=r"could not hold cuda:0 \(.*(CUDA|NVIDIA)"):
        stages.look_at_machine(bench)


def event(kind: str, name: str, microseconds: float, note: bool = False) -> Any:
    """An average as the profiler gives it."""
    return SimpleNamespace(
        key=name,
        count=10,
        device_type=SimpleNamespace(name=kind),
        is_user_annotation=note,
        self_cpu_time_total=microseconds,
        self_device_time_total=microseconds if kind == "CUDA" else 0.0,
    )


def test_of_a_gpus_events_the_kernels_count_and_not_what_spans_them(gpu, monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "trainer"))
    profiler = importlib.import_module("gpu_profile")
    events = [
        event("CPU", "aten::mm", 9_000),
        event("CUDA", "Optimizer.step#Muon.step", 8_000, note=True),
        event("CUDA", "gemm", 1_000),
        event("CUDA", "triton_poi_fused", 3_000),
        event("CUDA", "Memset", 0.0),
    ]
    kernels, whole = profiler.top_kernels(events, on_gpu=True, steps=5)
    assert whole == pytest.approx(0.8)
    assert kernels == [
        {"name": "triton_poi_fused", "calls": 2, "milliseconds": 0.6, "share": 0.75},
        {"name": "gemm", "calls": 2, "milliseconds": 0.2, "share": 0.25},
    ]
    operators = [event("CPU", f"aten::{place}", place) for place in range(100)]
    most, _ = profiler.top_kernels(operators, on_gpu=False, steps=5)
    assert [each["name"] for each in most] == [f"aten::{99 - place}" for place in range(20)]


def whole(tmp_path: Path, cache: Path, *stages: str) -> dict[str, dict[str, Any]]:
    """The rows of a run of the script as a person starts it."""
    command = [sys.executable, str(SCRIPT), "--tiny", "--json", str(tmp_path / "found.json")]
    done = subprocess.run(
        [*command, "--seconds", str(LONGEST_SECONDS), "--only", *stages],
        cwd=tmp_path,
        env={**os.environ, "NIGHTLAB_CACHE": str(cache)},
        capture_output=True,
        text=True,
        timeout=LONGEST_SECONDS + 60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found = json.loads((tmp_path / "found.json").read_text())
    rows = {row["stage"]: row for row in found["stages"]}
    assert set(rows) == set(stages)
    assert {name: row["said"] for name, row in rows.items() if row["outcome"] != "done"} == {}
    return rows


@pytest.mark.slow
def test_everything_but_the_session_works_on_a_cpu(tmp_path, shared_cache):
    stages = ("machine", "rung-1", "rung-2", "sandboxed", "unconfined", "evaluation", "kernels")
    rows = whole(tmp_path, shared_cache, *stages)
    assert rows["machine"]["facts"]["torch"]
    assert "attention" in rows["rung-2"]["facts"]["layers"]
    inside, outside = rows["sandboxed"]["facts"], rows["unconfined"]["facts"]
    assert inside["steps"] > 0
    assert inside["startup_seconds"] > 0
    assert 0 <= inside["save_seconds"] < inside["training_seconds"] < 5
    ratio = inside["tokens_per_second"] / outside["tokens_per_second"]
    assert outside["sandboxed_share_of_rate"] == pytest.approx(ratio)
    assert rows["evaluation"]["facts"]["seconds_per_million_tokens"] > 0
    kernels = rows["kernels"]["facts"]["kernels"]
    assert 0 < len(kernels) <= 20
    assert "aten::mm" in {kernel["name"] for kernel in kernels}


@pytest.mark.slow
def test_a_whole_session_works_on_a_cpu(tmp_path, shared_cache):
    facts = whole(tmp_path, shared_cache, "trial")["trial"]["facts"]
    assert facts["trials"].startswith("0 keep (baseline), 1 discard")
    assert set(facts["steps_seconds"]) == {"0", "1"}
