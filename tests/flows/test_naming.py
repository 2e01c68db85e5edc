"""Names and tags of runs, and a session's page, on a real server."""

from dataclasses import replace
from pathlib import Path
from uuid import UUID

from prefect import flow
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import ArtifactFilter
from prefect.runtime import flow_run
from prefect.settings import PREFECT_API_URL, temporary_settings

from flows.naming import LONGEST_NAME, label_run, name_of_trial
from flows.session_page import MOST_ROWS, session_markdown, show_session
from nightlab.records import Proposal, Verdict
from nightlab.report.study import read_study
from tests.session_samples import finish_trial, keep_edit, sample_session

ODD = "A | `pipe` and [a link](http://127.0.0.1) <b>bold</b>\nover two lines"


def test_a_run_is_named_and_tagged_once_that_is_known_and_keeps_its_page(
    prefect_api: dict[str, str], tmp_path: Path
) -> None:
    session = sample_session(tmp_path / "clone")
    picture = tmp_path / "x.svg"
    picture.write_bytes(b"a picture")
    finish_trial(session, Proposal(title="baseline", proposer="none"), Verdict.KEEP)

    @flow(flow_run_name="Night 2026-11-30 01:00")
    def night() -> str:
        label_run("study:night")
        show_session(session)
        finish_trial(session, Proposal(title=ODD, proposer="llm"))
        show_session(session, picture)
        inner(1)
        return str(flow_run.get_id())

    @flow(flow_run_name="trial {number}")
    def inner(number: int) -> None:
        label_run("study:night", name=name_of_trial(number, "Deeper"))
        label_run("verdict:keep")

    with temporary_settings({PREFECT_API_URL: prefect_api["PREFECT_API_URL"]}):
        identifier = UUID(night())
        with get_client(sync_client=True) as client:
            runs = {run.name: run.tags for run in client.read_flow_runs()}
            mine = ArtifactFilter.model_validate({"flow_run_id": {"any_": [identifier]}})
            pages = client.read_artifacts(artifact_filter=mine)
    assert runs["Night 2026-11-30 01:00"] == ["study:night"]
    assert sorted(runs["trial 1: Deeper"]) == ["study:night", "verdict:keep"]
    (page,) = pages
    assert page.key == "night-2026-11-30-01-00"
    assert "data:image/svg+xml;base64,YSBwaWN0dXJl" in str(page.data)
    assert "| 1 | failed | machinery |" in str(page.data)


def test_outside_of_a_run_nothing_is_labelled() -> None:
    label_run("study:night", name="nobody's")


def test_a_long_title_is_cut() -> None:
    name = name_of_trial(7, "deeper " * 40)
    assert len(name) <= LONGEST_NAME
    assert name.endswith("deeper …")


def test_a_title_is_text_on_the_page_and_many_trials_are_those_that_matter(tmp_path: Path) -> None:
    session = sample_session(tmp_path / "clone")
    finish_trial(session, Proposal(title="baseline", proposer="none"), Verdict.KEEP)
    keep_edit(session, 1, Proposal(title="Deeper", proposer="llm"))
    for _ in range(3):
        finish_trial(session, Proposal(title=ODD, proposer="llm"))
    study = read_study(session.ledger)
    rows = [line for line in session_markdown(study).splitlines() if line.startswith("| ")]
    assert len(rows) == 1 + 5
    shown = "A &#124; &#96;pipe&#96; and &#91;a link&#93;(http&#58;//127.0.0.1) &#60;b&#62;bold"
    assert shown in rows[-1]
    last = study.records[-1]
    many = [last.model_copy(update={"number": number}) for number in range(5, 5 + MOST_ROWS)]
    text = session_markdown(replace(study, records=(*study.records, *many)))
    assert "| 1 | **keep** |" in text
    assert "| 2 | failed |" not in text
    assert "3 more were not kept: `nightlab show night`." in text
