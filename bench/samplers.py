"""Which way of moving the knobs finds most: the planned moves, TPE near the incumbent, plain TPE.

    .venv/bin/python bench/samplers.py --results samplers.jsonl     # about 35 minutes
    .venv/bin/python bench/samplers.py --landscapes 20 --trials 60  # made up, ten minutes

With ``--results`` the real trainer at a short budget, equal training seconds; every arm searches
from the trainer as it stands with three of its knobs put wrong, or as it stands (``--as-it-is``).
With ``--landscapes`` so many made-up trainers (bench/landscape.py), whose best knobs lie at random
around the start. The arms take turns, trial by trial; repeats differ in their seeds. How a
search goes, and what counts as its score: bench/search.py.
"""

import argparse
import random
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from statistics import fmean
from typing import Any

from bare_trials import BareTrials
from landscape import PAIR_NOISE_BPB, START_BPB, Landscape
from search import TRAINER, WRONG, Bench, Propose, Search, draw, print_table, run_in_turn

from nightlab.proposers import Brief, KnobProposer, knob_values, read_knobs, set_knobs
from nightlab.proposers.edits import edit_between
from nightlab.proposers.knobs.sampling import STARTUP_TRIALS, told_study, tpe_sampler
from nightlab.proposers.knobs.space import search_space, tidy
from nightlab.records import Proposal

MARKS = (8, 20, 40)
"""Numbers of trials after which gains are printed, and after the last."""
KEEP_PROBABILITY = 0.9
"""Of the made-up searches: from one pair, all being alike beforehand."""


def main() -> None:
    """Run all arms in turn and print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--results", type=Path, help="JSON lines, one a training")
    parser.add_argument("--landscapes", type=int, default=0, help="made-up trainers instead")
    parser.add_argument("--alike", action="store_true", help="made up, all kinds matter alike")
    parser.add_argument("--as-it-is", action="store_true", help="put no knobs wrong")
    parser.add_argument("--trials", type=int, default=12, help="of each arm and repeat")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--budget-seconds", type=float, default=5.0)
    parser.add_argument("--arms", nargs="*", default=list(arms()), choices=list(arms()))
    parser.add_argument("--picture", type=Path)
    arguments = parser.parse_args()
    if arguments.landscapes:
        print_gains(made_up(arguments))
        return
    if arguments.results is None:
        parser.error("name a file for --results, or a number of --landscapes")
    searches = trained(arguments)
    print_table(searches)
    if arguments.picture is not None:
        draw(searches, arguments.picture, "Knobs moved in several ways")


def trained(arguments: argparse.Namespace) -> list[Search]:
    """All arms in turn on the real trainer."""
    start = {} if arguments.as_it_is else WRONG
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(BareTrials(Path(folder), arguments.budget_seconds), arguments.results)
        searches = [
            Search(name, repeat, arms()[name], bench, start_knobs=start)
            for repeat in range(arguments.repeats)
            for name in arguments.arms
        ]
        run_in_turn(searches, arguments.trials)
    return searches


def made_up(arguments: argparse.Namespace) -> dict[str, list[list[float]]]:
    """True gains of the incumbent after each trial, of each arm on each made-up trainer.

    They start with the trainer's constants.
    """
    constants = TRAINER.read_text(encoding="utf-8").partition("\n\n\ndef ")[0] + "\n"
    gains: dict[str, list[list[float]]] = {name: [] for name in arguments.arms}
    for repeat in range(arguments.landscapes):
        landscape = Landscape(repeat, constants, is_alike=arguments.alike)
        for name in arguments.arms:
            search = Search(
                name,
                repeat,
                arms()[name],
                Bench(landscape, None),
                noise_bpb=PAIR_NOISE_BPB,
                keep_probability=KEEP_PROBABILITY,
                start_knobs={},
                template=constants,
            )
            gains[name].append([])
            for number in range(arguments.trials + 1):
                search.step(number)
                found = landscape.true_bpb(knob_values(search.incumbent))
                gains[name][-1].append(START_BPB - found)
    return gains


def print_gains(gains: dict[str, list[list[float]]]) -> None:
    """The mean true gain of each arm after some numbers of trials."""
    last = min(len(each) for ours in gains.values() for each in ours) - 1
    marks = [mark for mark in MARKS if mark < last] + [last]
    write = sys.stdout.write
    write(f"| arm | {' | '.join(f'{mark} trials' for mark in marks)} |\n")
    write(f"|-{'|-' * len(marks)}|\n")
    for name, ours in gains.items():
        means = (fmean(each[mark] for each in ours) for mark in marks)
        write(f"| {name} | {' | '.join(f'{mean:.4f}' for mean in means)} |\n")


def arms() -> dict[str, Propose]:
    """The ways of moving knobs that are compared."""
    import optuna

    def moves(sampler: Callable[[int], Any]) -> Propose:
        return KnobProposer(sampler, plans=False).propose

    return {
        "coarse, then fine": KnobProposer().propose,
        "random search": random_search,
        "plain TPE": plain_tpe,
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


def plain_tpe(brief: Brief) -> Proposal:
    """Have TPE draw every knob over its whole range, as Optuna is used where nothing stands."""
    knobs = read_knobs(brief.incumbent_source)
    spaces = {name: search_space(knob, 1.0) for name, knob in knobs.items()}
    sampler = tpe_sampler(1_000 * brief.seed + brief.number)
    asked = told_study(brief, spaces, sampler).ask(dict(spaces))
    values = {name: tidy(knob, asked.params[name]) for name, knob in knobs.items()}
    edits = edit_between(brief.incumbent_source, set_knobs(brief.incumbent_source, values))
    return Proposal(title="All knobs anew", edits=edits, proposer="knobs")


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
