"""The command that gives a person's word on what was kept."""

from typing import Annotated

import typer

from flows.commands.common import (
    AsJson,
    RemoteName,
    Study,
    existing_ledger,
    print_json,
    print_notice,
    validated_settings,
)
from flows.terminal import make_console
from nightlab import events
from nightlab.errors import StudyBusy, UsageError
from nightlab.settings import Places


def approve(
    study: Study,
    trial: Annotated[
        int | None,
        typer.Argument(help="Number of the trial; leave it out to list what waits", min=0),
    ] = None,
    refuse: Annotated[
        bool, typer.Option("--refuse", help="Take the study back to before this trial")
    ] = False,
    remote: RemoteName = None,
    as_json: AsJson = False,
) -> None:
    """Approve what a study kept, and what it stands on: the study's branch then has it.

    For sessions with `--approve keeps`. A session that is at work goes on from what you say.
    """
    from nightlab.ledger import Ledger, Remote
    from nightlab.study.approval import speak

    if refuse and trial is None:
        raise UsageError(
            f"--refuse needs the trial that is meant: `nightlab approve {study}` lists what waits."
        )
    if trial is None:
        _list_waiting(study, remote, as_json=as_json)
        return
    places, study = Places.find(), validated_settings({"study": study}).study
    there = Remote(places.root, remote, study) if remote is not None else None
    ledger = Ledger(places.root, study) if there is not None else existing_ledger(study)
    with events.listening(print_notice):
        said = speak(places, ledger, there, trial, approve=not refuse)
    if as_json:
        print_json(ledger.record(trial).model_dump(mode="json"))
        return
    for sentence in said:
        _say(sentence)


def _list_waiting(study: str, remote: str | None, *, as_json: bool) -> None:
    """What waits, each with its verdict's sentence and what shows the change."""
    from nightlab.study.approval import diff_command

    try:
        ledger = existing_ledger(study, remote)
    except StudyBusy:  # its session here keeps this clone as the remote is
        ledger = existing_ledger(study)
    waiting = ledger.waiting()
    if as_json:
        print_json([each.model_dump(mode="json") for each in waiting])
        return
    for each in waiting:
        _say(f"Trial {each.number}: {each.title}")
        _say(f"  {each.decision.sentence}")
        _say(f"  {diff_command(ledger, each)}")
    if waiting:
        last = waiting[-1].number
        _say(f"`nightlab approve {ledger.study} {last}` approves all of them.")
    else:
        _say(f"No keep of study {ledger.study} waits for a word.")


def _say(text: str) -> None:
    make_console().say(text)
