"""A session's own page among Prefect's artifacts: the gain, the picture, the table of trials."""

import base64
import re
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from uuid import UUID

from prefect.artifacts import create_markdown_artifact
from prefect.client.orchestration import get_client
from prefect.client.schemas.actions import ArtifactUpdate
from prefect.client.schemas.filters import ArtifactFilter
from prefect.runtime import flow_run

from flows.outages import best_effort
from flows.printing import number
from nightlab.judging.score_text import format_chance, format_score
from nightlab.ledger import confirmations
from nightlab.records import TrialRecord, Verdict
from nightlab.redaction import redact
from nightlab.report.conclusion import certainty_sentences, gain_sentence
from nightlab.report.study import Study, read_study
from nightlab.shown import Markdown
from nightlab.study.session import Session

MOST_ROWS = 100
"""Beyond these a page is long to read, and to send after each trial: then the latest of those that
were not kept, with all that were."""


def show_session(session: Session, picture: Path | None = None) -> None:
    """Put how the study stands on the page of the session's run, in place of what stood there.

    Args:
        session: at work, in its own flow: the page belongs to the run that this is called in.
        picture: the report's, once there is one.
    """
    study = read_study(session.ledger, confirmations(session.ledger))
    drawn = picture.read_bytes() if picture is not None else None
    text = session_markdown(study, session.tracker.study_url(), drawn)
    best_effort(partial(_put, text))


def session_markdown(
    study: Study, link: str | None = None, picture: bytes | None = None
) -> Markdown:
    """How a study stands.

    Args:
        study: as it stands.
        link: address of its trials in MLflow, where that is a server.
        picture: an SVG.
    """
    records = _shown(study.records)
    hidden = len(study.records) - len(records)
    said = " ".join((gain_sentence(study), *certainty_sentences(study)))
    parts = [
        Markdown("# {}").filled(study.name),
        said,
        _PICTURE.filled(base64.b64encode(picture).decode()) if picture is not None else "",
        Markdown("\n").joined([_HEADER, *map(_row, records)]),
        f"{hidden} more were not kept: `nightlab show {study.name}`." if hidden else "",
        Markdown("[The trials in MLflow](<{}>)").filled(link) if link is not None else "",
    ]
    return Markdown("\n\n").joined(parts)


_PICTURE = Markdown("![score by trial](data:image/svg+xml;base64,{})")
_HEADER = Markdown(
    "| trial | verdict | reason | val_bpb | difference | P(better) | title |\n"
    "|-:|:-|:-|-:|-:|-:|:-|"
)
_ROW = Markdown("| {} | {} | {} | {} | {} | {} | {} |")


def _row(record: TrialRecord) -> Markdown:
    verdict, decision = record.verdict.value, record.decision
    return _ROW.filled(
        record.number,
        Markdown("**{}**").filled(verdict) if record.verdict is Verdict.KEEP else verdict,
        record.reason_text,
        format_score(record.val_bpb),
        number(decision.difference_bpb, "+.4f"),
        format_chance(decision.probability_better),
        record.title,
    )


def _shown(records: Sequence[TrialRecord]) -> Sequence[TrialRecord]:
    latest = len(records) - MOST_ROWS
    return [
        record
        for place, record in enumerate(records)
        if place >= latest or record.verdict is Verdict.KEEP
    ]


def _put(page: Markdown) -> None:
    text = str(redact(page))
    run, name = UUID(flow_run.get_id()), str(flow_run.get_name())
    # Prefect's keys take lower-case letters, digits and dashes only.
    key = re.sub("[^a-z0-9]+", "-", name.lower()).strip("-")
    mine = {"key": {"any_": [key]}, "flow_run_id": {"any_": [run]}}
    with get_client(sync_client=True) as client:
        found = client.read_artifacts(artifact_filter=ArtifactFilter.model_validate(mine), limit=1)
        if found:
            client.update_artifact(found[0].id, ArtifactUpdate(data=text))
            return
    create_markdown_artifact(text, key=key, description="What the study has gained, trial by trial")
