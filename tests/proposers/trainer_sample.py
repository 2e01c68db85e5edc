"""A small trainer to propose for, as text, and briefs about it."""

from typing import Any

from nightlab.proposers import Brief
from nightlab.records import TrialRecord

SOURCE = '''\
"""A trainer for tests: read as text, never run."""

import math

import runtime
import torch

DEPTH = 4  # 2..12; blocks
WIDTH = 64  # 32..512 step 32
MATRIX_LEARNING_RATE = 0.08  # 1e-4..1e-1 log; Muon
DECAY = 0.5  # 0.0..1.0; share of the budget
WINDOW_PATTERN = "L"  # one of "L", "SL", "S;L"; windows
TOTAL_BATCH_TOKENS = 65_536  # tokens of one step
COMPILE = False  # a switch, not a knob


def build_model(spec: runtime.Spec) -> torch.nn.Module:
    return torch.nn.Linear(WIDTH, spec.vocab_size)


def main() -> None:
    run = runtime.connect()
    model = build_model(run.spec)
    for step, (inputs, targets) in enumerate(run.batches(8)):
        loss = math.log(DEPTH)
        run.report(step, loss, inputs.numel())
    run.save(model)


if __name__ == "__main__":
    main()
'''


def sample_brief(number: int = 1, records: tuple[TrialRecord, ...] = (), **changes: Any) -> Brief:
    """A brief about ``SOURCE``."""
    values: dict[str, Any] = {
        "study": "sample",
        "number": number,
        "seed": 7,
        "program": "Lower the score.",
        "runtime_contract": "connect() gives a Run.",
        "incumbent_commit": "c" * 40,
        "incumbent_source": SOURCE,
        "incumbent_bpb": 2.5,
        "noise_bpb": 0.004,
        "records": records,
        "device": "cpu, 2 cores",
        "budget_seconds": 20.0,
        "startup_free_seconds": 10.0,
        "sequence_length": 256,
        "vocab_size": 2048,
    }
    return Brief(**{**values, **changes})
