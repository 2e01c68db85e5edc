"""Commands about studies whose sessions run elsewhere, and about the end of a study."""

import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from flows.commands.common import (
    EXIT_FAILED,
    AsJson,
    Study,
    print_json,
    print_notice,
    validated_settings,
)
from flows.terminal import make_console
from nightlab import events
from nightlab.errors import UsageError
from nightlab.records.counting import counted
from nightlab.settings import Places

SomeStudy = Annotated[
    str | None, typer.Argument(help="Name of the study (default: all)", show_default=False)
]
Where = Annotated[str, typer.Option("--remote", help="Git remote: a name or an address")]


def fetch(study: SomeStudy = None, remote: Where = "origin", as_json: AsJson = False) -> None:
    """Bring a study, or all studies, here from the git remote that sessions elsewhere push to."""
    from flows.printing import study_table
    from nightlab.ledger import fetch_study, study_summary

    root = Places.find().root
    if study is not None:
        name = validated_settings({"study": study}).study
        with events.listening(print_notice):
            ledgers = [fetch_study(root, name, remote)]
    else:
        ledgers = fetch_all(root, remote)
    summaries = [study_summary(ledger) for ledger in ledgers]
    if as_json:
        print_json([summary.model_dump(mode="json") for summary in summaries])
    elif summaries:
        make_console().print(study_table(summaries))
    else:
        _say(f"Git remote {remote!r} has no study yet.")


def fetch_all(root: Path, remote: str) -> list[Any]:
    """Bring all studies of a remote here, and say which cannot be: one in use here, say.

    Returns:
        The ledgers of those that are here now.
    """
    from nightlab.ledger import Ledger, fetch_study, remote_studies

    ledgers = []
    with events.listening(print_notice):
        for name in remote_studies(root, remote):
            try:
                ledgers.append(fetch_study(root, name, remote))
            except UsageError as refusal:
                print_notice(events.Notice(text=f"Not fetched: {refusal}"))
                if (ledger := Ledger(root, name)).exists():
                    ledgers.append(ledger)
    return ledgers


def notify(
    address: Annotated[
        str,
        typer.Argument(
            help="A webhook's address, Slack's, or mailtos://MAILHOST?user=USER&pass=PASSWORD&to=YOU",
            envvar="NIGHTLAB_NOTIFY",
            show_envvar=True,
            show_default=False,
        ),
    ],
) -> None:
    """Have somebody told what is kept, and how sessions end: by automations on Prefect's server."""
    from flows.local_server import configure_prefect

    places = Places.find()
    configure_prefect(places.cache, console=False)  # before Prefect is imported
    from flows.notifying import notify as put_automations

    names = put_automations(address, places.root)
    _say("Told from now on, each of which can be switched off on Prefect's page:")
    for name in names:
        _say(f"  {name.removeprefix('Nightlab: ')}")


def recover(study: SomeStudy = None, remote: Where = "origin") -> None:
    """Push what sessions on this machine could not push, from the bundles in the cache folder."""
    from nightlab.ledger import Plumbing, Remote, bundles_in, recover_study
    from nightlab.ledger.bundles import folder_name

    places = Places.find()
    found = bundles_in(places.cache, Plumbing(places.root))
    if not found:
        _say(f"Nothing was left unpushed on this machine ({places.cache}).")
        return
    names = sorted({bundle.study for bundle in found})
    if study is not None and study not in names:
        raise UsageError(
            f"No bundle of a study {study!r} stands on this machine; there are some of: "
            f"{', '.join(names)}."
        )
    for bundle in found:
        _say(
            f"{bundle.study}: {counted(bundle.trials, 'trial')}, written "
            f"{bundle.written_at:%Y-%m-%d %H:%M} UTC, {bundle.path}"
        )
    stays = False
    for name in [study] if study is not None else names:
        there = Remote(places.root, remote, name)
        fitting = [
            bundle
            for bundle in found
            if bundle.study == name and bundle.remote == folder_name(there.place)
        ]
        if not fitting:
            _say(
                f"Study {name} was to be pushed to another remote than {there.name!r}, so it "
                "stays: run this in a clone of that one, or name it with --remote."
            )
            continue
        with events.listening(print_notice):
            brought = recover_study(places.root, there, places.cache)
        if any(bundle.path not in brought for bundle in fitting):
            stays = True  # which was said
        else:
            _say(f"Study {name} is on remote {there.name!r}.")
    if stays:
        raise typer.Exit(EXIT_FAILED)


def delete(
    study: Study,
    remote: Annotated[
        str | None, typer.Option("--remote", help="Git remote to remove it from as well")
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask")] = False,
) -> None:
    """Remove all of a study: branch, records, MLflow's experiment, report, what was not pushed."""
    from nightlab.ledger import Ledger, Remote, refuse_if_busy
    from nightlab.study.removal import remains_of, remove

    places, study = Places.find(), validated_settings({"study": study}).study
    there = Remote(places.root, remote, study) if remote is not None else None
    refuse_if_busy(Ledger(places.root, study))
    remains = remains_of(places, study, there)
    _say(f"Of study {study} this is removed for good:")
    for line in remains.sentences(there.name if there is not None else None):
        _say(f"  {line}")
    if not yes:
        if not sys.stdin.isatty():
            raise UsageError("Nobody can be asked here, so nothing was removed: add --yes.")
        typer.confirm("Remove it?", abort=True)
    remove(places, remains, there)
    _say(f"Study {study} is removed.")


def _say(text: str) -> None:
    make_console().say(text)
