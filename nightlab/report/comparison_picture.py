"""Draws studies side by side: best score so far, and confirmed gain, against what was spent."""

import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from nightlab.report.comparison import Axis
from nightlab.report.grouping import Group, best_curve, gain_curve

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

PANEL_INCHES = (4.6, 3.7)
AXIS_INCHES = 0.6
LEGEND_INCHES = 0.3
"""Of one line of names."""
LEGEND_COLUMNS = 5
COLOURS = {
    "#ffffff": "#14171b",
    "#1b1f24": "#e6e8eb",
    "#69727d": "#959da6",
    "#e8eaed": "#262b31",
    "#0b7a5b": "#3ecf9b",
    "#c8402f": "#f0755f",
    "#3566c4": "#7aa5f7",
    "#a87400": "#e0b04a",
    "#7a4fc0": "#b491f0",
    "#1787a0": "#52c3da",
    "#b23f78": "#ee8dbb",
    "#5d666f": "#aab2ba",
}
"""What is drawn with, and what stands for it on a dark screen."""
BACKGROUND, INK, MUTED, GRID, *CURVES = COLOURS
DASHES = ("-", "--", ":", "-.")
"""Where there are more curves than colours."""
LABELS = {
    Axis.SECONDS: "training, in {unit}",
    Axis.TRIALS: "trials",
    Axis.DOLLARS: "dollars for models",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Pen:
    """How one group is drawn."""

    group: Group
    colour: str
    dash: str


def draw_svg(groups: Sequence[Group]) -> str:
    """Return the picture as an SVG document for light and dark; equal studies give equal ones."""
    from matplotlib import rc_context

    content = io.BytesIO()
    salt = " ".join(group.name for group in groups)
    # Letters as outlines, so that the picture does not depend on the reader's fonts.
    with rc_context({"svg.hashsalt": salt, "svg.fonttype": "path"}):
        _draw(groups).savefig(content, format="svg", metadata={"Date": None})
    return _for_both_themes(content.getvalue().decode())


def _for_both_themes(svg: str) -> str:
    """Put variables in the place of colours, and say what they are on which screen."""
    names = {light: f"--colour-{number}" for number, light in enumerate(COLOURS)}
    for light, name in names.items():
        svg = svg.replace(light, f"var({name})")
    on_light = "".join(f"{name}:{light};" for light, name in names.items())
    on_dark = "".join(f"{name}:{COLOURS[light]};" for light, name in names.items())
    dark = f"@media screen and (prefers-color-scheme: dark){{svg{{{on_dark}}}}}"
    return svg.replace("<defs>", f"<style>svg{{{on_light}}}{dark}</style><defs>", 1)


def _draw(groups: Sequence[Group]) -> "Figure":
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    axes_shown = [axis for axis in Axis if axis is not Axis.DOLLARS or _has_dollars(groups)]
    rows = 2 if any(group.confirmed for group in groups) else 1
    width, height = PANEL_INCHES
    legend = LEGEND_INCHES * -(-len(groups) // LEGEND_COLUMNS)
    figure = Figure(
        figsize=(width * len(axes_shown), height * rows + AXIS_INCHES + legend),
        facecolor=BACKGROUND,
        layout=ConstrainedLayoutEngine(w_pad=0.12, h_pad=0.12),
    )
    FigureCanvasAgg(figure)
    panels = figure.subplots(rows, len(axes_shown), squeeze=False, sharey="row", sharex="col")
    pens = _pens(groups)
    for column, axis in enumerate(axes_shown):
        scale, label = _unit(groups, axis)
        for row in range(rows):
            _dress(panels[row][column], axis)
            if row == 0:
                _draw_best(panels[row][column], pens, axis, scale)
            else:
                _draw_gains(panels[row][column], pens, axis, scale)
        panels[-1][column].set_xlabel(label, color=MUTED, fontsize=10.5)
    several = any(len(group.arms) > 1 for group in groups)
    band = "least to greatest" if several else "one standard error"
    _title(panels[0][0], f"Best so far: val_bpb, lower is better (band: {band})")
    if rows == 2:
        _title(
            panels[1][0], "Gain: lines as claimed, diamonds as confirmed (hollow: it did not hold)"
        )
    _explain(figure, panels[0][0])
    return figure


def _draw_best(axes: "Axes", pens: Sequence[_Pen], axis: Axis, scale: float) -> None:
    for pen in pens:
        curve = best_curve(pen.group, axis)
        if curve is None:
            continue
        if axis is Axis.DOLLARS and not any(curve.amounts):
            # What cost nothing has no place on this axis: its end is a level to be passed.
            axes.axhline(curve.middle[-1], color=pen.colour, linestyle=":", linewidth=1.6)
            continue
        amounts = [amount / scale for amount in curve.amounts]
        axes.fill_between(
            amounts, curve.low, curve.high, step="post", color=pen.colour, alpha=0.14, linewidth=0
        )
        axes.step(
            amounts,
            curve.middle,
            where="post",
            linewidth=2.2,
            color=pen.colour,
            linestyle=pen.dash,
            label=_name(pen),
        )
        axes.plot(amounts[-1:], curve.middle[-1:], "o", color=pen.colour, markersize=5)


def _draw_gains(axes: "Axes", pens: Sequence[_Pen], axis: Axis, scale: float) -> None:
    axes.axhline(0.0, color=MUTED, linewidth=0.8)
    for pen in pens:
        curve = gain_curve(pen.group, axis)
        if curve is None or (axis is Axis.DOLLARS and not any(curve.amounts)):
            continue
        amounts = [amount / scale for amount in curve.amounts]
        axes.step(
            amounts,
            curve.middle,
            where="post",
            linewidth=1.2,
            alpha=0.75,
            color=pen.colour,
            linestyle=pen.dash,
        )
        for gain in pen.group.confirmed:
            low, high = gain.interval_bpb
            axes.errorbar(
                [(gain.spent.on(axis) or 0.0) / scale],
                [gain.gain_bpb],
                yerr=[[gain.gain_bpb - low], [high - gain.gain_bpb]],
                fmt="D",
                elinewidth=1.4,
                capsize=3.5,
                color=pen.colour,
                markerfacecolor=pen.colour if gain.holds else BACKGROUND,
                markersize=6.5,
                zorder=5,
            )


def _pens(groups: Sequence[Group]) -> list[_Pen]:
    return [
        _Pen(
            group=group,
            colour=CURVES[index % len(CURVES)],
            dash=DASHES[index // len(CURVES) % len(DASHES)],
        )
        for index, group in enumerate(groups)
    ]


def _name(pen: _Pen) -> str:
    several = len(pen.group.arms)
    return f"{pen.group.name} (median of {several})" if several > 1 else pen.group.name


def _has_dollars(groups: Sequence[Group]) -> bool:
    return any((arm.spent.cost_usd or 0.0) > 0 for group in groups for arm in group.arms)


def _unit(groups: Sequence[Group], axis: Axis) -> tuple[float, str]:
    """What to divide amounts by, and the axis' label."""
    if axis is not Axis.SECONDS:
        return 1.0, LABELS[axis]
    most = max(arm.spent.training_seconds for group in groups for arm in group.arms)
    for scale, unit in ((3600.0, "hours"), (60.0, "minutes")):
        if most >= 2 * scale:
            return scale, LABELS[axis].format(unit=unit)
    return 1.0, LABELS[axis].format(unit="seconds")


def _dress(axes: "Axes", axis: Axis) -> None:
    from matplotlib.ticker import MaxNLocator

    axes.xaxis.set_major_locator(MaxNLocator(nbins=6, integer=axis is Axis.TRIALS, min_n_ticks=1))
    axes.set_facecolor(BACKGROUND)
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
    axes.spines["bottom"].set_color(GRID)
    axes.grid(axis="y", color=GRID, linewidth=0.8)
    axes.set_axisbelow(True)
    axes.tick_params(colors=MUTED, length=0, labelsize=9.5)


def _title(axes: "Axes", text: str) -> None:
    axes.set_title(
        text,
        loc="left",
        color=INK,
        fontsize=12.5,
        fontweight="bold",
        pad=12,
        parse_math=False,
    )


def _explain(figure: "Figure", axes: "Axes") -> None:
    handles, labels = axes.get_legend_handles_labels()
    figure.legend(
        handles,
        labels,
        loc="outside lower center",
        ncols=min(LEGEND_COLUMNS, len(labels)),
        frameon=False,
        fontsize=10,
        labelcolor=MUTED,
    )
