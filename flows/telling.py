"""What people are told: events on Prefect's feed, which automations carry to where people look.

Nothing rests on them: an event that the server does not get stops nothing.
"""

from collections.abc import Mapping
from enum import StrEnum

from prefect.events import emit_event
from prefect.settings import PREFECT_API_URL

from nightlab.redaction import redact

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
        links: addresses by what they show; those that are None are left out.
    """
    if not PREFECT_API_URL.value():
        return  # Prefect would start a server for it.
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
            "sentence": redact(sentence),
            "gain_bpb": gain_bpb,
            "trial": trial,
            "title": title and redact(title),
            "links": {name: link for name, link in (links or {}).items() if link},
        },
    )
