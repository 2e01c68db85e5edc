"""The command that sets studies side by side."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table

from flows.commands.common import AsJson, RemoteName, existing_ledger, print_json
from flows.terminal import make_console
from nightlab.errors import UsageError
from nightlab.settings import Places

if TYPE_CHECKING:
    from nightlab.report import ReportFiles
    from nightlab.report.comparison import Arm
    from nightlab.report.grouping import Group, Row

FLUSH_SECONDS = 60


def compare(
    studies: Annotated[list[str], typer.Argument(help="Two or more studies", show_default=False)],
    group: Annotated[
        bool,
        typer.Option("--group", help="Show NAME-1, NAME-2, … as one: their median and range"),
    ] = False,
    output: Annotated[
        Path | None,
        typer.Option(help="Folder for the page and the picture (default: mlruns/reports)"),
    ] = None,
    force: Annotated[
        bool,
        typer.Option("--force", help="Compare studies that were measured differently, and say so"),
    ] = False,
    remote: RemoteName = None,
    as_json: AsJson = False,
) -> None:
    """Compare studies: best score and confirmed gain for what each one spent."""
    from nightlab.ledger import confirmations
    from nightlab.report.comparable import check_comparable
    from nightlab.report.comparison import read_arm
    from nightlab.report.comparison_page import log_comparison, write_comparison
    from nightlab.report.grouping import alone, grouped
    from nightlab.tracking import Tracker

    names = list(dict.fromkeys(studies))
    if len(names) < 2:
        raise UsageError(
            f"A comparison needs two studies or more, and found {names[0]} alone: `nightlab "
            "studies` lists them."
        )
    places, ledgers = Places.find(), [existing_ledger(name, remote) for name in names]
    arms = [read_arm(ledger, confirmations(ledger)) for ledger in ledgers]
    if not force:
        check_comparable(arms)
    groups = grouped(arms) if group else alone(arms)
    files = write_comparison(arms, groups, output or places.mlruns / "reports")
    tracker = Tracker(places.tracking_uri, places.mlruns, names[0])
    log_comparison(tracker, groups, files)
    tracker.flush(timeout_seconds=FLUSH_SECONDS)
    tracker.close()
    if as_json:
        print_json(_for_programs(arms, groups, files))
    else:
        _print(arms, groups, files, tracker.away)


def _for_programs(
    arms: "Sequence[Arm]", groups: "Sequence[Group]", files: "ReportFiles"
) -> dict[str, Any]:
    from nightlab.report.comparable import cautions, differences
    from nightlab.report.comparison import equal_seconds
    from nightlab.report.grouping import table_rows

    return {
        "page": str(files.html),
        "picture": str(files.picture),
        "equal_seconds": equal_seconds(arms),
        "differences": differences(arms),
        "cautions": cautions(arms),
        "rows": [row.model_dump(mode="json") for row in table_rows(arms, groups)],
        "studies": [arm.model_dump(mode="json", exclude={"baseline_source"}) for arm in arms],
    }


def _print(
    arms: "Sequence[Arm]", groups: "Sequence[Group]", files: "ReportFiles", away: str | None
) -> None:
    from nightlab.report.comparable import cautions, differences
    from nightlab.report.comparison import equal_seconds
    from nightlab.report.comparison_page import headline
    from nightlab.report.grouping import table_rows

    console = make_console()
    console.print(_table(table_rows(arms, groups), equal_seconds(arms)))
    lines = [
        headline(groups),
        *(f"Not comparable, shown by --force: {each}." for each in differences(arms)),
        *cautions(arms),
        f"Page:    {files.html}",
        f"Picture: {files.picture}",
        *([away] if away else []),
    ]
    for line in lines:
        console.say(line)


def _table(rows: "Sequence[Row]", seconds: float) -> Table:
    from flows.printing import number
    from nightlab.records.durations import in_words
    from nightlab.report.page import format_dollars

    table = Table(box=None, padding=(0, 1), header_style="bold")
    table.add_column("study")
    at_equal = f"at {in_words(seconds)}"
    for name in ("baseline", "best", "gain", at_equal, "confirmed"):
        table.add_column(name, justify="right")
    for name in ("trials", "kept", "training", "models", "gain/h"):
        table.add_column(name, justify="right")
    for row in rows:
        several = row.studies > 1
        interval = row.confirmed_interval_bpb
        confirmed = number(row.confirmed_gain_bpb, "+.4f")
        if interval is not None:
            confirmed += f" ({interval[0]:+.4f}…{interval[1]:+.4f})"
        table.add_row(
            f"{row.name} (of {row.studies})" if several else row.name,
            number(row.baseline_bpb),
            number(row.best_bpb),
            number(row.gain_bpb, "+.4f"),
            number(row.equal_gain_bpb, "+.4f"),
            confirmed,
            f"{row.trials:g}",
            f"{row.keeps:g}",
            in_words(row.training_seconds),
            format_dollars(row.cost_usd),
            number(row.gain_per_hour, "+.4f"),
            style="bold" if several else "",
        )
    return table
