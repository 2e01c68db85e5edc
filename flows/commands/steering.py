"""Commands that steer a study: ideas, its end, and what became of each version of the brief."""

from collections.abc import Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from flows.commands.common import (
    AsJson,
    RemoteName,
    Study,
    existing_ledger,
    print_json,
    validated_settings,
)
from flows.terminal import code, make_console
from nightlab.records import Suggestion
from nightlab.settings import Places

if TYPE_CHECKING:
    from nightlab.proposers.program import ProgramVersion

SessionsRemote = Annotated[
    str | None,
    typer.Option("--remote", help="Git remote of a study whose session runs on another machine"),
]


def suggest(
    study: Study,
    idea: Annotated[
        str | None, typer.Argument(help="What to try; leave it out to list the ideas")
    ] = None,
    remote: SessionsRemote = None,
    as_json: AsJson = False,
) -> None:
    """Queue an idea for the next proposal, or list the ideas so far."""
    from nightlab.ledger import (
        Ledger,
        Remote,
        add_suggestion,
        fetch_suggestions,
        send_suggestion,
        suggestions,
    )

    root, study = Places.find().root, validated_settings({"study": study}).study
    there = Remote(root, remote, study) if remote is not None else None
    ledger = Ledger(root, study) if there is not None else existing_ledger(study)
    if idea is not None:
        made = send_suggestion(ledger, there, idea) if there else add_suggestion(ledger, idea)
        if as_json:
            print_json(made.model_dump(mode="json"))
        else:
            make_console().say(f"The suggestion waits for the next proposal of study {study}.")
        return
    if there is not None:
        fetch_suggestions(ledger, there)
    queue = suggestions(ledger)
    if as_json:
        print_json([each.model_dump(mode="json") for each in queue])
    elif queue:
        make_console().print(_suggestion_table(queue))
    else:
        make_console().print(
            f'No suggestion yet: `nightlab suggest {study} "untie the embeddings"` makes one.'
        )


def stop(study: Study, remote: SessionsRemote = None) -> None:
    """End a study's session after the current trial, as if it had reached a limit.

    While a gain is being confirmed, it ends after the current training; `nightlab confirm`
    continues from there.
    """
    from nightlab.ledger import Ledger, Remote, ask_remote_to_stop, ask_to_stop

    root, study = Places.find().root, validated_settings({"study": study}).study
    if remote is not None:
        note = ask_remote_to_stop(Remote(root, remote, study))
    else:
        note = ask_to_stop(Ledger(root, study))
    make_console().say(
        f"The session of study {study} (host {note.host}, process {note.pid}) ends after its "
        "current trial."
    )


def program(
    study: Study,
    with_diff: Annotated[
        bool, typer.Option("--diff", help="Show what changed from one version to the next")
    ] = False,
    remote: RemoteName = None,
    as_json: AsJson = False,
) -> None:
    """Show the versions of program.md that a study has used, and what came of each."""
    from nightlab.proposers.program import program_history

    versions = program_history(existing_ledger(study, remote))
    if as_json:
        print_json(
            [{**each.model_dump(mode="json"), "gain_bpb": each.gain_bpb} for each in versions]
        )
        return
    console = make_console()
    if not versions:
        console.print(f"Study {study} has no recorded trial yet.")
        return
    console.print(_program_table(versions))
    for earlier, later in pairwise(versions) if with_diff else ():
        if later.diff:
            console.print(code(later.diff, "diff"))
        else:
            known = earlier.text and later.text
            what = "line ends alone" if known else "a text that is not known"
            said = f"{earlier.version} to {later.version}: {what}."
            console.print(said, style="dim")


def _suggestion_table(queue: Sequence[Suggestion]) -> Table:
    table = Table(box=None, padding=(0, 1), header_style="bold")
    for name in ("made", "state", "idea"):
        table.add_column(name)
    for idea in queue:
        state = "waits" if idea.trial is None else f"shown to trial {idea.trial}"
        table.add_row(f"{idea.made_at:%Y-%m-%d %H:%M} UTC", state, idea.text)
    return table


def _program_table(versions: "Sequence[ProgramVersion]") -> Table:
    from flows.printing import number

    table = Table(box=None, padding=(0, 1), header_style="bold")
    table.add_column("version")
    for name in ("trials", "number", "kept", "before", "after", "gain", "model $"):
        table.add_column(name, justify="right")
    for each in versions:
        span = str(each.first_trial)
        if each.last_trial != each.first_trial:
            span = f"{span} to {each.last_trial}"
        table.add_row(
            each.version,
            span,
            str(each.trials),
            str(each.keeps),
            number(each.before_bpb),
            number(each.after_bpb),
            number(each.gain_bpb, "+.4f"),
            number(each.cost_usd),
        )
    return table
