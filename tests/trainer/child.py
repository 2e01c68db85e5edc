"""The trainer in a process of its own, for checks from outside.

A child gets ``load(**constants)``, which loads train.py by path and sets constants as a
preset or a knob would, and ``TestRun``, a runtime without host and clock, whose budget is a
number of batches. It prints one JSON value, which the test judges.
"""

import json
import os
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

TRAINER = Path(__file__).parents[2] / "trainer"
TRAIN_FILE = TRAINER / "train.py"

PRELUDE = """
import importlib.util, json, math, sys
import torch
import torch.nn.functional as F
import runtime

CPU = runtime.Spec(vocab_size=50, sequence_length=32, device="cpu")
SMALL = {
    "DEPTH": 3, "WIDTH": 32, "HEAD_WIDTH": 16, "DEVICE_BATCH_SIZE": 4,
    "TOTAL_BATCH_TOKENS": 128, "TRAINING_PRECISION": "float32", "ORTHOGONAL_PRECISION": "float32",
}

def load(**constants):
    spec = importlib.util.spec_from_file_location("candidate", TRAIN_FILE)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    for name, value in {**SMALL, **constants}.items():
        assert hasattr(module, name), name
        setattr(module, name, value)
    return module

def filled(module, spec=CPU, seed=0):
    "A model with large random weights: a fresh one has zeros, which hide mistakes."
    model = module.build_model(spec).eval()
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            values = torch.randn(parameter.shape, generator=generator)
            parameter.copy_(0.5 * values.to(parameter.device))
    return model

def some_tokens(batch=2, length=32, seed=1):
    return torch.randint(50, (batch, length), generator=torch.Generator().manual_seed(seed))

class TestRun:
    "Rows count upwards by 1 from a random token, modulo the vocabulary: easy to learn."

    def __init__(self, steps, rows_per_step, spec=CPU, seed=0):
        self.spec, self.seed, self.steps, self.rows = spec, seed, steps, rows_per_step
        self.fraction, self.reports, self.saved, self.rehearsed = 0.0, [], None, 0

    def synthetic_batch(self, batch_size):
        rows = torch.randint(self.spec.vocab_size, (batch_size, self.spec.sequence_length + 1))
        rows = rows.to(self.spec.device)
        return rows[:, :-1], rows[:, 1:]

    def rehearse_save(self, model):
        self.rehearsed += 1

    def batches(self, batch_size):
        length, generator = self.spec.sequence_length, torch.Generator().manual_seed(7)
        for step in range(self.steps):
            first = torch.randint(self.spec.vocab_size, (self.rows, 1), generator=generator)
            rows = (first + torch.arange(length + 1)) % self.spec.vocab_size
            for part in rows.to(self.spec.device).split(batch_size):
                self.fraction = (step + 1) / self.steps
                yield part[:, :-1], part[:, 1:]

    def report(self, step, loss, tokens, **others):
        assert math.isfinite(loss)
        self.reports.append({"step": step, "loss": loss, "tokens": tokens, **others})

    def save(self, model):
        self.saved = {name: tensor.clone() for name, tensor in model.state_dict().items()}
"""


def in_child(body: str) -> Any:
    """Run ``body`` after the prelude; return the JSON value that it gives to ``answer``."""
    program = "\n".join(
        [
            f"TRAIN_FILE = {str(TRAIN_FILE)!r}",
            PRELUDE,
            "def answer(value): print(json.dumps(value))",
            textwrap.dedent(body),
        ]
    )
    environment = {**os.environ, "PYTHONPATH": str(TRAINER), "OMP_WAIT_POLICY": "PASSIVE"}
    done = subprocess.run(
        [sys.executable, "-c", program],
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])
