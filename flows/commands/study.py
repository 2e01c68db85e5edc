"""Commands that read a study, or write what is made of it."""

from pathlib import Path
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
from flows.commands.models import KeptTrial, export_model
from flows.terminal import make_console, write_data
from nightlab import events
from nightlab.errors import UsageError
from nightlab.records.counting import counted
from nightlab.settings import Places


def studies(remote: RemoteName = None, as_json: AsJson = False) -> None:
    """List the studies in this repository."""
    from flows.commands.fleet import fetch_all
    from flows.printing import study_table
    from nightlab.ledger import Ledger, study_summary
    from nightlab.ledger import studies as study_names

    root = Places.find().root
    if remote is not None:
        fetch_all(root, remote)
    summaries = [study_summary(Ledger(root, name)) for name in study_names(root)]
    if as_json:
        print_json([summary.model_dump(mode="json") for summary in summaries])
    elif summaries:
        make_console().print(study_table(summaries))
    else:
        make_console().print("No study yet: `nightlab research --study NAME` begins one.")
    _say_lost_branches(root)


def _say_lost_branches(root: Path) -> None:
    """Name the studies whose records are here without a branch, and what mends that."""
    from nightlab.ledger import Ledger, studies_without_branch

    for name in studies_without_branch(root):
        try:
            Ledger(root, name).require_branch_of_records()
        except UsageError as lost:
            print_notice(events.Notice(text=str(lost)))


def show(
    study: Annotated[str | None, typer.Argument(help="Name of the study (default: all)")] = None,
    trial: Annotated[int | None, typer.Argument(help="Number of a trial", min=0)] = None,
    remote: RemoteName = None,
    as_json: AsJson = False,
) -> None:
    """Show a study's trials, or one trial: verdict, numbers, change, output; or all studies."""
    from flows.printing import print_mark, print_study, print_trial
    from nightlab.ledger import (
        answer_names,
        confirmations,
        holdout_uses,
        study_summary,
        suggestions,
    )

    if study is None:
        studies(remote=remote, as_json=as_json)
        return
    ledger = existing_ledger(study, remote)
    mark = next((each for each in ledger.marks() if each.number == trial), None)
    if mark is not None:
        diff = ledger.candidate_diff(mark.parent, mark.commit)
        if as_json:
            print_json({**mark.model_dump(mode="json"), "diff": diff})
        else:
            print_mark(make_console(), mark, diff)
        return
    if trial is not None:
        record = ledger.record(trial)
        if as_json:
            print_json({**record.model_dump(mode="json"), "diff": ledger.diff(record)})
        else:
            ideas = suggestions(ledger) if record.suggestions else ()
            answers = answer_names(ledger, trial)
            print_trial(make_console(), record, ledger.diff(record), ideas, answers)
        return
    records, uses, confirmed = ledger.records(), holdout_uses(ledger), confirmations(ledger)
    if as_json:
        summary = study_summary(ledger).model_dump(mode="json")
        trials = [record.model_dump(mode="json") for record in records]
        holdout = [use.model_dump(mode="json") for use in uses]
        again = [each.model_dump(mode="json") for each in confirmed]
        print_json({**summary, "trials": trials, "holdout_uses": holdout, "confirmations": again})
        return
    console = make_console()
    print_study(console, study, records)
    for each in confirmed:
        if each.sentence:
            said = f"Trial {each.incumbent_trial}: {each.sentence}"
            console.say(said)
    if uses:
        console.print(f"The holdout split was scored {counted(len(uses), 'time')}.", style="dim")


def report(study: Study, remote: RemoteName = None) -> None:
    """Write the study's report: a self-contained page and a picture."""
    from nightlab.ledger import confirmations
    from nightlab.report import log_report, write_report
    from nightlab.tracking import Tracker

    places = Places.find()
    ledger = existing_ledger(study, remote)
    files = write_report(ledger, places.mlruns / "reports", confirmations(ledger))
    tracker = Tracker(places.tracking_uri, places.mlruns, study)
    log_report(tracker, files)
    logged = tracker.flush(timeout_seconds=60)
    tracker.close()
    console = make_console()
    console.say(f"Page:    {files.html}")
    console.say(f"Picture: {files.picture}")
    if not logged and tracker.away:
        console.print(tracker.away)


def export(
    study: Study,
    form: Annotated[str, typer.Option("--format", help="Only tsv so far")] = "tsv",
    model: Annotated[
        Path | None,
        typer.Option(help="Write the champion's trained model into this folder instead"),
    ] = None,
    trial: KeptTrial = None,
    remote: RemoteName = None,
) -> None:
    """Print the study as a results.tsv with the original project's columns, or write its model."""
    from nightlab.ledger import results_tsv

    if model is not None:
        if remote is not None:
            existing_ledger(study, remote)
        export_model(validated_settings({"study": study}).study, model, trial)
        return
    if trial is not None:
        raise UsageError("A trial is chosen with --model FOLDER, and no folder was named: add it.")
    if form != "tsv":
        raise UsageError(f"The one format is tsv, and {form!r} was asked for: use --format tsv.")
    write_data(results_tsv(existing_ledger(study, remote).records()))


def sync(study: Study, remote: RemoteName = None) -> None:
    """Bring MLflow up to date from git, for the trials it missed."""
    from flows.closing import mlflow_page
    from nightlab.ledger import confirmations, consolidations, is_worked_on
    from nightlab.report.conclusion import gain_sentence
    from nightlab.report.study import read_study
    from nightlab.study.kept_models import sync_models
    from nightlab.tracking import Origin, synchronise

    places, ledger = Places.find(), existing_ledger(study, remote)
    confirmed, records = confirmations(ledger), ledger.records()
    at = remote or (records[-1].settings.get("remote") if records else None)
    console = make_console()
    with console.status(f"Bringing MLflow up to date with study {study} …"):
        result = synchronise(
            ledger,
            places.tracking_uri,
            places.mlruns,
            confirmed=confirmed,
            consolidated=consolidations(ledger),
            gain=gain_sentence(read_study(ledger, confirmed)),
            origin=Origin.of(ledger.plumbing, places.cache),
            at_work=is_worked_on(ledger, at),
        )
        added = sync_models(ledger, places)
    for sentence in result.refused:
        console.print(sentence, markup=False, highlight=False, soft_wrap=True)
    models = f", {added} of its models were missing" if added else ""
    console.say(
        f"MLflow is up to date with {study} ({counted(result.trials, 'trial')}, of which "
        f"{result.changed} had to be mended{models}): "
        f"{mlflow_page(places, result.experiment)}"
    )
