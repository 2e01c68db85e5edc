"""The command that finds the kept changes that a study could do without."""

from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from flows.commands.common import Study, existing_ledger, once, validated_settings, with_prefect
from flows.terminal import Terminal, make_console
from nightlab.settings import Places

if TYPE_CHECKING:
    from nightlab.ledger import ConsolidationRecord


def consolidate(
    study: Study,
    pairs: Annotated[
        int, typer.Option(min=2, help="Most pairs of trainings for each kept change")
    ] = 4,
    again: Annotated[
        bool,
        typer.Option(
            "--again", help="Begin anew with fresh seeds, where the incumbent's is finished"
        ),
    ] = False,
    remote: Annotated[
        str | None, typer.Option(help="Git remote to fetch the study from and push it to")
    ] = None,
) -> None:
    """Find kept changes that bring nothing, and offer the code without them as a branch.

    Each is left out of the incumbent in turn, and the rest is trained in pairs with it on fresh
    seeds. The study and its branch stay as they are.
    """
    from nightlab.judging.score_text import waiting_sentence
    from nightlab.ledger import Ledger, refuse_if_busy
    from nightlab.study.checks import check_last_settings
    from nightlab.study.consolidation import latest_consolidation, offer
    from nightlab.study.consolidation_codes import check_consolidatable

    places, study = Places.find(), validated_settings({"study": study}).study
    ledger = Ledger(places.root, study)
    if remote is None:
        check_consolidatable(study, existing_ledger(study).records())
        known = latest_consolidation(ledger)
        if known is not None and known.finished_at is not None and not again:
            console = make_console()
            problem = offer(ledger, known)
            _print_consolidation(console, known)
            _say(console, waiting_sentence(study, ledger.records()))
            _say(console, problem or "")
            return
    check_last_settings(ledger, remote, places)
    refuse_if_busy(ledger)
    with with_prefect(places, ledger) as console:
        from flows.consolidate import consolidate as consolidate_flow

        record = once(consolidate_flow)(study=study, pairs=pairs, again=again, remote=remote)
    if record.finished_at is not None:
        _print_consolidation(console, record)
        _say(console, waiting_sentence(study, ledger.records()))


def _print_consolidation(console: Terminal, record: "ConsolidationRecord") -> None:
    console.print(_change_table(record))
    for change in record.changes:
        _say(console, change.sentence)
    _say(console, record.sentence)
    trial = record.incumbent_trial
    how = f"nightlab consolidate {record.study} --again"
    _say(console, f"Of the incumbent of trial {trial}; `{how}` looks again with fresh seeds.")


def _say(console: Terminal, text: str) -> None:
    if text:
        console.say(text)


def _change_table(record: "ConsolidationRecord") -> Table:
    """The kept changes, a row each."""
    from flows.printing import number
    from nightlab.judging.consolidating import Outcome
    from nightlab.judging.verdict_sentence import percent
    from nightlab.study.consolidation_codes import pairs, without

    table = Table(box=None, padding=(0, 1), header_style="bold", expand=True)
    for name in ("trial", "pairs", "brings bpb", "it helps"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("outcome", no_wrap=True)
    table.add_column("title", overflow="ellipsis", no_wrap=True, ratio=1)
    for change in record.changes:
        gain = None if change.difference_bpb is None else -change.difference_bpb
        chance = change.probability_helps
        table.add_row(
            str(change.trial),
            str(len(pairs(record, without(change)))),
            number(gain, "+.4f"),
            number(None) if chance is None else percent(chance),
            change.outcome.value if change.outcome is not None else "",
            change.title,
            style="yellow" if change.outcome is Outcome.PASSENGER else "",
        )
    return table
