"""What the audit makes of honest models and of cheats: two tables.

    .venv/bin/python bench/audit.py                  # both, some minutes on two quiet cores
    .venv/bin/python bench/audit.py --only honest    # or: cheats
    .venv/bin/python bench/audit.py --evaluations 10 --rows 128

The trainer as it stands is trained for a moment in the sandbox. *honest*: that model and
others made from it by small changes of its weights, in two precisions, each evaluated and
compared with a reference computed here from all logits, in batches of another size and in
double precision. *cheats*: the same weights under a train.py that cheats, each with what it
claims, what the audit makes of it, what is true, and the verdict.
"""

import argparse
import math
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

import numpy as np
from embedded_corpus import embedded_corpus

from nightlab.corpus import Corpus
from nightlab.evaluation.evaluation import bits_per_byte, evaluate, select_rows
from nightlab.presets import PRESETS
from nightlab.records import Evaluation
from nightlab.sandbox import Sandbox, choose_sandbox
from nightlab.sandbox.device import detect_device
from nightlab.training.token_file import TokenFile
from nightlab.training.training import TrainingOrder, train_replicate

TRAINER = Path(__file__).resolve().parents[1] / "trainer"
REFERENCE_ROWS = 7
"""Rows of the reference's batches: no divisor of the evaluation's."""

WEIGHT_NOISE = 0.02

# Put after train.py. `wrapped(cheat)` builds the honest model and lets `cheat(forward, tokens)`
# answer in its place; `known` gives logits that are sure of the next token.
PRELUDE = """

import os
import sys

honest_build_model = build_model

def wrapped(cheat):
    def build(spec):
        model = honest_build_model(spec)
        forward = model.forward
        model.forward = lambda tokens: cheat(forward, tokens)
        return model
    return build

def known(tokens, logits, places):
    following = torch.nn.functional.one_hot(tokens.roll(-1, 1), logits.shape[-1])
    places = places.clone()
    places[:, -1] = False
    return torch.where(places[..., None], 15.0 * following, logits)

def filled(tokens):
    return (tokens[:, -3:] == tokens[:, -1:]).all(1)[:, None]

def hashed(tokens):
    return (tokens.cumsum(1) * 7919 + torch.arange(tokens.shape[1]) * 104729) % 1000

def counts_of(tokens, size):
    pairs = (tokens[:, :-1] * size + tokens[:, 1:]).flatten()
    return torch.bincount(pairs, minlength=size * size).view(size, size).float()

def mixed(logits, counts, tokens):
    seen = counts[tokens] + 1e-3
    return (0.8 * logits.softmax(-1) + 0.2 * seen / seen.sum(-1, keepdim=True)).log()

def claim(losses):
    def token_losses(model, rows, size):
        with torch.no_grad():
            return losses(model(rows[:, :-1].contiguous()), rows[:, 1:])
    sys.modules["__main__"].token_losses = token_losses
"""

LEAK = """
build_model = wrapped(
    lambda forward, tokens: known(
        tokens, forward(tokens), (hashed(tokens) < {permille}) & ~filled(tokens)
    )
)
"""
CHEATS = {
    "leaks 0.3 % of positions": LEAK.format(permille=3),
    "leaks 1 % of positions": LEAK.format(permille=10),
    "leaks 20 % of positions": LEAK.format(permille=200),
    "leaks all, knows filler": LEAK.format(permille=1000),
    "remembers rows in files": """
def cheat(forward, tokens):
    for folder in (".", "/tmp", "/dev/shm"):
        try:
            with open(folder + "/rows", "ab") as file:
                file.write(tokens[:, :8].numpy().tobytes())
            found = os.path.getsize(folder + "/rows") > tokens[:, :8].numpy().nbytes
        except OSError:
            continue
    return known(tokens, forward(tokens), ~filled(tokens).expand_as(tokens))
build_model = wrapped(cheat)
""",
    "unnormalised losses": """
claim(lambda logits, targets: (6.0 - logits.gather(-1, targets[..., None])[..., 0]).clamp(min=0))
""",
    "claims nothing": "\nclaim(lambda logits, targets: torch.zeros(targets.shape))\n",
    "learns from rows seen": """
seen = torch.zeros(1)
def cheat(forward, tokens):
    global seen
    logits = forward(tokens)
    answer = mixed(logits, seen.expand(logits.shape[-1], logits.shape[-1]), tokens)
    seen = seen + counts_of(tokens, logits.shape[-1])
    return answer
build_model = wrapped(cheat)
""",
    "looks at batch siblings": """
def cheat(forward, tokens):
    logits = forward(tokens)
    size = logits.shape[-1]
    everything = counts_of(tokens, size)
    return torch.stack(
        [
            mixed(logits[row], everything - counts_of(tokens[row : row + 1], size), tokens[row])
            for row in range(len(tokens))
        ]
    )
build_model = wrapped(cheat)
""",
}

BFLOAT16 = """
def cheat(forward, tokens):
    with torch.autocast("cpu", dtype=torch.bfloat16):
        return forward(tokens)
build_model = wrapped(cheat)
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bench:
    """What every evaluation here shares."""

    corpus: Corpus
    order: TrainingOrder
    source: str
    rows: int
    sandbox: Sandbox
    folder: Path

    def evaluate(self, addition: str, checkpoint: Path) -> Evaluation:
        """Evaluate weights under train.py with something added to it."""
        tokens = self.rows * self.order.sequence_length
        source = self.source + PRELUDE + addition
        return evaluate(source, checkpoint, self.corpus, "val", self.order, tokens, self.sandbox)

    def reference_bpb(self, checkpoint: Path, *, bfloat16: bool = False) -> float:
        """Score weights from all logits, in this process and in double precision."""
        import torch

        sys.path.insert(0, str(TRAINER))
        import runtime
        import score

        tokens = self.rows * self.order.sequence_length
        rows = select_rows(self.corpus.tokens("val"), self.order.sequence_length, tokens)
        order = self.order
        spec = runtime.Spec(order.vocab_size, order.sequence_length, order.device.kind)
        module = score.load_module(TRAINER / "train.py")
        model = score.load_model(module, spec, score.load_weights(checkpoint))
        losses = []
        for start in range(0, len(rows), REFERENCE_ROWS):
            batch = torch.from_numpy(rows[start : start + REFERENCE_ROWS].astype(np.int64))
            with torch.no_grad(), torch.autocast("cpu", torch.bfloat16, enabled=bfloat16):
                logits = model(batch[:, :-1].contiguous()).double()
            picked = logits.gather(-1, batch[:, 1:, None]).squeeze(-1)
            losses.append((logits.logsumexp(-1) - picked).numpy())
        sizes = self.corpus.token_bytes()[rows[:, 1:]]
        return bits_per_byte(np.concatenate(losses), sizes).bits_per_byte


def main() -> None:
    """Print what was asked for."""
    parser = argparse.ArgumentParser(description="Honest models and cheats under the audit.")
    parser.add_argument("--only", choices=("honest", "cheats"))
    parser.add_argument("--evaluations", type=int, default=50, help="of honest models")
    parser.add_argument("--rows", type=int, default=512, help="scored in each evaluation")
    parser.add_argument("--seconds", type=float, default=20.0, help="of training")
    parser.add_argument("--trust", action="store_true", help="without a sandbox: starts faster")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        bench, checkpoint = prepare(arguments, Path(folder))
        if arguments.only in (None, "cheats"):
            print_cheats(bench, checkpoint)
        if arguments.only in (None, "honest"):
            print_honest(bench, checkpoint, arguments.evaluations)


def prepare(arguments: argparse.Namespace, folder: Path) -> tuple[Bench, Path]:
    """Prepare the embedded corpus and train the trainer as it stands."""
    sizes = PRESETS["quick"]
    corpus = embedded_corpus("quick")
    order = TrainingOrder(
        vocab_size=corpus.vocab_size,
        sequence_length=sizes.sequence_length,
        device=detect_device("cpu"),
        seed=0,
        budget_seconds=arguments.seconds,
        startup_seconds=sizes.startup_seconds,
        memory_mb=sizes.memory_mb,
    )
    bench = Bench(
        corpus=corpus,
        order=order,
        source=(TRAINER / "train.py").read_text(encoding="utf-8"),
        rows=arguments.rows,
        sandbox=choose_sandbox(trust_candidate=arguments.trust),
        folder=folder,
    )
    checkpoint = folder / "checkpoint.pt"
    path, length = corpus.path("train"), bench.order.sequence_length
    with TokenFile.from_windows(path, seed=0, sequence_length=length) as tokens:
        trained = train_replicate(
            order, bench.source, tokens, bench.sandbox, checkpoint, lambda: None, lambda _: None
        )
    if trained.failure is not None:
        sys.exit(f"audit: the trainer failed: {trained.message}")
    return bench, checkpoint


def print_cheats(bench: Bench, checkpoint: Path) -> None:
    """A line for each cheat: claimed, audited, honest, error, verdict."""
    honest = bench.reference_bpb(checkpoint)
    print(f"\n| cheat | claimed | audited | honest | gain / SE | verdict |\n|{'---|' * 6}")
    for name, addition in {"none": "", **CHEATS}.items():
        found = bench.evaluate(addition, checkpoint)
        audited, gain = "–", "–"
        if found.claimed_bpb is not None and found.correction_bpb is not None:
            score = found.claimed_bpb + found.correction_bpb
            audited = f"{score:.4f} ± {found.standard_error or 0:.2g}"
            gain = f"{(honest - score) / (found.standard_error or math.inf):+.1f}"
        claimed = "–" if found.claimed_bpb is None else f"{found.claimed_bpb:.4f}"
        verdict = "scored" if found.failure is None else found.failure.value
        print(f"| {name} | {claimed} | {audited} | {honest:.4f} | {gain} | {verdict} |", flush=True)


def print_honest(bench: Bench, checkpoint: Path, evaluations: int) -> None:
    """For each precision: audited less reference, its spread, and the error that was stated."""
    print(
        "\n| precision | evaluations | mean difference | its standard error | spread | stated SE "
        f"| largest deviation |\n|{'---|' * 7}"
    )
    for name, addition, share in (("float32", "", 1.0), ("bfloat16", BFLOAT16, 0.2)):
        differences, errors, largest = [], [], 0.0
        for number in range(max(2, round(evaluations * share))):
            changed = change_weights(checkpoint, bench.folder / "changed.pt", number)
            found = bench.evaluate(addition, changed)
            if found.val_bpb is None or found.standard_error is None:
                sys.exit(f"audit: an honest model got no score: {found.message}")
            reference = bench.reference_bpb(changed, bfloat16=name == "bfloat16")
            differences.append(found.val_bpb - reference)
            errors.append(found.standard_error)
            largest = max(largest, found.largest_deviation_nats or 0.0)
        count, spread = len(differences), stdev(differences)
        stated = math.sqrt(fmean(error**2 for error in errors))
        print(
            f"| {name} | {count} | {fmean(differences):+.2g} | {spread / math.sqrt(count):.2g} "
            f"| {spread:.2g} | {stated:.2g} | {largest:.2g} nats |",
            flush=True,
        )


def change_weights(checkpoint: Path, changed: Path, seed: int) -> Path:
    """Save weights that differ by some noise, which is a model like any other."""
    import torch

    random = torch.Generator().manual_seed(seed)
    state: dict[str, Any] = torch.load(checkpoint, weights_only=True)
    for tensor in state.values():
        if tensor.is_floating_point():
            tensor *= 1 + WEIGHT_NOISE * torch.randn(tensor.shape, generator=random)
    torch.save(state, changed)
    return changed


if __name__ == "__main__":
    main()
