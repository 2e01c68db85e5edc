"""Writes a comparison of studies as a page and a picture, and puts both into MLflow."""

import hashlib
from collections.abc import Sequence
from pathlib import Path

from nightlab.report.comparable import cautions, differences
from nightlab.report.comparison import Arm, equal_seconds
from nightlab.report.comparison_picture import draw_svg
from nightlab.report.grouping import Group, table_rows
from nightlab.report.page import format_bpb, format_signed, page_environment
from nightlab.report.write import ReportFiles, put_page
from nightlab.tracking import Tracker

TEMPLATE = "comparison.html.j2"
LONGEST_NAME = 120


def write_comparison(arms: Sequence[Arm], groups: Sequence[Group], folder: Path) -> ReportFiles:
    """Write a comparison as a self-contained page and a picture.

    Args:
        arms: the studies.
        groups: the same studies as they are drawn.
        folder: where the files are put; made on demand.
    """
    name = comparison_name(groups)
    files = ReportFiles(html=folder / f"{name}.html", picture=folder / f"{name}.svg")
    picture = draw_svg(groups)
    put_page(files.html, render_comparison(arms, groups, picture))
    put_page(files.picture, picture)
    return files


def log_comparison(tracker: Tracker, groups: Sequence[Group], files: ReportFiles) -> None:
    """Put both files on a run of their own in the tracker's experiment, in the background."""
    tracker.files_written(comparison_name(groups), (files.html, files.picture))


def comparison_name(groups: Sequence[Group]) -> str:
    """What the comparison is called: what is drawn, or the beginning of that and a hash."""
    whole = f"comparison-{'-vs-'.join(group.name for group in groups)}"
    if len(whole) <= LONGEST_NAME:
        return whole
    digest = hashlib.sha256(whole.encode()).hexdigest()[:10]
    return f"{whole[: LONGEST_NAME - len(digest) - 1]}-{digest}"


def render_comparison(arms: Sequence[Arm], groups: Sequence[Group], picture: str) -> str:
    """Return the page as HTML that needs nothing else.

    Args:
        arms: the studies.
        groups: the same studies as they are drawn.
        picture: an SVG document.
    """
    from markupsafe import Markup

    return (
        page_environment()
        .get_template(TEMPLATE)
        .render(
            names=[arm.name for arm in arms],
            headline=headline(groups),
            cautions=cautions(arms),
            differences=differences(arms),
            picture=Markup(picture[picture.index("<svg") :]),
            equal_seconds=equal_seconds(arms),
            rows=table_rows(arms, groups),
            is_grouped=len(groups) < len(arms),
        )
    )


def headline(groups: Sequence[Group]) -> str:
    """Which gained most, and whether that was confirmed, in one sentence."""
    rows = {group.name: table_rows(group.arms, [group])[0] for group in groups}
    best = max(rows.values(), key=lambda row: row.gain_bpb)
    if best.gain_bpb <= 0:
        return "None of them gained anything over its baseline."
    whose = f"{best.name} gained most: {best.gain_bpb:.4f} bits per byte"
    if best.studies > 1:
        low, high = best.gain_range_bpb or (best.gain_bpb, best.gain_bpb)
        whose += f" (median of {best.studies}, {format_signed(low)} to {format_signed(high)})"
    if best.confirmed_gain_bpb is None:
        return f"{whose}, not confirmed yet."
    many = f" in {best.held} of {best.studies}" if best.studies > 1 else ""
    held = f"confirmed{many}" if best.held else "NOT confirmed"
    return f"{whose}, {held} on holdout: {format_bpb(best.confirmed_gain_bpb)}."
