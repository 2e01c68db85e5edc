"""Records the curves and scores of real trainings, for bench/pruning.py to replay.

    .venv/bin/python bench/record_curves.py bench/curves.json        # about 25 minutes

Real edits of trainer/train.py, good, harmless and bad: most written by hand, each trained with
two seeds, the others as the knob proposer makes them, each with one; and the trainer as it
stands with eight. The budget is short and counts tokens, so that other work on the machine does
not bend the curves; the text is the whole corpus, as under a budget of seconds. What is in the
file already is not trained again.
"""

import argparse
import json
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from bare_trials import BareTrials

from nightlab.presets import PRESETS
from nightlab.proposers import knob_values, set_knobs
from nightlab.proposers.brief import Brief
from nightlab.proposers.edits import apply_edits
from nightlab.proposers.knobs.proposer import KnobProposer
from nightlab.source.schedule import touched_schedule

TRAINER = Path(__file__).resolve().parents[1] / "trainer" / "train.py"
SEEDS, INCUMBENT_SEEDS = 2, 8
PROPOSED = 30
WIDEST = 128
"""Proposals of wider models are left out: on a CPU they take many times longer."""
CAP_SECONDS = 300.0
"""A token budget needs one; no training of these comes near."""

KNOBS: tuple[dict[str, Any], ...] = (
    {"MATRIX_LEARNING_RATE": 0.0125},
    {"MATRIX_LEARNING_RATE": 0.025},
    {"MATRIX_LEARNING_RATE": 0.1},
    {"MATRIX_LEARNING_RATE": 0.2},
    {"EMBEDDING_LEARNING_RATE": 0.3},
    {"EMBEDDING_LEARNING_RATE": 1.0},
    {"EMBEDDING_LEARNING_RATE": 4.0},
    {"HEAD_LEARNING_RATE": 0.004},
    {"HEAD_LEARNING_RATE": 0.08},
    {"HEAD_LEARNING_RATE": 0.2},
    {"ADAM_BETA1": 0.9},
    {"ADAM_BETA2": 0.99},
    {"MUON_MOMENTUM": 0.95},
    {"MATRIX_WEIGHT_DECAY": 0.0},
    {"DEPTH": 2},
    {"DEPTH": 3},
    {"DEPTH": 5},
    {"FEED_FORWARD_RATIO": 2},
    {"WIDTH": 32, "HEAD_WIDTH": 32},
    {"WIDTH": 96},
    {"VALUE_EMBEDDING_EVERY": 0},
    {"VALUE_EMBEDDING_EVERY": 1},
    {"WINDOW_PATTERN": "SL", "SHORT_WINDOW_SHARE": 0.25},
    {"ROPE_BASE": 1000.0},
    {"LOGIT_CAP": 8.0},
    {"LOGIT_CAP": 50.0},
    {"ATTENTION_SHARPNESS": 1.5},
    {"TOTAL_BATCH_TOKENS": 4096},
)
TEXTS: tuple[tuple[str, str, str], ...] = (
    ("GeLU", "F.relu(self.expand(stream)).square()", "F.gelu(self.expand(stream))"),
    ("plain ReLU", "F.relu(self.expand(stream)).square()", "F.relu(self.expand(stream))"),
    ("no input again", "torch.full((DEPTH,), INPUT_SHARE)", "torch.zeros(DEPTH)"),
    (
        "no query norm",
        "rotate(normalise(self.query(stream).view(shape)), *rotation)",
        "rotate(self.query(stream).view(shape), *rotation)",
    ),
    (
        "no norm before the head",
        "logits = self.head(normalise(stream)).float()",
        "logits = self.head(stream).float()",
    ),
    (
        "no norm before feed-forward",
        "stream + self.feed_forward(normalise(stream))",
        "stream + self.feed_forward(stream)",
    ),
    ("large head at first", "nn.init.normal_(self.head.weight, std=0.001)", "pass"),
    (
        "small value embeddings at first",
        "nn.init.normal_(table.weight, std=INITIAL_SCALE / math.sqrt(WIDTH))",
        "nn.init.normal_(table.weight, std=0.01)",
    ),
    ("three polynomials", "in ORTHOGONAL_POLYNOMIALS:", "in ORTHOGONAL_POLYNOMIALS[:3]:"),
    ("decay against the step too", "agrees = weights * update > 0", "agrees = 1.0"),
    (
        "no look-ahead",
        'ahead = gradients.lerp_(momentum, group["momentum"])',
        "ahead = momentum.clone()",
    ),
    (
        "dropout",
        "F.relu(self.expand(stream)).square()",
        "F.dropout(F.relu(self.expand(stream)).square(), 0.1, self.training)",
    ),
)


def main() -> None:
    """Train what is not in the file yet."""
    parser = argparse.ArgumentParser(description="Record curves and scores of real trainings.")
    parser.add_argument("file", type=Path)
    parser.add_argument("--tokens", type=int, default=240_000, help="budget of one training")
    arguments = parser.parse_args()
    found: dict[str, Any] = {"budget_tokens": arguments.tokens, "trainings": []}
    if arguments.file.exists():
        found = json.loads(arguments.file.read_text(encoding="utf-8"))
    done = {(each["edit"], each["seed"]) for each in found["trainings"]}
    with tempfile.TemporaryDirectory() as folder:
        recorder = Recorder(int(found["budget_tokens"]), Path(folder))
        standing = TRAINER.read_text(encoding="utf-8")
        for name, source, seed in plan(standing):
            if (name, seed) not in done:
                touched = touched_schedule(standing, source) is not None
                found["trainings"].append(recorder.train(name, source, seed, touched))
                found |= recorder.evaluated
                arguments.file.write_text(layout(found), encoding="utf-8")


def plan(source: str) -> Iterator[tuple[str, str, int]]:
    """All trainings, as name, text and seed."""
    for seed in range(INCUMBENT_SEEDS):
        yield "", source, seed
    for name, text in edits(source).items():
        for seed in range(SEEDS):
            yield name, text, seed
    for index, (name, text) in enumerate(proposals(source).items()):
        yield name, text, SEEDS + index % (INCUMBENT_SEEDS - SEEDS)


def edits(source: str) -> dict[str, str]:
    """The texts of train.py by the edit's name."""
    texts = {}
    for values in KNOBS:
        name = ", ".join(f"{knob} {value}" for knob, value in values.items())
        texts[name] = set_knobs(source, values)
    for name, old, new in TEXTS:
        if source.count(old) != 1:
            sys.exit(f"record_curves: trainer/train.py needs {old!r} once: mend the edit {name!r}.")
        texts[name] = source.replace(old, new)
    return texts


def proposals(source: str) -> dict[str, str]:
    """What the knob proposer proposes first in studies of different seeds."""
    texts = {}
    for seed in range(PROPOSED):
        brief = Brief(
            study="curves",
            number=1,
            seed=seed,
            program="",
            runtime_contract="",
            incumbent_commit="",
            incumbent_source=source,
            incumbent_bpb=None,
            noise_bpb=None,
            records=(),
            device="cpu",
            budget_seconds=CAP_SECONDS,
            startup_free_seconds=CAP_SECONDS,
            sequence_length=PRESETS["quick"].sequence_length,
            vocab_size=PRESETS["quick"].vocab_size,
        )
        proposal = KnobProposer().propose(brief)
        text = apply_edits(source, proposal.edits).source
        if int(knob_values(text)["WIDTH"]) <= WIDEST:
            texts[proposal.title] = text
    return texts


class Recorder:
    """Trains at the quick preset's sizes, and keeps what pruning looks at."""

    def __init__(self, budget_tokens: int, folder: Path) -> None:
        self._trials = BareTrials(folder, CAP_SECONDS, budget_tokens)
        self.evaluated: dict[str, int | None] = {}
        """How many tokens and bytes a score is the mean of."""

    def train(self, name: str, source: str, seed: int, touches_schedule: bool) -> dict[str, Any]:
        """Train once; give the curve as pairs of tokens and loss, and the score."""
        trained, scored = self._trials.measure(source, 1000 + seed)
        if scored is None:
            sys.exit(f"record_curves: {name or 'the trainer'} failed: {trained.message}")
        self.evaluated = {
            "evaluation_tokens": scored.num_tokens,
            "evaluation_bytes": scored.num_bytes,
        }
        print(f"{name or 'as it stands'}, seed {seed}: {scored.val_bpb}", flush=True)
        points = [(point.tokens, point.loss) for point in trained.curve if point.loss is not None]
        return {
            "edit": name,
            "seed": seed,
            "touches_schedule": touches_schedule,
            "num_params": trained.num_params,
            "val_bpb": scored.val_bpb,
            "training_seconds": round(trained.training_seconds or 0.0, 2),
            "tokens": [tokens for tokens, _ in points],
            "losses": [round(loss, 4) for _, loss in points],
        }


def layout(found: dict[str, Any]) -> str:
    """One training a line, so that a change of the file can be read."""
    head = json.dumps({name: value for name, value in found.items() if name != "trainings"})
    lines = ",\n".join(json.dumps(each) for each in found["trainings"])
    return f'{head[:-1]},\n"trainings": [\n{lines}\n]}}\n'


if __name__ == "__main__":
    main()
