"""Draw docs/decisions.png and docs/pairs.png: ``python docs/draw_decisions.py``.

The first shows what rules find in simulated nights, by the numbers of bench/nights.json
(``bench/nights.py --json bench/nights.json`` makes them anew); the second the pairs of one trial:
a simulated one, or that of a record (``--record FILE.json``, the message of a trial's tag in git).
"""

import argparse
import json
import sys
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

DOCS = Path(__file__).resolve().parent
sys.path.insert(0, str(DOCS.parent))

from nightlab.judging.verdict_sentence import percent  # noqa: E402 - found by the line above
from nightlab.records import Decision, TrialRecord  # noqa: E402

INK, FAINT, OURS, THEIRS = "#1f2328", "#8b949e", "#1f6feb", "#bc4c00"
LOWER = (
    ("keep if lower, one seed", THEIRS, "keep if lower, one seed for all"),
    ("the same, hopeless trainings stopped", "white", "the same, stopped early as ours"),
)
BEFORE = (0.0, 5.5)
"""False keeps (%) and true gain (sigma) of the rule before pairs, typical ideas; from the notes on
the first engine, issue 21."""


def draw_rules(rows: list[dict[str, Any]], path: Path) -> None:
    """True gain against false keeps, a panel for each kind of ideas."""
    figure, panels = plt.subplots(1, 2, figsize=(9.5, 4.2), layout="constrained")
    kinds = (("typical", "Ideas of which 15 % help"), ("scarce", "Ideas of which 5 % help"))
    for axes, (kind, title) in zip(panels, kinds, strict=True):
        for rho, line, marker in ((0.73, "-", "o"), (0.5, "--", "s")):
            here = [each for each in rows if _is_of(each, kind, rho)]
            _draw_engine(axes, [each for each in here if each["keep_probability"]], rho, line)
            for rule, fill, said in LOWER:
                lower = next(each for each in here if each["rule"] == rule)
                axes.scatter(
                    _false_percent(lower),
                    lower["gain"],
                    edgecolor=THEIRS,
                    facecolor=fill,
                    marker=marker,
                    zorder=3,
                    label=f"{said} (rho {rho:g})",
                )
        if kind == "typical":
            axes.scatter(*BEFORE, color=FAINT, marker="D", zorder=3, label="Nightlab before pairs")
        axes.set_title(title, color=INK)
        axes.set_xlabel("false keeps, % of all that is kept")
        axes.set_ylim(0, 1.1 * axes.get_ylim()[1])
        axes.set_xlim(left=-3)
        for side in ("top", "right"):
            axes.spines[side].set_visible(False)
    panels[0].set_ylabel("true gain of a night, sigma")
    panels[0].legend(frameon=False, fontsize=8, loc="lower right")
    figure.savefig(path, dpi=130)


def _draw_engine(axes: Axes, rows: list[dict[str, Any]], rho: float, line: str) -> None:
    xs, ys = [_false_percent(each) for each in rows], [each["gain"] for each in rows]
    axes.plot(xs, ys, line, color=OURS, marker=".", label=f"Nightlab (rho {rho:g})")
    for each, x, y in zip(rows, xs, ys, strict=True):
        if each["keep_probability"] in (0.7, 0.9, 0.95):
            # Left of the upper line and right of the lower one, or the numbers would meet.
            shift = (-26, 2) if line == "-" else (6, -11)
            axes.annotate(
                f"{each['keep_probability']:g}",
                (x, y),
                xytext=shift,
                textcoords="offset points",
                color=OURS,
                fontsize=8,
            )


def _is_of(row: dict[str, Any], kind: str, rho: float) -> bool:
    return bool(row["world"]["kind"] == kind and row["world"]["rho"] == rho)


def _false_percent(row: dict[str, Any]) -> float:
    return 100 * row["false"] / row["keeps"] if row["keeps"] else 0.0


def draw_pairs(decision: Decision, title: str, path: Path) -> None:
    """A line for each pair, and what is believed after all of them."""
    figure, (left, right) = plt.subplots(
        1, 2, figsize=(9.5, 3.8), layout="constrained", width_ratios=(1, 1.25)
    )
    for pair in decision.pairs:
        color = OURS if pair.difference_bpb < 0 else THEIRS
        left.plot((0, 1), (pair.incumbent_bpb, pair.candidate_bpb), color=color, marker="o")
    left.set_xticks((0, 1), ("incumbent", "candidate"))
    left.set_xlim(-0.3, 1.3)
    left.set_ylabel("score, bits per byte (lower is better)")
    left.ticklabel_format(axis="y", useOffset=False)
    left.set_title("Each line: one seed, trained with both codes", color=INK, fontsize=10)
    gains = [-pair.difference_bpb for pair in decision.pairs]
    for row, gain in enumerate(gains):
        right.plot(gain, -row, "o", color=OURS if gain > 0 else THEIRS)
    ticks = [f"pair {row + 1}" for row in range(len(gains))]
    if decision.interval_bpb is not None and decision.expected_gain_bpb is not None:
        low, high = decision.interval_bpb
        right.plot((-high, -low), (-len(gains),) * 2, color=INK, linewidth=2)
        right.plot(decision.expected_gain_bpb, -len(gains), "D", color=INK)
        ticks.append("believed:\ngain, 95 %")
    right.set_yticks([-row for row in range(len(ticks))], ticks)
    right.set_ylim(-len(ticks) + 0.4, 0.6)
    right.axvline(0, color=FAINT, linewidth=1, zorder=0)
    right.xaxis.set_major_locator(MaxNLocator(6))
    right.set_xlabel("gain of the candidate, bits per byte")
    better = decision.probability_better
    chance = "" if better is None else f"; chance that it is better: {percent(better)}"
    right.set_title(f"{decision.reason.value}{chance}", color=INK, fontsize=10)
    for axes in (left, right):
        for side in ("top", "right"):
            axes.spines[side].set_visible(False)
    figure.suptitle(title, color=INK)
    figure.savefig(path, dpi=130)


def main() -> None:
    """Draw both pictures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--nights", type=Path, default=DOCS.parent / "bench" / "nights.json")
    parser.add_argument("--record", type=Path, help="the record of a trial with pairs")
    arguments = parser.parse_args()
    numbers = json.loads(arguments.nights.read_text(encoding="utf-8"))
    draw_rules(numbers["rules"], DOCS / "decisions.png")
    if arguments.record is None:
        decision = Decision.model_validate(numbers["simulated_trial"])
        draw_pairs(decision, "The pairs of one trial (simulated)", DOCS / "pairs.png")
        return
    record = TrialRecord.model_validate_json(arguments.record.read_text(encoding="utf-8"))
    if not record.decision.pairs:
        parser.error(f"trial {record.number} of study {record.study} has no pairs")
    title = f"Study {record.study}, trial {record.number}: {record.title}"
    draw_pairs(record.decision, title, DOCS / "pairs.png")


if __name__ == "__main__":
    main()
