"""A person's word on what was kept, asked for on Prefect's page, where it pauses nothing.

For each keep that waits there stands a suspended run of the deployment ``approve/on-demand``. Who
resumes it on the page is asked for the word, and a worker carries it to the study's remote; where
all workers are at work, the study's session does so between two trials.
"""

from contextlib import suppress
from functools import partial
from http import HTTPStatus
from typing import Any, Literal
from uuid import UUID

import httpx
from prefect import flow
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.filters import FlowRunFilter
from prefect.client.schemas.objects import FlowRun, FlowRunPolicy, State, StateType
from prefect.exceptions import ObjectNotFound
from prefect.flow_runs import suspend_flow_run
from prefect.input import RunInput
from prefect.input.run_input import keyset_from_base_key
from prefect.states import Completed, Suspended
from pydantic import Field

from flows.deployed import require_remote
from flows.outages import best_effort
from nightlab import events
from nightlab.errors import NightlabError, UsageError
from nightlab.ledger import Ledger, Remote, give_word
from nightlab.records import TrialRecord
from nightlab.redaction import redact
from nightlab.settings import Places, StudyName
from nightlab.shown import Markdown, fenced, for_terminal
from nightlab.study.approval import speak
from nightlab.study.session import Session

DEPLOYMENT = "approve/on-demand"
TAG = "approval"
PAUSE_KEY = "word"
KEYS = keyset_from_base_key(f"suspended-{PAUSE_KEY}")
"""Where Prefect keeps the question of a suspended run, and its answer."""
RESUMING = "Resuming"
"""Prefect's name for the state of a run that was answered and that no worker has taken up."""
LONGEST_DIFF = 10_000
"""Characters of a diff on Prefect's page."""


class Answer(RunInput):
    """What the page asks for."""

    word: Literal["approve", "refuse"] = Field(
        title="Your word",
        description="approve: the change, and what it stands on, goes on the study's branch. "
        "refuse: the study goes back to before it.",
    )


@flow(name="approve", flow_run_name="approve {study} {number}")
def approve(study: StudyName, number: int, remote: str | None = None) -> State[Any]:
    """Ask a person for a word on what a session with `approve: keeps` kept, and carry it out.

    Args:
        study: its name.
        number: the trial that was kept.
        remote: git remote to fetch the study from and push it to.
    """
    require_remote(study, remote)
    answer = suspend_flow_run(wait_for_input=Answer, key=PAUSE_KEY)
    places = Places.find()
    there = Remote(places.root, remote, study) if remote is not None else None
    ledger = Ledger(places.root, study)
    said = speak(places, ledger, there, number, approve=answer.word == "approve")
    return Completed(message=" ".join(said).replace("`", ""))


def hear_page(session: Session) -> None:
    """Ask on Prefect's page for a word on each keep that waits, and take in what was answered.

    Where the server has no such deployment, or the study no remote, the desk alone is asked.
    """
    if session.remote is not None and any(each.approval for each in session.ledger.records()):
        best_effort(partial(_hear, session))


def _hear(session: Session) -> None:
    study = session.ledger.study
    with get_client(sync_client=True) as client:
        asked = {run.parameters["number"]: run for run in _open_runs(client, study)}
        answered = {n for n, run in asked.items() if run.state_name == RESUMING}
        for number in answered:
            _take_in(session, client, number, asked[number].id)
        waiting = {record.number: record for record in session.ledger.waiting()}
        for number in asked.keys() - waiting.keys() - answered:
            said = "The word on it was given elsewhere."
            client.set_flow_run_state(asked[number].id, Completed(message=said), force=True)
        with suppress(ObjectNotFound):
            deployment = client.read_deployment_by_name(DEPLOYMENT).id
            for number in waiting.keys() - asked.keys():
                _ask(session, client, deployment, waiting[number])


def _open_runs(client: SyncPrefectClient, study: str) -> list[FlowRun]:
    """The runs that ask for a word, and those that were answered and that nobody took up."""
    states = [StateType.PAUSED.value, StateType.SCHEDULED.value]
    wanted = {"tags": {"all_": [TAG, _study_tag(study)]}, "state": {"type": {"any_": states}}}
    return client.read_flow_runs(flow_run_filter=FlowRunFilter.model_validate(wanted))


def _take_in(session: Session, client: SyncPrefectClient, number: int, run: UUID) -> None:
    """Carry an answer out; where git or the remote does not let it, a worker or the next look."""
    answer = Answer.model_validate_json(client.read_flow_run_input(run, KEYS["response"]))
    said = "The study's session took it in."
    try:
        give_word(session.ledger, session.remote, number, approve=answer.word == "approve")
    except UsageError as refusal:
        said = str(refusal)
    except NightlabError as error:
        events.publish(events.Notice(text=f"A word on trial {number} waits on the page: {error}"))
        return
    client.set_flow_run_state(run, Completed(message=said), force=True)


def _ask(
    session: Session, client: SyncPrefectClient, deployment: UUID, record: TrialRecord
) -> None:
    """Make a suspended run that asks for a word; made twice, it is one.

    It is tagged at last: one that a kill cut short is made anew.
    """
    study = record.study
    suspended: State[Any] = Suspended(pause_key=PAUSE_KEY)
    suspended.state_details.run_input_keyset = dict(KEYS.items())
    run = client.create_flow_run_from_deployment(
        deployment,
        parameters={"study": study, "number": record.number, "remote": session.settings.remote},
        state=suspended,
        name=for_terminal(redact(f"approve {study} {record.number}: {record.title}")),
        idempotency_key=f"{TAG} {study} {record.commit}",
    )
    question = Answer.with_initial_data(description=str(redact(_question(session.ledger, record))))
    try:
        question.save(KEYS, flow_run_id=run.id)
    except httpx.HTTPStatusError as error:
        if error.response.status_code != HTTPStatus.CONFLICT:
            raise
    client.update_flow_run(
        run.id,
        tags=[*run.tags, TAG, _study_tag(study)],
        # So its flow, once it is resumed, finds that it was suspended before.
        empirical_policy=FlowRunPolicy(pause_keys={PAUSE_KEY}),
    )


def _question(ledger: Ledger, record: TrialRecord) -> Markdown:
    """What a person is to look at."""
    head = Markdown("**Trial {} of {}: {}**").filled(record.number, record.study, record.title)
    diff = fenced(ledger.diff(record)[:LONGEST_DIFF], "diff")
    said = (head, record.decision.sentence, record.hypothesis, diff)
    return Markdown("\n\n").joined(said)


def _study_tag(study: str) -> str:
    return f"study:{study}"
