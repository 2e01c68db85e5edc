"""Commands that train: a session, a retried trial, a confirmation."""

from typing import Annotated, Any

import typer

from flows.commands.common import (
    EXIT_FAILED,
    Study,
    Trial,
    existing_ledger,
    once,
    validated_settings,
    with_prefect,
)
from flows.commands.options import with_session_options
from nightlab.errors import UsageError
from nightlab.settings import Places, SessionSettings


@with_session_options
def research(given: dict[str, Any]) -> None:
    """Run a session of a study: a baseline, then trials up to a limit or Ctrl-C."""
    if given.get("trust_candidate") and "require_rung" in given:
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
    remote: Annotated[
        str | None, typer.Option(help="Git remote to fetch the study from and push it to")
    ] = None,
) -> None:
    """Retry a failed trial as a new one, with the same proposal and settings."""
    from nightlab.ledger import Ledger, refuse_if_busy
    from nightlab.records import Verdict
    from nightlab.study.checks import check_last_settings
    from nightlab.study.trial import check_retryable

    places, study = Places.find(), validated_settings({"study": study}).study
    if remote is None:
        check_retryable(existing_ledger(study).record(trial))
    ledger = Ledger(places.root, study)
    check_last_settings(ledger, remote, places)
    refuse_if_busy(ledger)
    with with_prefect(places, ledger) as console:
        from flows.retry import retry as retry_flow

        record = once(retry_flow)(study=study, number=trial, remote=remote)
    verdict = f"{record.verdict.value} ({record.reason.value})"
    console.print(f"Trial {trial} was retried as trial {record.number}: {verdict}.")
    console.say(record.decision.sentence)
    if record.verdict is Verdict.FAILED:
        raise typer.Exit(EXIT_FAILED)


def confirm(
    study: Study,
    replicates: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Fresh training runs of each (default: as in the study's last session, or 3)",
        ),
    ] = None,
    remote: Annotated[
        str | None, typer.Option(help="Git remote to fetch the study from and push it to")
    ] = None,
) -> None:
    """Retrain baseline and incumbent with fresh seeds, and score both on the holdout split."""
    from nightlab.judging.score_text import waiting_sentence
    from nightlab.ledger import Ledger, refuse_if_busy
    from nightlab.study.checks import check_last_settings
    from nightlab.study.confirmation import check_confirmable

    places, study = Places.find(), validated_settings({"study": study}).study
    if remote is None:
        check_confirmable(study, existing_ledger(study).records())
    ledger = Ledger(places.root, study)
    check_last_settings(ledger, remote, places)
    refuse_if_busy(ledger)
    with with_prefect(places, ledger) as console:
        from flows.confirm import confirm as confirm_flow

        record = once(confirm_flow)(study=study, replicates=replicates, remote=remote)
    if record.finished_at is not None:
        waits = waiting_sentence(study, ledger.records())
        for said in filter(None, (record.sentence, waits)):
            console.say(said)


def _run_session(settings: SessionSettings, places: Places) -> None:
    from nightlab.ledger import Ledger, refuse_if_busy
    from nightlab.proposers import choose_proposer
    from nightlab.study.checks import check_settings

    ledger = Ledger(places.root, settings.study)
    # What can be told now is told now, not after Prefect has started.
    check_settings(settings, places)
    choose_proposer(settings)
    if settings.remote is None:
        ledger.require_branch_of_records()
    refuse_if_busy(ledger)
    with with_prefect(places, ledger, has_page=True) as console:
        from flows.research import research as research_flow

        summary = once(research_flow)(settings.study, settings.remote, settings.without_study)
    from flows.closing import print_summary

    print_summary(console, summary, places)
