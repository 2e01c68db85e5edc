"""What people are told: events on Prefect's feed, which automations carry to where people look.

Nothing rests on them: an event that the server does not get stops nothing.
"""

from collections.abc import Mapping
from enum import StrEnum
from typing import Any, TypeVar

from prefect import runtime
from prefect.client.schemas.objects import FlowRun, State
from prefect.events import emit_event
from prefect.settings import PREFECT_API_URL
from prefect.utilities.urls import url_for

from nightlab.records import Approval, TrialRecord
from nightlab.redaction import redact
from nightlab.shown import for_terminal
from tasks.finished import finished

Result = TypeVar("Result")

TAG = "nightlab"
"""Of everything that an automation is to hear, as prefect.yaml has it for each deployment."""


class News(StrEnum):
    """What automations wait for."""

    KEPT = "nightlab.trial.kept"
    AWAITS_APPROVAL = "nightlab.trial.awaits_approval"
    ENDED = "nightlab.session.ended"
    FAILED = "nightlab.session.failed"


def tell(
    news: News,
    study: str,
    sentence: str,
    *,
    gain_bpb: float | None = None,
    trial: int | None = None,
    title: str | None = None,
    links: Mapping[str, str | None] | None = None,
) -> None:
    """Tell who listens on Prefect's server.

    Args:
        news: what kind of news it is.
        study: name of the study.
        sentence: what happened, for a person who sees nothing else.
        gain_bpb: of the trial or the study; None where none is known.
        trial: its number, where the news is of one.
        title: the trial's.
        links: addresses by what they show, besides that of the run that this happens in; those
            that are None are left out.
    """
    if not PREFECT_API_URL.value():
        return  # Prefect would start a server for it.
    run = runtime.flow_run.get_id()
    shown = {"prefect": url_for("flow-run", run) if run else None, **(links or {})}
    emit_event(
        event=news.value,
        resource={
            "prefect.resource.id": f"nightlab.study.{study}",
            "prefect.resource.name": study,
        },
        # Prefect adds the run that this happens in, with its flow and deployment.
        related=[{"prefect.resource.id": f"prefect.tag.{TAG}", "prefect.resource.role": "tag"}],
        payload={
            "study": study,
            "sentence": for_terminal(redact(sentence)),
            "gain_bpb": gain_bpb,
            "trial": trial,
            "title": title and for_terminal(redact(title)),
            "links": {name: link for name, link in shown.items() if link},
        },
    )


def tell_kept(record: TrialRecord, link: str | None) -> None:
    """Tell of a change that was kept, and that it waits where it does.

    Args:
        record: of its trial.
        link: address of its study in MLflow.
    """
    decision, gain = record.decision, record.decision.expected_gain_bpb
    said = f"Study {record.study}, trial {record.number}, “{record.title}”. {decision.sentence}"
    news = {News.KEPT: said}
    if record.approval is Approval.WAITS:
        word = f"`nightlab approve {record.study} {record.number}`"
        news[News.AWAITS_APPROVAL] = f"{said} It waits for your word: {word}, or Prefect's page."
    for kind, sentence in news.items():
        tell(
            kind,
            record.study,
            sentence,
            gain_bpb=-(decision.difference_bpb or 0.0) if gain is None else gain,
            trial=record.number,
            title=record.title,
            links={"mlflow": link},
        )


def ended(
    study: str,
    result: Result,
    sentence: str,
    *,
    gain_bpb: float | None = None,
    link: str | None = None,
) -> Result:
    """What a session's flow returns: its run ends with the sentence, and who listens is told.

    Args:
        study: name of the study.
        result: of the flow.
        sentence: what came of it; empty where it was stopped before.
        gain_bpb: of the study, where the flow was for one.
        link: address in MLflow of what came of it.
    """
    sentence = sentence or "Stopped before its end: the same again goes on with it."
    tell(
        News.ENDED,
        study,
        f"Study {study}: {sentence}",
        gain_bpb=gain_bpb,
        links={"mlflow": link},
    )
    return finished(result, sentence)


def tell_failed(flow: Any, flow_run: FlowRun, state: State[Any]) -> None:
    """Tell of a session that failed and is not tried again; for Prefect to call."""
    said = str(state.result(raise_on_failure=False)) or state.message or "it does not say why"
    study = str(flow_run.parameters.get("study"))
    tell(News.FAILED, study, f"Study {study}: {flow_run.name} failed: {said}")
