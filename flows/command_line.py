"""The command line: ``nightlab``.

Everything heavy (Prefect, MLflow, litellm) is imported by the command that needs it, so
that ``nightlab --help`` answers at once.
"""

import json
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from threading import current_thread, main_thread
from types import FrameType
from typing import Annotated, Any, NoReturn

import typer
from pydantic import ValidationError
from rich.console import Console

from nightlab import events
from nightlab.errors import NightlabError, UsageError
from nightlab.settings import Places, SessionSettings

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    add_completion=False,
    help="An overnight research lab for small language models, with scores you can trust.",
)

Study = Annotated[str, typer.Argument(help="Name of the study", show_default=False)]
Trial = Annotated[int, typer.Argument(help="Number of the trial", min=0, show_default=False)]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON for programs")]

EXIT_MISTAKE = 1
EXIT_INTERRUPTED = 130


def main() -> None:
    """Run the command line; turn every known error into one sentence and a status."""
    try:
        app()
    except NightlabError as error:
        _fail(str(error))
    except OSError as error:
        _fail(
            f"The system refused ({error}): Nightlab writes to mlruns/ in the clone, to git and to "
            "its cache folder (NIGHTLAB_CACHE), and reads what it was given."
        )


@app.command()
def research(
    study: Annotated[str, typer.Option(help="Name of the study; an existing one goes on")],
    remote: Annotated[
        str | None, typer.Option(help="Git remote to fetch the study from and push it to")
    ] = None,
    preset: Annotated[str | None, typer.Option(help="quick (default), laptop or h100")] = None,
    trials: Annotated[
        int | None, typer.Option(help="Trials in this session besides the baseline")
    ] = None,
    hours: Annotated[float | None, typer.Option(help="Start no trial after so many hours")] = None,
    budget_seconds: Annotated[
        float | None,
        typer.Option(
            help="Training seconds of one replicate, or their cap with --budget-tokens; default: "
            "the preset's"
        ),
    ] = None,
    budget_tokens: Annotated[
        int | None,
        typer.Option(help="Training tokens of one replicate, counted instead of seconds"),
    ] = None,
    startup_seconds: Annotated[
        float | None, typer.Option(help="Cap on a candidate's start-up; default: the preset's")
    ] = None,
    startup_free_seconds: Annotated[
        float | None,
        typer.Option(help="Start-up beyond this is taken off the budget; default: the preset's"),
    ] = None,
    preflight_seconds: Annotated[
        float | None,
        typer.Option(
            help="Training seconds of a candidate's dry run before its budget, 0 for none; "
            "default: the preset's"
        ),
    ] = None,
    proposer: Annotated[
        str | None, typer.Option(help="auto (default: llm if a model is set), knobs or llm")
    ] = None,
    model: Annotated[str | None, typer.Option(help="A model that litellm reaches")] = None,
    api_base: Annotated[str | None, typer.Option(help="Address of the model's endpoint")] = None,
    model_timeout_seconds: Annotated[
        float | None, typer.Option(help="Longest wait for one answer of the model (default: 90)")
    ] = None,
    corpus: Annotated[
        str | None, typer.Option(help="embedded (default), path:DIR, climbmix or climbmix:URL")
    ] = None,
    device: Annotated[str | None, typer.Option(help="auto (default), cpu, cuda or cuda:N")] = None,
    max_cost_usd: Annotated[
        float | None, typer.Option(help="Start no trial once the model has cost this much")
    ] = None,
    seed: Annotated[
        int | None, typer.Option(help="Seed of all replicates' seeds (default: 0)")
    ] = None,
    confirm_replicates: Annotated[
        int | None,
        typer.Option(
            min=0,
            help="At the end train baseline and incumbent so often with fresh seeds and score them "
            "on other text (default: 3; 0: do not)",
        ),
    ] = None,
    require_rung: Annotated[
        str | None, typer.Option(help="Refuse a weaker sandbox: 1, 1n or 2 (default: 2)")
    ] = None,
    prefetch: Annotated[
        bool | None,
        typer.Option(
            "--prefetch/--no-prefetch",
            help="Ask a model for the next idea while the present trial trains (default: yes)",
        ),
    ] = None,
    prune: Annotated[
        bool | None,
        typer.Option(
            "--prune/--no-prune", help="Stop trainings that fall clearly behind (default: yes)"
        ),
    ] = None,
    trust_candidate: Annotated[
        bool | None, typer.Option("--trust-candidate", help="No sandbox: only for trusted code")
    ] = None,
) -> None:
    """Run a session of a study: a baseline, then trials until a limit, or Ctrl-C."""
    given = {name: value for name, value in locals().items() if value is not None}
    if trust_candidate and require_rung is not None:
        raise UsageError(
            "--trust-candidate runs without a sandbox and --require-rung asks for one: give one of "
            "the two."
        )
    settings = _settings(given)
    places = Places.find()
    _run_session(settings, places)


@app.command()
def studies(as_json: AsJson = False) -> None:
    """List the studies of this repository."""
    from flows.printing import make_console, study_table
    from nightlab.ledger import Ledger, study_summary
    from nightlab.ledger import studies as study_names

    root = Places.find().root
    summaries = [study_summary(Ledger(root, name)) for name in study_names(root)]
    if as_json:
        _print_json([summary.model_dump(mode="json") for summary in summaries])
    elif summaries:
        make_console().print(study_table(summaries))
    else:
        Console().print("No study yet: `nightlab research --study NAME` begins one.")


@app.command()
def show(
    study: Study,
    trial: Annotated[int | None, typer.Argument(help="Number of a trial", min=0)] = None,
    as_json: AsJson = False,
) -> None:
    """Show a study's trials, or one trial: verdict, numbers, change, output."""
    from flows.printing import make_console, print_trial, trial_table
    from nightlab.ledger import confirmations, holdout_uses, study_summary

    ledger = _ledger(study)
    if trial is not None:
        record = ledger.record(trial)
        if as_json:
            _print_json({**record.model_dump(mode="json"), "diff": ledger.diff(record)})
        else:
            print_trial(make_console(), record, ledger.diff(record))
        return
    records, uses, confirmed = ledger.records(), holdout_uses(ledger), confirmations(ledger)
    if as_json:
        summary = study_summary(ledger).model_dump(mode="json")
        trials = [record.model_dump(mode="json") for record in records]
        holdout = [use.model_dump(mode="json") for use in uses]
        again = [each.model_dump(mode="json") for each in confirmed]
        _print_json({**summary, "trials": trials, "holdout_uses": holdout, "confirmations": again})
        return
    console = make_console()
    console.print(trial_table(records))
    for each in confirmed:
        if each.sentence:
            said = f"Trial {each.incumbent_trial}: {each.sentence}"
            console.print(said, markup=False, highlight=False, soft_wrap=True)
    if uses:
        console.print(f"The holdout split was scored {len(uses)} times.", style="dim")


@app.command()
def retry(
    study: Study,
    trial: Trial,
    remote: Annotated[str | None, typer.Option(help="Git remote of the study")] = None,
) -> None:
    """Retry a failed trial, as a new one, with its proposal and its settings."""
    from nightlab.records import Verdict
    from nightlab.trial import check_retryable

    places = Places.find()
    ledger = _ledger(study)
    check_retryable(ledger.record(trial))
    with _prefect(places, ledger) as console:
        from flows.retry import retry as retry_flow

        record = retry_flow(study=study, number=trial, remote=remote)
    verdict = f"{record.verdict.value} ({record.reason.value})"
    console.print(f"Trial {trial} was retried as trial {record.number}: {verdict}.")
    console.print(record.decision.sentence, markup=False, highlight=False, soft_wrap=True)
    if record.verdict is Verdict.FAILED:
        raise typer.Exit(EXIT_MISTAKE)


@app.command()
def confirm(
    study: Study,
    replicates: Annotated[
        int | None, typer.Option(min=1, help="Fresh trainings of each code (default: 3)")
    ] = None,
    remote: Annotated[str | None, typer.Option(help="Git remote of the study")] = None,
) -> None:
    """Train baseline and incumbent with fresh seeds and score them on the holdout split."""
    from nightlab.confirmation import check_confirmable
    from nightlab.ledger import Ledger, refuse_if_busy

    places = Places.find()
    if remote is None:
        check_confirmable(study, _ledger(study).records())
    ledger = Ledger(places.root, study)
    refuse_if_busy(ledger)
    with _prefect(places, ledger) as console:
        from flows.confirm import confirm as confirm_flow

        record = confirm_flow(study=study, replicates=replicates, remote=remote)
    console.print(record.sentence, markup=False, highlight=False, soft_wrap=True)


@app.command()
def report(study: Study) -> None:
    """Write the study's report: a self-contained page and a picture."""
    from nightlab.ledger import confirmations
    from nightlab.report import log_report, write_report
    from nightlab.tracking import Tracker

    places = Places.find()
    ledger = _ledger(study)
    files = write_report(ledger, places.mlruns / "reports", confirmations(ledger))
    tracker = Tracker(places.tracking_uri, places.mlruns, study)
    log_report(tracker, files)
    logged = tracker.flush(timeout_seconds=60)
    tracker.close()
    console = Console()
    console.print(f"Page:    {files.html}", soft_wrap=True, highlight=False)
    console.print(f"Picture: {files.png}", soft_wrap=True, highlight=False)
    if not logged and tracker.away:
        console.print(tracker.away, markup=False)


@app.command()
def export(
    study: Study,
    form: Annotated[str, typer.Option("--format", help="tsv: the original project's")] = "tsv",
) -> None:
    """Print the study as the original project's results.tsv."""
    from nightlab.ledger import results_tsv

    if form != "tsv":
        raise UsageError(f"The one format is tsv, and {form!r} was asked for: use --format tsv.")
    sys.stdout.write(results_tsv(_ledger(study).records()))


@app.command()
def sync(study: Study) -> None:
    """Bring MLflow up to date from git, for trials that it missed."""
    from nightlab.ledger import confirmations
    from nightlab.tracking import synchronise

    places, ledger = Places.find(), _ledger(study)
    console = Console()
    with console.status(f"Bringing MLflow up to date with study {study} …"):
        result = synchronise(
            ledger, places.tracking_uri, places.mlruns, confirmed=confirmations(ledger)
        )
    console.print(
        f"MLflow has all {result.trials} trials of {study}; {result.changed} were mended."
    )


@app.command()
def ui(
    port: Annotated[int, typer.Option(help="MLflow's port")] = 5000,
    prefect_port: Annotated[int, typer.Option(help="Prefect's port")] = 4200,
) -> None:
    """Serve MLflow's and Prefect's pages on this machine until Ctrl-C."""
    from flows.pages import serve_pages

    serve_pages(Places.find(), Console(), port=port, prefect_port=prefect_port)


@app.command()
def doctor(
    as_json: AsJson = False,
    model: Annotated[str | None, typer.Option(help="Model to try")] = None,
    api_base: Annotated[str | None, typer.Option(help="Address of the model's endpoint")] = None,
) -> None:
    """Check what Nightlab needs, by trying it, and say what to do about each."""
    from nightlab.doctor import examine, healthy, print_findings

    console = Console()
    with console.status("Trying everything …"):
        findings = examine(Places.find(), model=model, api_base=api_base)
    if as_json:
        _print_json([finding.model_dump(mode="json") for finding in findings])
    else:
        print_findings(console, findings)
    if not healthy(findings):
        raise typer.Exit(EXIT_MISTAKE)


def _run_session(settings: SessionSettings, places: Places) -> None:
    from nightlab.ledger import Ledger, refuse_if_busy
    from nightlab.proposers import choose_proposer

    ledger = Ledger(places.root, settings.study)
    # What can be told now is told now, not after Prefect has started.
    choose_proposer(settings)
    refuse_if_busy(ledger)
    with _prefect(places, ledger) as console:
        from flows.research import research as research_flow

        summary = research_flow(settings)
    from flows.closing import print_summary

    print_summary(console, summary, places)


@contextmanager
def _prefect(places: Places, ledger: Any) -> Iterator[Console]:
    """Run a block with Prefect at hand, the live view, and a clean end on Ctrl-C."""
    from flows.local_server import configure_prefect, prefect_server
    from flows.printing import make_console

    console = make_console()
    configure_prefect(places.cache, console=False)
    stop = _StopRequest()
    signal.signal(signal.SIGINT, stop.ask)
    signal.signal(signal.SIGTERM, stop.ask)
    try:
        console.print("Starting Prefect …", style="dim")
        with prefect_server(places.cache):
            from flows.live import watching

            with events.listening(stop.insist), watching(console, ledger):
                yield console
    except KeyboardInterrupt:
        console.print(
            f"Stopped. Nothing is lost: the same command goes on with study {ledger.study}, "
            "the trial in flight included.",
            highlight=False,
        )
        raise SystemExit(EXIT_INTERRUPTED) from None


class _StopRequest:
    """Ctrl-C, once asked for, happens.

    Python drops a KeyboardInterrupt that reaches it inside a finaliser or a callback (git and
    Prefect have such), so the session's next step raises it again.
    """

    def __init__(self) -> None:
        self._asked = False

    def ask(self, _signal: int, _frame: FrameType | None) -> None:
        self._asked = True
        raise KeyboardInterrupt

    def insist(self, event: events.Event) -> None:
        """Raise what was dropped, in the thread that a signal would reach."""
        on_its_way = isinstance(event, events.StepBegun | events.Trained)
        if self._asked and on_its_way and current_thread() is main_thread():
            self._asked = False
            raise KeyboardInterrupt


def _settings(given: dict[str, Any]) -> SessionSettings:
    try:
        return SessionSettings(**given)
    except ValidationError as error:
        first = error.errors()[0]
        name = "--" + str(first["loc"][0]).replace("_", "-")
        what = first["msg"].removeprefix("Value error, ")
        found = "" if "environment variable" in what else f" (found {first['input']!r})"
        raise UsageError(f"{name}: {what}{found}.") from None


def _ledger(study: str) -> Any:
    from nightlab.ledger import Ledger
    from nightlab.ledger import studies as study_names

    root = Places.find().root
    names = study_names(root)
    if study not in names:
        known = ", ".join(names) or "none yet"
        raise UsageError(
            f"There is no study {study!r} here (studies: {known}): `nightlab studies` lists them, "
            f"`nightlab research --study {study}` begins it."
        )
    return Ledger(root, study)


def _print_json(value: object) -> None:
    sys.stdout.write(json.dumps(value, indent=2) + "\n")


def _fail(sentence: str) -> NoReturn:
    Console(stderr=True).print(
        f"nightlab: {sentence}", style="red", markup=False, highlight=False, soft_wrap=True
    )
    raise SystemExit(EXIT_MISTAKE)


if __name__ == "__main__":
    main()
