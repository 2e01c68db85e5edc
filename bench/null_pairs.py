"""How far pairs of identical code lie apart, alone and beside other work: one table.

    .venv/bin/python bench/null_pairs.py                        # 20 pairs a row: an hour and a half
    .venv/bin/python bench/null_pairs.py --pairs 6 --busy 0 2   # rows: no busy loop, and two

A pair is what a study compares: two trainings of the trainer as it stands, on one seed and text,
scored by the engine, made in different moments. As in a study two trainings run side by side, a
core each: the first ones of two seeds, later their twins. Beside them the row's busy loops.
The noise of a pair is the root of the mean square of its difference, whose mean is zero by
construction. Tokens are those of a processor second.
"""

import argparse
import math
import multiprocessing
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from statistics import fmean, pstdev

from embedded_corpus import embedded_corpus

from nightlab.corpus import Corpus
from nightlab.evaluation.evaluation import evaluate
from nightlab.presets import PRESETS
from nightlab.sandbox import Sandbox, choose_sandbox
from nightlab.sandbox.device import detect_device
from nightlab.training.token_file import TokenFile
from nightlab.training.training import TrainingOrder, train_replicate

TRAINER = Path(__file__).resolve().parents[1] / "trainer"
LANES = 2


class Bench:
    """Trains and scores the trainer as it stands."""

    def __init__(self, budget_seconds: float | None, folder: Path) -> None:
        preset = PRESETS["quick"]
        self._folder = folder
        self._corpus: Corpus = embedded_corpus("quick")
        self._sandbox: Sandbox = choose_sandbox()
        self._source = (TRAINER / "train.py").read_text(encoding="utf-8")
        self._evaluation_tokens = preset.evaluation_tokens
        self._order = TrainingOrder(
            vocab_size=self._corpus.vocab_size,
            sequence_length=preset.sequence_length,
            device=detect_device("cpu").model_copy(update={"threads": 1}),
            seed=0,
            budget_seconds=budget_seconds or preset.budget_seconds,
            startup_seconds=preset.startup_seconds,
            compiles=False,
            memory_mb=preset.memory_mb,
            scratch_mb=preset.scratch_mb,
        )

    def measure(self, seeds: list[int]) -> list[tuple[float, float]]:
        """Train and score once with each seed, side by side: score, tokens a processor second."""
        with ThreadPoolExecutor(LANES) as lanes:
            rates = list(lanes.map(self._train, seeds))
            scores = list(lanes.map(self._score, seeds))
        return list(zip(scores, rates, strict=True))

    def _train(self, seed: int) -> float:
        order = self._order.model_copy(update={"seed": seed})
        with TokenFile.from_windows(
            self._corpus.folder / "train.bin", seed=seed, sequence_length=order.sequence_length
        ) as tokens:
            result = train_replicate(
                order, self._source, tokens, self._sandbox, self._checkpoint(seed),
                lambda: None, lambda point: None,
            )  # fmt: skip
        if result.failure is not None:
            raise SystemExit(f"The trainer as it stands failed: {result.message}")
        return result.tokens_per_second or math.nan

    def _score(self, seed: int) -> float:
        found = evaluate(
            self._source, self._checkpoint(seed), self._corpus, "val",
            self._order.model_copy(update={"seed": seed}), self._evaluation_tokens, self._sandbox,
            keep_below_bpb=None,
        )  # fmt: skip
        if found.val_bpb is None:
            raise SystemExit(f"The trainer as it stands was not scored: {found.message}")
        return found.val_bpb

    def _checkpoint(self, seed: int) -> Path:
        return self._folder / f"{seed}.pt"


def _spin() -> None:
    while True:
        pass


@contextmanager
def busy_loops(count: int) -> Iterator[None]:
    """Keep so many processors busy."""
    loops = [multiprocessing.Process(target=_spin, daemon=True) for _ in range(count)]
    for each in loops:
        each.start()
    try:
        yield
    finally:
        for each in loops:
            each.kill()
            each.join()


def row(bench: Bench, busy: int, pairs: int) -> str:
    """One line of the table."""
    differences, rates = [], []
    with busy_loops(busy):
        for first in range(0, pairs, LANES):
            seeds = list(range(first, min(first + LANES, pairs)))
            once, twins = bench.measure(seeds), bench.measure(seeds)
            for (one, rate), (other, other_rate) in zip(once, twins, strict=True):
                differences.append(one - other)
                rates += [rate, other_rate]
                print(
                    f"  {busy} loops: {one:.4f} {other:.4f}, {rate:.0f} {other_rate:.0f}/s",
                    flush=True,
                )
    noise = math.sqrt(fmean(each**2 for each in differences))
    spread = 100 * pstdev(rates) / fmean(rates)
    return f"| {busy} | {pairs} | {noise:.4f} | {fmean(rates):,.0f} | {spread:.1f} % |"


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pairs", type=int, default=20)
    parser.add_argument("--busy", type=int, nargs="+", default=[0, 1, 2], help="loops of each row")
    parser.add_argument("--budget-seconds", type=float, help="in place of the preset's")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="nightlab-bench-") as folder:
        bench = Bench(arguments.budget_seconds, Path(folder))
        lines = [row(bench, busy, arguments.pairs) for busy in arguments.busy]
    print("| busy loops | pairs | noise of a pair, bpb | tokens/s | their spread |")
    print("|-|-|-|-|-|", *lines, sep="\n")


if __name__ == "__main__":
    main()
