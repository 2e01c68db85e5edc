"""Which sampler moves the knobs best: the real trainer at a short budget, equal training seconds.

    .venv/bin/python bench/samplers.py --results samplers.jsonl     # about 35 minutes

Every arm searches from the same start: the trainer as it stands with three of its knobs put
wrong. The arms take turns, trial by trial; repeats differ in their seeds. How a search goes, and
what counts as its score: bench/search.py.
"""

import argparse
import random
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from bare_trials import BareTrials
from search import Bench, Propose, Search, draw, print_table, run_in_turn

from nightlab.proposers import Brief, KnobProposer, read_knobs, set_knobs
from nightlab.proposers.edits import edit_between
from nightlab.proposers.knob_proposer import STARTUP_TRIALS
from nightlab.records import Proposal


def main() -> None:
    """Run all arms in turn and print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--results", type=Path, required=True, help="JSON lines, one a training")
    parser.add_argument("--trials", type=int, default=12, help="of each arm and repeat")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--budget-seconds", type=float, default=5.0)
    parser.add_argument("--arms", nargs="*", default=list(arms()), choices=list(arms()))
    parser.add_argument("--picture", type=Path)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(BareTrials(Path(folder), arguments.budget_seconds), arguments.results)
        searches = [
            Search(name, repeat, arms()[name], bench)
            for repeat in range(arguments.repeats)
            for name in arguments.arms
        ]
        run_in_turn(searches, arguments.trials)
    print_table(searches)
    if arguments.picture is not None:
        draw(searches, arguments.picture, "Knobs moved by several samplers")


def arms() -> dict[str, Propose]:
    """The ways of moving knobs that are compared."""
    import optuna

    def moves(sampler: Callable[[int], Any]) -> Propose:
        return KnobProposer(sampler).propose

    return {
        "random search": random_search,
        "random moves": moves(lambda seed: optuna.samplers.RandomSampler(seed=seed)),
        "TPE moves": moves(
            lambda seed: optuna.samplers.TPESampler(seed=seed, n_startup_trials=STARTUP_TRIALS)
        ),
        "TPE moves, joint": moves(
            lambda seed: optuna.samplers.TPESampler(
                seed=seed, n_startup_trials=STARTUP_TRIALS, multivariate=True, group=True
            )
        ),
        "GP moves": moves(
            lambda seed: optuna.samplers.GPSampler(seed=seed, n_startup_trials=STARTUP_TRIALS)
        ),
    }


def random_search(brief: Brief) -> Proposal:
    """Draw every knob anew over its whole range, as plain random search does."""
    chance = random.Random(f"{brief.seed}/{brief.number}")
    values: dict[str, Any] = {}
    for name, knob in read_knobs(brief.incumbent_source).items():
        if knob.choices is not None:
            values[name] = chance.choice(knob.choices)
        elif knob.low is not None and knob.high is not None and knob.log:
            share = chance.random()
            values[name] = float(f"{knob.low * (knob.high / knob.low) ** share:.3g}")
        elif isinstance(knob.low, int) and isinstance(knob.high, int):
            values[name] = chance.randrange(knob.low, knob.high + 1, int(knob.step or 1))
        elif knob.low is not None and knob.high is not None:
            values[name] = float(f"{chance.uniform(knob.low, knob.high):.3g}")
    edits = edit_between(brief.incumbent_source, set_knobs(brief.incumbent_source, values))
    return Proposal(title="All knobs anew", edits=edits, proposer="knobs")


if __name__ == "__main__":
    main()
