"""The stages of bench/gpu.py that are programs of their own: the profiler, and a whole session."""

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from gpu_stages import ROOT, TRAINER, Bench, Facts, StageFailed

from nightlab.ledger import Ledger

PROFILER = Path(__file__).with_name("gpu_profile.py")
STUDY = "bench-gpu"
SESSION = ("--study", STUDY, "--trials", "1", "--confirm-replicates", "0", "--proposer", "command")
SESSION_SIZES = ("--preset", "quick", "--startup-free-seconds", "90", "--preflight-seconds", "1")
"""A baseline is trained three times: with the start-up of h100, that would take all the time."""
LEARNS_NOTHING = r"s/^(\w+_LEARNING_RATE) = [0-9._]+/\1 = 0.0/"
"""The idea of the one trial: so bad that one training decides, where others take several."""
CLONED = ("flows", "tasks", "nightlab", "trainer", "program.md")
END_SECONDS = 15.0
"""What a program gets to end by itself when its time is up."""


def profile_kernels(bench: Bench) -> Facts:
    """What takes a step's time, by torch's profiler in a process outside the sandbox."""
    source, order, found = (bench.folder / name for name in ("profiled.py", "order", "found"))
    source.write_text(bench.source, encoding="utf-8")
    sizes = bench.sizes
    spec = {"vocab_size": sizes.vocab_size, "sequence_length": sizes.sequence_length}
    asked = {
        "source": str(source),
        "spec": {**spec, "device": bench.device.kind},
        "steps": bench.profiled_steps,
        "num_tokens": bench.num_tokens,
    }
    order.write_text(json.dumps(asked), encoding="utf-8")
    threads = str(bench.device.threads)
    environment = {
        **os.environ,
        "PYTHONPATH": str(TRAINER),
        "TORCHINDUCTOR_CACHE_DIR": str(bench.folder / "inductor"),
        "TRITON_CACHE_DIR": str(bench.folder / "triton"),
        "CUDA_VISIBLE_DEVICES": bench.device.selector,
        "CUDA_DEVICE_ORDER": "PCI_BUS_ID",
        # As in a job: threads that spin lose an order of magnitude on busy cores.
        "OMP_NUM_THREADS": threads,
        "OMP_WAIT_POLICY": "PASSIVE",
        "GOMP_SPINCOUNT": "0",
        "KMP_BLOCKTIME": "0",
    }
    said = run_bounded(
        [sys.executable, str(PROFILER), str(order), str(found)], bench, bench.folder, environment
    )
    if not found.exists():
        raise StageFailed(f"The profile was not made: {said}")
    facts: Facts = json.loads(found.read_text(encoding="utf-8"))
    if not facts["kernels"]:
        raise StageFailed("The profiler saw no kernel: CUPTI may not be allowed in this container.")
    return facts


def run_trial(bench: Bench) -> Facts:
    """A baseline and one trial by the engine, at the quick preset, on the code as it is."""
    clone = make_clone(bench.folder / "clone")
    command = [sys.executable, "-m", "flows.command_line", "research", *SESSION, *SESSION_SIZES]
    command += ["--device", bench.device.name, "--budget-seconds", f"{bench.trial_seconds:g}"]
    command += ["--command", f"sed -E -i '{LEARNS_NOTHING}' trainer/train.py"]
    # Servers and models that a person has configured are not to hear of a measurement.
    others = ("PREFECT_", "MLFLOW_", "NIGHTLAB_TRACKING", "NIGHTLAB_MODEL", "NIGHTLAB_API")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(others)}
    said = run_bounded(command, bench, clone, {**kept, "PYTHONPATH": str(clone)})
    records = Ledger(clone, STUDY).records()
    trials = [f"{each.number} {each.verdict.value} ({each.reason.value})" for each in records]
    if len(records) < 2:
        finished = f" (finished: {', '.join(trials)})" if trials else ""
        raise StageFailed(f"The session did not come to its end{finished}: {said}")
    return {
        "trials": ", ".join(trials),
        "trainings": sum(len(each.replicates) + len(each.incumbent_replicates) for each in records),
        "steps_seconds": {str(each.number): dict(each.step_seconds) for each in records},
        "sentences": [each.decision.sentence for each in records],
    }


def make_clone(folder: Path) -> Path:
    """A git repository of what a session needs, as it is in the working tree."""
    folder.mkdir()
    for name in CLONED:
        if (ROOT / name).is_dir():
            ignored = shutil.ignore_patterns("__pycache__", ".*")
            shutil.copytree(ROOT / name, folder / name, ignore=ignored)
        else:
            shutil.copy(ROOT / name, folder / name)
    author = ["-c", "user.name=bench", "-c", "user.email=bench@localhost"]
    for words in (["init", "--quiet"], ["add", "."], [*author, "commit", "--quiet", "-m", "Bench"]):
        subprocess.run(["git", *words], cwd=folder, check=True)
    return folder


def run_bounded(
    command: list[str], bench: Bench, folder: Path, environment: Mapping[str, str]
) -> str:
    """Run a program until it ends or the stage's time is up; whatever it started ends with it.

    Returns:
        How it ended, as a sentence.
    """
    log = bench.folder / "log"
    with log.open("w", encoding="utf-8") as file:
        program = subprocess.Popen(
            command,
            cwd=folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        late = False
        try:
            program.wait(max(1.0, bench.seconds_left - END_SECONDS))
        except subprocess.TimeoutExpired:
            late = True
            program.send_signal(signal.SIGINT)
            with suppress(subprocess.TimeoutExpired):
                program.wait(END_SECONDS - 2)
        finally:
            with suppress(ProcessLookupError):
                os.killpg(program.pid, signal.SIGKILL)
            program.wait()
    if late:
        return "its time was up."
    lines = log.read_text(encoding="utf-8", errors="replace").split("\n")
    last = next((line.strip() for line in reversed(lines) if line.strip()), "it said nothing")
    return f"it ended with {program.returncode}, and its last line was {last!r}."
