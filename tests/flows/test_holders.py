"""Whether the flow run that holds a study is over, as a real Prefect server knows it."""

import math
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest
from prefect import flow
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.events import Event
from prefect.events.filters import EventFilter
from prefect.runtime import flow_run
from prefect.settings import PREFECT_API_URL, temporary_settings
from prefect.states import AwaitingRetry, Crashed, Running

from flows.holders import HEARTBEAT, silence_of, waiting_for
from nightlab.settings import SessionSettings

pytestmark = pytest.mark.slow


@flow(name="holder")
def holder() -> str:
    return flow_run.get_id() or ""


@pytest.fixture
def client(prefect_api: dict[str, str]) -> Iterator[SyncPrefectClient]:
    with (
        temporary_settings({PREFECT_API_URL: prefect_api["PREFECT_API_URL"]}),
        get_client(sync_client=True) as client,
    ):
        yield client


def test_a_run_is_over_once_prefect_knows_its_end(client: SyncPrefectClient) -> None:
    run = holder()
    assert silence_of(run) == 0
    client.set_flow_run_state(run, Running(), force=True)
    assert silence_of(run) is None, "it may live, or its machine may be gone"
    for state in (Crashed(), AwaitingRetry()):
        client.set_flow_run_state(run, state, force=True)
        assert silence_of(run) == 0
    assert silence_of(str(uuid4())) is None
    assert silence_of("nightlab recover") is None


@pytest.mark.parametrize(("seconds_ago", "enough"), [(60, math.inf), (1000, None), (10_000, None)])
def test_heartbeats_tell_a_run_that_lives_and_their_lack_tells_nothing(
    client: SyncPrefectClient, seconds_ago: float, enough: float | None
) -> None:
    run = str(client.create_flow_run(holder, state=Running()).id)
    now = datetime.now(UTC)
    beats = [
        Event(
            event=HEARTBEAT,
            resource={"prefect.resource.id": f"prefect.flow-run.{run}"},
            occurred=now - timedelta(seconds=seconds_ago + earlier),
        )
        for earlier in (960, 480, 0)
    ]
    client.request("POST", "/events", json=[beat.model_dump(mode="json") for beat in beats])
    resource = {"resource": {"id": [f"prefect.flow-run.{run}"]}, "event": {"name": [HEARTBEAT]}}
    kept = EventFilter.model_validate(resource)
    deadline = time.monotonic() + 60
    while len(client.read_events(filter=kept, limit=10).events) < len(beats):
        assert time.monotonic() < deadline, "the server keeps no events"
    assert silence_of(run) == enough


def test_a_run_that_is_tried_again_follows_itself(client: SyncPrefectClient) -> None:
    waiting = waiting_for(SessionSettings(study="x", wait_for_study_hours=0.5), "me")
    assert waiting.silence_of("me") == 0
    assert waiting.silence_of("you") is None
    assert waiting.seconds == 1800
    assert not waiting.here_too, "no deployment: a person sits here"


def test_a_server_that_does_not_answer_knows_nothing(free_port: int) -> None:
    with temporary_settings({PREFECT_API_URL: f"http://127.0.0.1:{free_port}/api"}):
        assert silence_of(str(uuid4())) is None
