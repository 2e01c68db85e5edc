"""A host as many systems have it, for attacks to succeed against: a positive control.

The candidate is a child process with the engine's descriptors, killed as a process
group; its score is read from its output, its weights are read wherever the name leads, its
tokens are an ordinary file opened for reading. None of it is Nightlab's; it shows that an
attack which Nightlab stops is one that works.
"""

import ctypes
import json
import os
import re
import signal
import socket
import struct
import subprocess
import sys
from pathlib import Path

from tests.adversarial.bare import MARKER
from tests.adversarial.harness import CHEATED, Attack, Outcome
from tests.adversarial.scene import Scene

PATIENCE_SECONDS = 3.0
_BE_SUBREAPER = 36


def run_naively(attack: Attack, variant: str, scene: Scene, folder: Path) -> Outcome:
    """Run an attack and believe it: what it sees in its turn, or in two."""
    (folder / "work").mkdir()
    (folder / "train.bin").write_bytes(bytes(4000))
    (folder / "train.bin").chmod(0o444)
    with (folder / "train.bin").open("rb") as tokens:
        for turn in range(1, 3 if attack.scenario == "twice" else 2):
            facts = {**scene.facts(), "variant": variant, "turn": turn, "confined": False}
            (folder / "train.py").write_text(attack.candidate("attack", facts))
            _run_once(attack, tokens.fileno(), scene, folder)
    try:
        return _believe(folder, scene)
    finally:
        scene.end_survivors()
        # Or this process would gather the orphans of all later tests, which nobody reaps.
        _adopt_orphans(False)


def _run_once(attack: Attack, tokens: int, scene: Scene, folder: Path) -> None:
    _adopt_orphans(True)
    here, there = socket.socketpair()
    there.set_inheritable(True)
    with here, there, scene.inheritable():
        process = subprocess.Popen(
            [sys.executable, str(folder / "train.py")],
            cwd=folder / "work",
            env={**os.environ, "NIGHTLAB_SOCKET": str(there.fileno())},
            stdout=(folder / "log").open("wb"),
            stderr=subprocess.STDOUT,
            close_fds=False,
            start_new_session=True,
        )
        there.close()
        _serve(here, tokens, folder)
        try:
            process.wait(max(PATIENCE_SECONDS, attack.budget_seconds))
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def _adopt_orphans(adopt: bool) -> None:
    """Let orphans come to us and be reaped here: some machines' first process is slow at it."""
    ctypes.CDLL(None).prctl(_BE_SUBREAPER, int(adopt), 0, 0, 0)


def _serve(connection: socket.socket, tokens: int, folder: Path) -> None:
    connection.settimeout(PATIENCE_SECONDS)
    start = {"type": "start", "checkpoint": str(folder / "work" / "checkpoint.pt"), "seed": 0}
    try:
        connection.sendall(_frame(start))
        if connection.recv(4096):
            socket.send_fds(connection, [_frame({"type": "go", "num_tokens": 2000})], [tokens])
            while connection.recv(4096):
                pass
    except OSError:
        return


def _frame(message: dict[str, object]) -> bytes:
    payload = json.dumps(message).encode()
    return struct.pack(">I", len(payload)) + payload


def _believe(folder: Path, scene: Scene) -> Outcome:
    log = (folder / "log").read_text(errors="replace")
    outcome = Outcome(log=log)
    outcome.through += [line for line in log.splitlines() if line.startswith(MARKER)]
    if scene.secret in log:
        outcome.through.append("the secret was read")
    if "\x1b" in log:
        outcome.through.append("control characters reached the terminal")
    if re.search(r"^val_bpb:\s*0\.1", log, re.MULTILINE):
        outcome.through.append("the score was read from the output")
    if (folder / "train.bin").read_bytes() != bytes(4000):
        outcome.through.append("the training tokens were changed")
    checkpoint = folder / "work" / "checkpoint.pt"
    if checkpoint.is_file():
        weights = checkpoint.read_bytes()[:1000]
        if CHEATED in weights or scene.secret.encode() in weights:
            outcome.through.append("a checkpoint that no rule allows was taken")
    outcome.through += scene.disturbances(settle_seconds=0.3)
    return outcome
