"""What pruning saves and what it costs, replayed on the curves of real trainings.

    .venv/bin/python bench/pruning.py                              # a table, in a minute
    .venv/bin/python bench/pruning.py --picture docs/pruning.png

bench/curves.json holds what bench/record_curves.py recorded. Each replayed study tries every
edit once, in a random order and with one of its seeds, beside the incumbent's training of that
seed. A verdict is the first pair's: the engine's own rule says whether the candidate goes on or is
discarded, once from the full training and once with the real pruning code watching. The
curves and pairs that it learns from are those of the same replayed study.

The trainer as it stood is well tuned, so few edits of it go on. The second table therefore
takes each edit in turn as the incumbent, and all other codes as its candidates: then many are
better, and what pruning does to good ones shows.

Further pairs of what goes on, which cost the same either way, are not counted on either side.
"""

import argparse
import json
import math
import random
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from nightlab.judging.case import Case, Learnt, noise_of
from nightlab.judging.decision import needed_gain_bpb
from nightlab.presets import PRESETS
from nightlab.records import CurvePoint, Evaluation, Forecast, Replicate, TrainingResult
from nightlab.settings import SessionSettings
from nightlab.training.curve import PROFILE_BINS, Curve
from nightlab.training.pruning import (
    FALSE_STOP_RATE,
    LEAST_PAIRS,
    SPARED_ONE_IN,
    Pair,
    Watch,
    gaps_bpb,
    pair_of,
)

RECORDED = Path(__file__).with_name("curves.json")
STUDIES = 200
STUDIES_OF_OTHERS = 10
PASSING = (0.0, 0.1, 0.3, 0.6)
SECONDS_AN_HOUR = 3600


@dataclass(frozen=True, slots=True, kw_only=True)
class Training:
    """A recorded training, as the engine would have seen it."""

    edit: str
    touches_schedule: bool
    points: tuple[tuple[CurvePoint, float], ...]
    """With the share of the budget that was gone."""
    replicate: Replicate

    @property
    def num_params(self) -> int:
        """Size of the model."""
        return self.replicate.training.num_params or 0

    @property
    def seconds(self) -> float:
        """What it took in full."""
        return self.replicate.training.training_seconds or 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Followed:
    """A replayed trial, to be drawn."""

    gaps_bpb: tuple[float | None, ...]
    forecast: Forecast | None
    goes_on: bool


@dataclass(slots=True, kw_only=True)
class Tally:
    """What a number of replayed trials came to."""

    trials: int = 0
    full_seconds: float = 0.0
    seconds: float = 0.0
    went_on: int = 0
    stopped: int = 0
    wrongly: dict[str, int] = field(default_factory=dict)
    """Trials that were stopped and would have gone on, by their edit."""
    at: dict[float, int] = field(default_factory=dict)

    @property
    def changed(self) -> float:
        """Share of the verdicts that pruning changed."""
        return sum(self.wrongly.values()) / self.trials


def main() -> None:
    """Replay and print."""
    parser = argparse.ArgumentParser(description="Replay recorded curves with pruning.")
    parser.add_argument("--record", type=Path, default=RECORDED, help="the recorded trainings")
    parser.add_argument("--studies", type=int, default=STUDIES)
    parser.add_argument("--picture", type=Path, default=None)
    arguments = parser.parse_args()
    incumbent, edits = load(arguments.record)
    pruned, late = Tally(), Tally()
    for seed in range(arguments.studies):
        replay(incumbent, edits, random.Random(seed), pruned, late)
    print_table(incumbent, edits, pruned, late)
    print_others(incumbent, edits)
    if arguments.picture is not None:
        draw(incumbent, edits, arguments.picture)


def load(path: Path) -> tuple[list[Training], dict[str, list[Training]]]:
    """The incumbent's trainings, and the edits' by name."""
    recorded = json.loads(path.read_text(encoding="utf-8"))
    by_edit: dict[str, list[Training]] = {}
    for each in recorded["trainings"]:
        training = _training(each, recorded)
        by_edit.setdefault(training.edit, []).append(training)
    incumbent = by_edit.pop("", [])
    if not incumbent:
        sys.exit(f"pruning: {path} needs trainings of the trainer as it stands: record it anew.")
    return incumbent, by_edit


def _training(each: dict[str, Any], recorded: dict[str, Any]) -> Training:
    budget, seconds = recorded["budget_tokens"], each["training_seconds"]
    curve = Curve()
    points = []
    for step, (tokens, loss) in enumerate(zip(each["tokens"], each["losses"], strict=True), 1):
        share = tokens / budget
        point = CurvePoint(seconds=share * seconds, step=step, loss=loss, tokens=tokens)
        points.append((point, share))
        curve.add(point, share)
    result = TrainingResult(
        training_seconds=seconds, num_params=each["num_params"], loss_profile=curve.profile()
    )
    score = Evaluation(
        val_bpb=each["val_bpb"],
        num_tokens=recorded["evaluation_tokens"],
        num_bytes=recorded["evaluation_bytes"],
    )
    return Training(
        edit=each["edit"],
        touches_schedule=each["touches_schedule"],
        points=tuple(points),
        replicate=Replicate(seed=each["seed"], training=result, evaluation=score),
    )


def replay(
    incumbent: Sequence[Training],
    edits: dict[str, list[Training]],
    chance: random.Random,
    whole: Tally,
    late: Tally,
    followed: list[Followed] | None = None,
) -> None:
    """Replay one study into the tallies: all of it, and what came after pruning could begin."""
    names = sorted(edits)
    chance.shuffle(names)
    pairs: list[Pair] = []
    twins = {each.replicate.seed: each.replicate for each in incumbent}
    learnt, taken = Learnt(), 0.0
    for trial, name in enumerate(names):
        training = chance.choice(edits[name])
        twin = twins[training.replicate.seed]
        case = _case(twins, learnt)
        needed = (twin.val_bpb or math.inf) - needed_gain_bpb(case)
        forecast = None
        if not training.touches_schedule:
            watch = Watch(
                twin,
                pairs,
                sigma_bpb=noise_of(learnt.gains_bpb, case.preset_noise_bpb).pair_bpb,
                needed_bpb=needed,
                most_chance=FALSE_STOP_RATE * (trial + 1) - taken,
                is_spared=chance.randrange(SPARED_ONE_IN) == 0,
            )
            forecast = follow(training, watch)
        if forecast is not None and not forecast.is_spared:
            taken += forecast.chance
        score = training.replicate.val_bpb or math.inf
        goes_on = score < needed
        if followed is not None:
            gaps = gaps_bpb(training.replicate.training.loss_profile, twin)
            followed.append(Followed(gaps_bpb=gaps, forecast=forecast, goes_on=goes_on))
        for tally in (whole, late) if len(pairs) >= LEAST_PAIRS else (whole,):
            _count(tally, training, forecast, goes_on)
        grown = training.num_params > incumbent[0].num_params
        ended = forecast is None or forecast.is_spared
        gain = (twin.val_bpb or math.inf) - (score if ended else forecast_bpb(forecast))
        learnt = _with(learnt, gain, whole=ended)
        if ended and not grown and not training.touches_schedule:
            pairs.append(pair_of(training.replicate, twin))


def forecast_bpb(forecast: Forecast | None) -> float:
    """Where a stopped training was foreseen to end."""
    return forecast.expected_bpb if forecast is not None else math.inf


def _case(twins: dict[int, Replicate], learnt: Learnt) -> Case:
    """A candidate of which nothing is known yet, in the replayed study."""
    return Case(
        candidate=(),
        bank=twins,
        seeds=tuple(twins),
        learnt=learnt,
        preset_noise_bpb=PRESETS["quick"].pair_noise_bpb,
        keep_probability=SessionSettings().keep_probability,
    )


def _with(learnt: Learnt, gain_bpb: float, *, whole: bool) -> Learnt:
    """What is learnt with one more trial; nothing that is kept changes the incumbent here."""
    if whole:
        return replace(learnt, gains_bpb=(*learnt.gains_bpb, (gain_bpb,)))
    return replace(learnt, pruned=learnt.pruned + 1)


def follow(training: Training, watch: Watch) -> Forecast | None:
    """Play a curve to a watch; what it foresaw when it would have stopped."""
    curve = Curve()
    for point, share in training.points:
        curve.add(point, share)
        watch(curve, training.num_params)
    return watch.forecast


def _count(tally: Tally, training: Training, forecast: Forecast | None, goes_on: bool) -> None:
    tally.trials += 1
    tally.full_seconds += training.seconds
    tally.went_on += goes_on
    if forecast is None or forecast.is_spared:
        tally.seconds += training.seconds
        return
    tally.seconds += forecast.share * training.seconds
    tally.stopped += 1
    tally.at[forecast.share] = tally.at.get(forecast.share, 0) + 1
    if goes_on:
        tally.wrongly[training.edit] = tally.wrongly.get(training.edit, 0) + 1


def print_table(
    incumbent: Sequence[Training], edits: dict[str, list[Training]], whole: Tally, late: Tally
) -> None:
    """The comparison, for people."""
    trainings = len(incumbent) + sum(len(each) for each in edits.values())
    off = sum(each[0].touches_schedule for each in edits.values())
    grown = sum(each[0].num_params > incumbent[0].num_params for each in edits.values())
    print(
        f"{trainings} trainings; {len(edits)} edits: {off} touch the schedule or the loss, "
        f"{grown} make the model larger\n"
    )
    print(f"{'':42}{'whole studies':>15}{'once it began':>15}")
    for name, tallied in _rows(whole).items():
        print(f"{name:42}{tallied:>15}{_rows(late)[name]:>15}")
    for share in sorted(whole.at):
        print(f"{f'  stopped at {share:.0%}':42}{whole.at[share] / whole.trials:15.1%}")
    for name, count in sorted(whole.wrongly.items(), key=lambda item: -item[1]):
        print(f"  wrongly stopped: {name}, {count / whole.trials:.2%} of all trials")


def _rows(tally: Tally) -> dict[str, str]:
    hourly = SECONDS_AN_HOUR * tally.trials
    return {
        "decisions an hour of training, in full": f"{hourly / tally.full_seconds:.0f}",
        "decisions an hour of training, pruned": f"{hourly / tally.seconds:.0f}",
        "times as many": f"{tally.full_seconds / tally.seconds:.2f}",
        "go on in full": f"{tally.went_on / tally.trials:.1%}",
        "stopped": f"{tally.stopped / tally.trials:.1%}",
        "verdicts changed": f"{tally.changed:.2%}",
    }


def print_others(incumbent: Sequence[Training], edits: dict[str, list[Training]]) -> None:
    """The same with each edit in turn for the incumbent."""
    groups: dict[float, list[Tally]] = {low: [] for low in PASSING}
    codes = {**edits, "": list(incumbent)}
    for name, standing in edits.items():
        seeds = {each.replicate.seed for each in standing}
        if len(seeds) < 2:
            continue
        others = {
            other: paired
            for other, trainings in codes.items()
            if other != name
            and (paired := [each for each in trainings if each.replicate.seed in seeds])
        }
        tally = Tally()
        for seed in range(STUDIES_OF_OTHERS):
            replay(standing, others, random.Random(seed), tally, Tally())
        groups[max(low for low in PASSING if low <= tally.went_on / tally.trials)].append(tally)
    print("\nother incumbents, by the share of candidates that go on in full:")
    print(f"{'':12}{'incumbents':>12}{'times':>8}{'changed':>10}{'worst':>8}{'good stopped':>14}")
    for low, tallies in groups.items():
        if tallies:
            trials, wrong = (
                sum(t.trials for t in tallies),
                sum(t.changed * t.trials for t in tallies),
            )
            times = sum(t.full_seconds for t in tallies) / sum(t.seconds for t in tallies)
            print(
                f"{f'from {low:.0%}':12}{len(tallies):12}{times:8.2f}{wrong / trials:10.2%}"
                f"{max(t.changed for t in tallies):8.1%}"
                f"{wrong / max(sum(t.went_on for t in tallies), 1):14.1%}"
            )


def draw(
    incumbent: Sequence[Training], edits: dict[str, list[Training]], picture: Path, seed: int = 0
) -> None:
    """Draw one replayed study: every curve beside its twin's, to where it was stopped."""
    followed: list[Followed] = []
    replay(incumbent, edits, random.Random(seed), Tally(), Tally(), followed)
    figure = Figure(figsize=(9, 4.8), layout="constrained")
    axes = figure.subplots()
    for each in followed:
        end = 1.0 if each.forecast is None else each.forecast.share
        bins = [(index + 1) / PROFILE_BINS for index in range(PROFILE_BINS)]
        gaps = [gap for gap in each.gaps_bpb if gap is not None][: round(end * PROFILE_BINS)]
        stopped = each.forecast is not None and not each.forecast.is_spared
        colour = "#b5473c" if stopped else "#2f6f9f" if each.goes_on else "#9a9a9a"
        axes.plot(bins[: len(gaps)], gaps, color=colour, linewidth=0.9, alpha=0.8)
        if stopped:
            axes.plot(end, gaps[-1], marker="o", markersize=4, color=colour)
    for label, colour in (
        ("stopped (at the dot)", "#b5473c"),
        ("ran to its end, discarded", "#9a9a9a"),
        ("ran to its end, goes on", "#2f6f9f"),
    ):
        axes.plot([], [], color=colour, label=label)
    axes.axhline(0, color="black", linewidth=0.7)
    axes.set_ylim(-0.12, 0.3)
    axes.set_xlim(0, 1)
    axes.set_xlabel("share of the budget")
    axes.set_ylabel("bpb behind the incumbent's training with the same seed")
    axes.set_title("One replayed study: where its trainings were stopped", loc="left")
    axes.legend(frameon=False, loc="upper right")
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    FigureCanvasAgg(figure)
    figure.savefig(picture, dpi=130)


if __name__ == "__main__":
    main()
