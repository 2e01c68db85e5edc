"""What a night finds: the engine's rule beside "keep if lower", at equal device time.

    .venv/bin/python bench/nights.py                            # all tables; an hour on one core
    .venv/bin/python bench/nights.py --nights 100 --kinds typical,null --json nights.json

A night is a hundred whole trainings. Ideas have a true effect on the score, in standard deviations
of one training (sigma); a rule is worth the true gain of the incumbent that it ends with, printed
with its standard error. A false keep is a kept idea whose true gain is zero or less. How nights
are simulated: bench/night_simulation.py.
"""

import argparse
import json
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor, ProcessPoolExecutor
from dataclasses import asdict, dataclass, replace
from functools import partial
from itertools import count, repeat
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

# Matrices are small here: threads of linear algebra would only wait for each other.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import numpy as np
from night_simulation import KINDS, Outcome, Study, World, draw_idea, engine, keep_if_lower

from nightlab.records import Decision, Reason, Verdict
from nightlab.settings import SessionSettings

RHOS = (0.73, 0.5, 0.2)
KEEP_PROBABILITIES = (0.7, 0.8, 0.85, 0.9, 0.95)
LOSSES = (0.0, 0.25, 0.5, 1.0, 1.5)
"""Of simpler code, in sigma."""
SIMPLER_TRIALS = 30


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """What a rule finds in the nights of one world."""

    rule: str
    world: World
    keep_probability: float | None
    nights: int
    gain: float
    gain_error: float
    keeps: float
    false: float
    expected_false: float | None
    ideas: float
    trainings: float

    @property
    def false_share(self) -> float:
        """Of its keeps."""
        return self.false / self.keeps if self.keeps else 0.0


Rule = Callable[[np.random.Generator, World], Outcome]


def run_row(rule: str, world: World, keep_probability: float | None, nights: int) -> Row:
    """Simulate the nights of one row, each with a seed of its own."""
    if keep_probability is None:
        play: Rule = partial(keep_if_lower, fresh="fresh" in rule, stops="stopped" in rule)
    else:
        play = partial(engine, keep_probability=keep_probability)
    outcomes = [play(np.random.default_rng([1, night]), world) for night in range(nights)]
    gains = [each.gain for each in outcomes]
    expected = fmean(each.expected_false for each in outcomes)
    return Row(
        rule=rule,
        world=world,
        keep_probability=keep_probability,
        nights=nights,
        gain=fmean(gains),
        gain_error=stdev(gains) / nights**0.5 if nights > 1 else 0.0,
        keeps=fmean(each.keeps for each in outcomes),
        false=fmean(each.false for each in outcomes),
        expected_false=None if keep_probability is None else expected,
        ideas=fmean(each.ideas for each in outcomes),
        trainings=fmean(each.trainings for each in outcomes),
    )


def rules() -> list[tuple[str, float | None]]:
    """The rules that are compared: name, and the engine's ``keep_probability``."""
    lower: list[tuple[str, float | None]] = [
        ("keep if lower, fresh seeds", None),
        ("keep if lower, one seed", None),
        ("the same, hopeless trainings stopped", None),
    ]
    return lower + [(f"Nightlab, P(better) ≥ {each:g}", each) for each in KEEP_PROBABILITIES]


def circumstances() -> list[tuple[str, World]]:
    """What may be otherwise than in the main table."""
    usual = World(kind="typical", rho=0.5)
    return [
        ("as in the table above", usual),
        ("no training stopped early", replace(usual, stops=False)),
        ("the preset's noise half of the truth", replace(usual, preset_factor=0.5)),
        ("the preset's noise twice the truth", replace(usual, preset_factor=2.0)),
        ("scores that drift, 1 sigma a night", replace(usual, drift=1.0)),
        ("scores that jump, by 1 sigma", replace(usual, jump=1.0)),
        ("scores that jump, by 5 sigma", replace(usual, jump=5.0)),
        ("two lanes, a hundred rounds", replace(usual, lanes=2)),
    ]


def simplify(loss: float, rho: float, night: int) -> list[tuple[bool, float]]:
    """Thirty simplifications, each truly worse by ``loss`` sigma than what it simplifies.

    Returns:
        Of each, whether it was kept, and how much worse the incumbent then is in all.
    """
    world = World(kind="null", rho=rho, trainings=10**6)
    study = Study(np.random.default_rng([2, night]), world, SessionSettings().keep_probability)
    study.begin()
    trials = []
    for _ in range(SIMPLER_TRIALS):
        decision = study.trial(-loss, saves_code=True)
        trials.append((decision is not None and decision.verdict is Verdict.KEEP, study.mean))
    return trials


@dataclass(frozen=True, slots=True, kw_only=True)
class SimplerRow:
    """What becomes of simpler code that is truly worse by so much."""

    loss: float
    rho: float
    nights: int
    kept_first: float
    """Share of studies that keep the first one."""
    kept: float
    """Share of all thirty."""
    lost: float
    """In sigma, by all thirty."""
    lost_at_most: float
    """In 95 % of studies."""


def run_simpler(loss: float, rho: float, nights: int) -> SimplerRow:
    """Simulate the studies of one row."""
    studies = [simplify(loss, rho, night) for night in range(nights)]
    ends = sorted(trials[-1][1] for trials in studies)
    return SimplerRow(
        loss=loss,
        rho=rho,
        nights=nights,
        kept_first=fmean(trials[0][0] for trials in studies),
        kept=fmean(is_kept for trials in studies for is_kept, _ in trials),
        lost=fmean(ends),
        lost_at_most=ends[min(len(ends) - 1, int(0.95 * len(ends)))],
    )


def sample_trial() -> Decision:
    """A simulated trial that took some pairs to be kept, for a picture."""
    for night in count():
        study = Study(
            np.random.default_rng([3, night]), World(), SessionSettings().keep_probability
        )
        study.begin()
        while (decision := study.trial(draw_idea(study.random, "typical"))) is not None:
            if decision.reason is Reason.IMPROVED and len(decision.pairs) > 3:
                return decision
    raise AssertionError("there is always another night")


def main() -> None:
    """Simulate, print the tables, write the numbers."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--nights", type=int, default=200, help="for each row")
    parser.add_argument("--kinds", default=",".join(KINDS), help="of ideas, of the first table")
    parser.add_argument("--json", type=Path, help="where the numbers go too")
    parser.add_argument("--only", choices=("rules", "circumstances", "simpler"))
    parser.add_argument("--workers", type=int, default=os.cpu_count())
    arguments = parser.parse_args()
    written: dict[str, Any] = {"simulated_trial": sample_trial().model_dump(mode="json")}
    with ProcessPoolExecutor(arguments.workers) as pool:
        if arguments.only in (None, "rules"):
            rows = _print_rules(pool, arguments.kinds.split(","), arguments.nights)
            written["rules"] = [asdict(row) for row in rows]
        if arguments.only in (None, "circumstances"):
            rows = _print_circumstances(pool, arguments.nights)
            written["circumstances"] = [asdict(row) for row in rows]
        if arguments.only in (None, "simpler"):
            written["simpler"] = [asdict(row) for row in _print_simpler(pool, arguments.nights)]
    if arguments.json is not None:
        arguments.json.write_text(json.dumps(written, indent=1) + "\n", encoding="utf-8")


HEAD = "true gain | keeps | of them false | said to be false | ideas tried |"


def _print_rules(pool: Executor, kinds: Sequence[str], nights: int) -> list[Row]:
    named = [
        (name, World(kind=kind, rho=rho), probability)
        for kind in kinds
        # Null ideas have no size that noise could be compared with.
        for rho in (RHOS if kind != "null" else RHOS[1:2])
        for name, probability in rules()
    ]
    print(f"{nights} nights a row\n\n| ideas | rho | rule | {HEAD}\n|-|-|-|-|-|-|-|-|")
    rows = []
    for row in _run(pool, named, nights):
        rho = "any" if row.world.kind == "null" else f"{row.world.rho:g}"
        print(f"| {row.world.kind} | {rho} | {row.rule} | {_numbers(row)}", flush=True)
        rows.append(row)
    return rows


def _print_circumstances(pool: Executor, nights: int) -> list[Row]:
    """At the default ``keep_probability``; beside it what the original's rule finds there."""
    named: list[tuple[str, World, float | None]] = []
    for name, world in circumstances():
        for kind in ("typical", "scarce", "null"):
            there, usual = replace(world, kind=kind), SessionSettings().keep_probability
            named.append((name, there, usual))
            if world.drift or world.jump:
                named.append((f"{name}; keep if lower, one seed", there, None))
    print(f"\n{nights} nights a row\n\n| what is otherwise | ideas | {HEAD}\n|-|-|-|-|-|-|-|")
    rows = []
    for row in _run(pool, named, nights):
        print(f"| {row.rule} | {row.world.kind} | {_numbers(row)}", flush=True)
        rows.append(row)
    return rows


def _run(
    pool: Executor, named: Sequence[tuple[str, World, float | None]], nights: int
) -> Iterator[Row]:
    names, worlds, probabilities = zip(*named, strict=True)
    return pool.map(run_row, names, worlds, probabilities, repeat(nights))


def _numbers(row: Row) -> str:
    said = "" if row.expected_false is None else f"{row.expected_false:.2f}"
    return (
        f"{row.gain:.1f} ± {row.gain_error:.1f} | {row.keeps:.2f} | {row.false:.2f} "
        f"({row.false_share:.0%}) | {said} | {row.ideas:.0f} |"
    )


def _print_simpler(pool: Executor, nights: int) -> list[SimplerRow]:
    print(
        f"\n{nights} studies a row, simpler code at rho 0.5\n\n| truly worse, in sigma, by | the "
        "first kept | of thirty kept | lost by thirty in a row | in 19 of 20 studies at most |\n"
        "|-|-|-|-|-|"
    )
    rows = []
    for row in pool.map(run_simpler, LOSSES, repeat(0.5), repeat(nights)):
        print(
            f"| {row.loss:g} | {row.kept_first:.0%} | {row.kept:.0%} | {row.lost:.2f} "
            f"| {row.lost_at_most:.2f} |",
            flush=True,
        )
        rows.append(row)
    return rows


if __name__ == "__main__":
    main()
