"""An engine in a process of its own, to be killed while an attack trains.

``python -m tests.adversarial.engine RUNG ATTACK FACTS`` trains without end.
"""

import json
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

from nightlab.sandbox import choose_sandbox
from nightlab.training.token_file import TokenFile
from nightlab.training.training import train_replicate
from tests.adversarial.harness import ATTACKS, Attack, Outcome, order_for
from tests.adversarial.scene import Scene

GRACE_SECONDS = 2.0
START_SECONDS = 60.0
EXPECTED_PROCESSES = 5


def run_until_engine_is_killed(attack: Attack, variant: str, rung: str, scene: Scene) -> Outcome:
    """Start an engine, wait until the attack has spread, kill the engine, look for survivors."""
    facts = json.dumps({**scene.facts(), "variant": variant, "turn": 1, "confined": True})
    command = [sys.executable, "-m", "tests.adversarial.engine", rung, attack.name, facts]
    outcome = Outcome()
    with (
        tempfile.TemporaryFile() as log,
        subprocess.Popen(
            command, stdout=log, stderr=subprocess.STDOUT, cwd=Path(__file__).parents[2]
        ) as engine,
    ):
        try:
            spread = _wait_for_spread(engine, scene)
        finally:
            engine.send_signal(signal.SIGKILL)
        time.sleep(GRACE_SECONDS)
        left = scene.survivors()
        log.seek(0)
        outcome.log = log.read().decode(errors="replace")
    if spread < EXPECTED_PROCESSES:
        outcome.through.append(f"the attack never began: {spread} processes, {outcome.log[-2000:]}")
    if left:
        outcome.through.append(f"{left} processes outlived the engine by {GRACE_SECONDS:g} s")
    return outcome


def _wait_for_spread(engine: "subprocess.Popen[bytes]", scene: Scene) -> int:
    end = time.monotonic() + START_SECONDS
    spread = 0
    while spread < EXPECTED_PROCESSES and time.monotonic() < end and engine.poll() is None:
        time.sleep(0.02)
        spread = scene.survivors()
    return spread


def main() -> None:
    """Train the attack, for longer than anybody waits."""
    rung, name, facts = sys.argv[1:]
    attack = replace(Attack.read(ATTACKS / f"{name}.py"), budget_seconds=600.0)
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "train.bin").write_bytes(bytes(4000))
        with TokenFile.from_path(Path(folder) / "train.bin") as tokens:
            train_replicate(
                order_for(attack),
                attack.candidate("attack", json.loads(facts)),
                tokens,
                choose_sandbox(only=rung),
                Path(folder) / "checkpoint.pt",
                lambda: None,
                lambda point: None,
            )


if __name__ == "__main__":
    main()
