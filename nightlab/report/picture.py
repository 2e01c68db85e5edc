"""Draws val_bpb over trials as a PNG, with matplotlib's objects: no window, no global state.

The report's page has a drawing of its own (``staircase``), cheap enough to be made anew while a
session runs; this one is for where only a picture can stand.
"""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from nightlab.judging.scores import running_best
from nightlab.records import Reason, TrialRecord, Verdict
from nightlab.report.study import Study, interval_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

SIZE_INCHES = (10.5, 5.2)
PIXELS_AN_INCH = 160
LABEL_LENGTH = 42
FEWEST_LETTERS = 20
"""A label of fewer letters is the score alone."""
LETTER_SHARE = 0.0084
"""Width of a letter of a label, about, as a share of the axis."""
LABEL_GAP = 0.04
"""Labels closer than this, as a share of the axis, would run into each other."""
ARROWS = "→←↔−–…×≤≥"
"""Beyond Latin-1, what titles often hold and the font has."""
OUTLIER_SPANS = 0.6
"""How far above the baseline the axis may reach, in units of the span below it."""
CONFIRMATION_OFFSET = 0.3
"""Trials to the right of the incumbent where its confirmation is drawn."""
TICK_HEIGHT = 0.035
"""Of the marks that stand for trials without a score, as a share of the picture's height."""
LEGEND_COLUMNS = 5
"""More in a row would be wider than the picture, which would shrink what is drawn."""
LEGEND_ORDER = (
    "kept",
    "confirmed",
    "NOT confirmed",
    "discarded",
    "running best",
    "worse",
    "stopped early",
    "crashed",
    "failed",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Theme:
    """Colours of a picture."""

    background: str
    ink: str
    muted: str
    grid: str
    keep: str
    discard: str
    crash: str


LIGHT = Theme(
    background="#ffffff",
    ink="#1b1f24",
    muted="#69727d",
    grid="#e8eaed",
    keep="#0b7a5b",
    discard="#a9b0b8",
    crash="#c8402f",
)
DARK = Theme(
    background="#14171b",
    ink="#e6e8eb",
    muted="#959da6",
    grid="#262b31",
    keep="#3ecf9b",
    discard="#5d666f",
    crash="#f0755f",
)


def draw_png(study: Study, path: Path, theme: Theme = LIGHT) -> None:
    """Write the picture as a PNG file."""
    draw_figure(study, theme).savefig(path, dpi=PIXELS_AN_INCH, format="png")


def draw_figure(study: Study, theme: Theme = LIGHT) -> "Figure":
    """Draw a study's trials, what was kept, what was confirmed and what has no score."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    layout = ConstrainedLayoutEngine(w_pad=0.12, h_pad=0.14)
    figure = Figure(figsize=SIZE_INCHES, facecolor=theme.background, layout=layout)
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    _dress(axes, study, theme)
    scored = [record for record in study.records if record.val_bpb is not None]
    if scored:
        low, high = _limits(study, scored)
        axes.set_ylim(low, high)
        _draw_best(axes, study, theme)
        _draw_scores(axes, study, theme, high)
        _draw_confirmation(axes, study, theme)
        _name_keeps(axes, study, theme)
    else:
        axes.set_yticks([])
        axes.text(
            0.5,
            0.5,
            "No trial has a score yet",
            transform=axes.transAxes,
            ha="center",
            color=theme.muted,
            fontsize=13,
        )
    _draw_unscored(axes, study, theme)
    _explain(axes, theme)
    return figure


def _dress(axes: "Axes", study: Study, theme: Theme) -> None:
    from matplotlib.ticker import MaxNLocator

    axes.set_facecolor(theme.background)
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
    axes.spines["bottom"].set_color(theme.grid)
    axes.grid(axis="y", color=theme.grid, linewidth=0.8)
    axes.set_axisbelow(True)
    axes.tick_params(colors=theme.muted, length=0, labelsize=10)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=12, min_n_ticks=1))
    numbers = [record.number for record in study.records] or [0]
    margin = max(0.6, (max(numbers) - min(numbers)) * 0.025)
    axes.set_xlim(min(numbers) - margin, max(numbers) + margin)
    axes.set_xlabel("trial", color=theme.muted, fontsize=10.5)
    axes.set_title(
        f"{study.name}: validation bits per byte (val_bpb), lower is better",
        loc="left",
        color=theme.ink,
        fontsize=13,
        fontweight="bold",
        pad=14,
        parse_math=False,
    )


def _explain(axes: "Axes", theme: Theme) -> None:
    entries = zip(*axes.get_legend_handles_labels(), strict=True)
    order = {word: place for place, word in enumerate(LEGEND_ORDER)}
    known = sorted(
        ((handle, label) for handle, label in entries),
        key=lambda entry: next(order[word] for word in order if entry[1].startswith(word)),
    )
    if known:
        axes.legend(
            [handle for handle, _ in known],
            [label for _, label in known],
            loc="upper center",
            bbox_to_anchor=(0.5, -0.12),
            ncols=min(len(known), LEGEND_COLUMNS),
            frameon=False,
            fontsize=9.5,
            labelcolor=theme.muted,
            handletextpad=0.5,
            columnspacing=1.8,
        )


def _limits(study: Study, scored: list[TrialRecord]) -> tuple[float, float]:
    """The axis shows every keep; one bad idea may not squash all others into a line."""
    scores = [record.val_bpb for record in scored if record.val_bpb is not None]
    kept = [record.val_bpb for record in study.kept() if record.val_bpb is not None]
    noise = study.noise_bpb or 0.0
    low, top = min(scores), max(kept or scores)
    span = max(top - low, 4 * noise, abs(top) * 0.004)
    high = min(max(scores), top + max(OUTLIER_SPANS * span, 4 * noise))
    pad = max(0.08 * (high - low), 1.6 * noise, abs(top) * 0.001)
    return low - 2 * pad, high + pad


def _draw_best(axes: "Axes", study: Study, theme: Theme) -> None:
    steps = running_best(study.records)
    if not steps:
        return
    numbers = [number for number, _ in steps] + [study.records[-1].number + 0.4]
    best = [score for _, score in steps] + [steps[-1][1]]
    axes.step(numbers, best, where="post", color=theme.keep, linewidth=2, label="running best")
    if study.baseline_bpb is not None:
        axes.axhline(study.baseline_bpb, color=theme.muted, linewidth=0.9, linestyle=(0, (4, 4)))


def _draw_scores(axes: "Axes", study: Study, theme: Theme, high: float) -> None:
    few = len(study.records) <= 60
    scored = [record for record in study.records if record.val_bpb is not None]
    kept = [record for record in scored if record.verdict is Verdict.KEEP]
    rest = [record for record in scored if record.verdict is Verdict.DISCARD]
    outliers = [record for record in rest if _score(record) > high]
    others = [record for record in rest if _score(record) <= high]
    for records, colour, size, label in (
        (others, theme.discard, 5 if few else 3.5, "discarded"),
        (kept, theme.keep, 9 if few else 7, "kept"),
    ):
        if not records:
            continue
        axes.plot(
            [record.number for record in records],
            [_score(record) for record in records],
            "o",
            color=colour,
            markersize=size,
            markeredgecolor=theme.background,
            markeredgewidth=0.8,
            label=f"{label} (95 % interval)" if any(map(interval_of, records)) else label,
            zorder=4 if records is kept else 3,
        )
        _draw_intervals(axes, records, colour)
    if outliers:
        axes.plot(
            [record.number for record in outliers],
            [0.985] * len(outliers),
            "^",
            transform=axes.get_xaxis_transform(),
            color=theme.discard,
            markersize=6 if few else 4.5,
            label="worse than shown",
        )


def _draw_intervals(axes: "Axes", records: list[TrialRecord], colour: str) -> None:
    """Where the truth lies with 95 % certainty: mostly nearer to the incumbent than the point."""
    known = [(record.number, interval_of(record)) for record in records]
    spans = [(number, *span) for number, span in known if span is not None]
    if spans:
        numbers, lows, highs = zip(*spans, strict=True)
        axes.vlines(numbers, lows, highs, colors=colour, linewidth=1, zorder=2.8)


def _draw_confirmation(axes: "Axes", study: Study, theme: Theme) -> None:
    """The confirmed gain, below the baseline's score, beside the incumbent that claims it."""
    again, baseline, incumbent = study.confirmation, study.baseline_bpb, study.incumbent
    if again is None or again.gain_bpb is None or again.interval_bpb is None:
        return
    if baseline is None or incumbent is None:
        return
    low, high = again.interval_bpb
    axes.errorbar(
        [incumbent.number + CONFIRMATION_OFFSET],
        [baseline - again.gain_bpb],
        yerr=[[high - again.gain_bpb], [again.gain_bpb - low]],
        fmt="D",
        elinewidth=1.6,
        capsize=4,
        color=theme.ink if again.holds else theme.crash,
        markerfacecolor=theme.background,
        markersize=7,
        label="confirmed on holdout" if again.holds else "NOT confirmed on holdout",
        zorder=5,
    )


def _draw_unscored(axes: "Axes", study: Study, theme: Theme) -> None:
    stopped = [r.number for r in study.records if r.reason is Reason.PRUNED]
    if stopped:
        axes.plot(
            stopped,
            [0.985] * len(stopped),
            "x",
            transform=axes.get_xaxis_transform(),
            color=theme.discard,
            markersize=6 if len(study.records) <= 60 else 4.5,
            label="stopped early",
        )
    for verdict, colour, label in (
        (Verdict.CRASH, theme.crash, "crashed"),
        (Verdict.FAILED, theme.muted, "failed (machinery)"),
    ):
        numbers = [r.number for r in study.records if r.verdict is verdict]
        if numbers:
            axes.vlines(
                numbers,
                0.0,
                TICK_HEIGHT,
                transform=axes.get_xaxis_transform(),
                colors=colour,
                linewidth=2.4 if len(study.records) <= 60 else 1.5,
                zorder=5,
                label=label,
            )


def _name_keeps(axes: "Axes", study: Study, theme: Theme) -> None:
    """Name keeps where nothing else is drawn: below the running best, left of their point.

    A title is cut to the room there. Where the axis begins too close only the score stands, right
    of the point, where other trials are drawn too: below them. The latest keep is sure of its
    label.
    """
    left, right = axes.get_xlim()
    low, high = axes.get_ylim()
    kept = [record for record in study.kept() if record.val_bpb is not None]
    taken: list[float] = []
    for record in reversed(kept):
        first = record is kept[0]
        height = (_score(record) - low) / (high - low)
        room_left = (record.number - left) / (right - left)
        if not first and any(abs(height - other) < LABEL_GAP for other in taken):
            continue
        to_the_left = not first and _letters(room_left) >= FEWEST_LETTERS
        text = f"{_score(record):.4f}"
        if to_the_left or first:
            letters = LABEL_LENGTH if first else _letters(room_left)
            text = f"{text}  {_label(record.title, letters - len(text) - 2)}"
        taken.append(height)
        axes.annotate(
            text,
            (record.number, _score(record)),
            xytext=(-9 if to_the_left else 9, 9 if first else -15),
            textcoords="offset points",
            ha="right" if to_the_left else "left",
            color=theme.ink,
            fontsize=9,
            parse_math=False,
            bbox={"facecolor": theme.background, "edgecolor": "none", "alpha": 0.8, "pad": 1},
            zorder=2.5,
        )


def _score(record: TrialRecord) -> float:
    return math.nan if record.val_bpb is None else record.val_bpb


def _letters(room: float) -> int:
    """How many letters of a label fit into a share of the picture's width."""
    return min(LABEL_LENGTH, int((room - 0.02) / LETTER_SHARE))


def _label(title: str, length: int) -> str:
    # Titles come from models: keep to one line, and to letters that the font has.
    known = (letter if letter in ARROWS or ord(letter) < 256 else "?" for letter in title)
    line = " ".join("".join(known).split())
    line = "".join(letter for letter in line if letter.isprintable())
    return line if len(line) <= length else f"{line[: length - 1].rstrip()}…"
