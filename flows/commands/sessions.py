"""Commands that train: a session, a retried trial, a confirmation."""

from typing import Annotated

import typer

from flows.commands.common import (
    EXIT_MISTAKE,
    Study,
    Trial,
    existing_ledger,
    validated_settings,
    with_prefect,
)
from nightlab.errors import UsageError
from nightlab.settings import Places, SessionSettings


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
        str | None,
        typer.Option(
            help="knobs, llm, hybrid or command; default: auto, llm or command where one is set, "
            "else knobs"
        ),
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(help="A model that litellm reaches, or several: NAME,NAME or NAME@ADDRESS"),
    ] = None,
    api_base: Annotated[str | None, typer.Option(help="Address of the models' endpoint")] = None,
    model_timeout_seconds: Annotated[
        float | None, typer.Option(help="Longest wait for one answer of the model (default: 90)")
    ] = None,
    command: Annotated[
        str | None,
        typer.Option(help="For the proposers command and hybrid: what edits trainer/train.py"),
    ] = None,
    command_timeout_seconds: Annotated[
        float | None, typer.Option(help="Longest time of the command for one edit (default: 600)")
    ] = None,
    corpus: Annotated[
        str | None, typer.Option(help="embedded (default), path:DIR, climbmix or climbmix:URL")
    ] = None,
    device: Annotated[str | None, typer.Option(help="auto (default), cpu, cuda or cuda:N")] = None,
    max_cost_usd: Annotated[
        float | None, typer.Option(help="Dollars for models in this session; no call passes them")
    ] = None,
    max_model_tokens: Annotated[
        int | None, typer.Option(help="Tokens of models in this session, both ways together")
    ] = None,
    max_model_calls: Annotated[
        int | None, typer.Option(help="Calls of models in this session")
    ] = None,
    max_study_cost_usd: Annotated[
        float | None, typer.Option(help="Dollars for models in the whole study")
    ] = None,
    max_study_model_tokens: Annotated[
        int | None, typer.Option(help="Tokens of models in the whole study")
    ] = None,
    max_study_model_calls: Annotated[
        int | None, typer.Option(help="Calls of models in the whole study")
    ] = None,
    seed: Annotated[
        int | None, typer.Option(help="Seed of all replicates' seeds (default: 0)")
    ] = None,
    confirm_replicates: Annotated[
        int | None,
        typer.Option(
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
            "--prune/--no-prune",
            help="Stop trainings that can hardly get low enough to be kept (default: yes)",
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
    settings = validated_settings(given)
    places = Places.find()
    _run_session(settings, places)


def retry(
    study: Study,
    trial: Trial,
    remote: Annotated[str | None, typer.Option(help="Git remote of the study")] = None,
) -> None:
    """Retry a failed trial, as a new one, with its proposal and its settings."""
    from nightlab.ledger import Ledger
    from nightlab.records import Verdict
    from nightlab.study.trial import check_retryable

    places, study = Places.find(), validated_settings({"study": study}).study
    if remote is None:
        check_retryable(existing_ledger(study).record(trial))
    ledger = Ledger(places.root, study)
    with with_prefect(places, ledger) as console:
        from flows.retry import retry as retry_flow

        record = retry_flow(study=study, number=trial, remote=remote)
    verdict = f"{record.verdict.value} ({record.reason.value})"
    console.print(f"Trial {trial} was retried as trial {record.number}: {verdict}.")
    console.print(record.decision.sentence, markup=False, highlight=False, soft_wrap=True)
    if record.verdict is Verdict.FAILED:
        raise typer.Exit(EXIT_MISTAKE)


def confirm(
    study: Study,
    replicates: Annotated[
        int | None,
        typer.Option(min=1, help="Fresh trainings of each code (default: the study's, else 3)"),
    ] = None,
    remote: Annotated[str | None, typer.Option(help="Git remote of the study")] = None,
) -> None:
    """Train baseline and incumbent with fresh seeds and score them on the holdout split."""
    from nightlab.ledger import Ledger, refuse_if_busy
    from nightlab.study.confirmation import check_confirmable

    places, study = Places.find(), validated_settings({"study": study}).study
    if remote is None:
        check_confirmable(study, existing_ledger(study).records())
    ledger = Ledger(places.root, study)
    refuse_if_busy(ledger)
    with with_prefect(places, ledger) as console:
        from flows.confirm import confirm as confirm_flow

        record = confirm_flow(study=study, replicates=replicates, remote=remote)
    if record.finished_at is not None:
        console.print(record.sentence, markup=False, highlight=False, soft_wrap=True)


def _run_session(settings: SessionSettings, places: Places) -> None:
    from nightlab.ledger import Ledger, refuse_if_busy
    from nightlab.proposers import choose_proposer

    ledger = Ledger(places.root, settings.study)
    # What can be told now is told now, not after Prefect has started.
    choose_proposer(settings)
    refuse_if_busy(ledger)
    with with_prefect(places, ledger) as console:
        from flows.research import research as research_flow

        summary = research_flow(settings)
    from flows.closing import print_summary

    print_summary(console, summary, places)
