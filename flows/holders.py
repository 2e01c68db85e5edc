"""Whether a session that holds a study has ended, by what Prefect knows of its flow run."""

import math
from datetime import UTC, datetime
from uuid import UUID

import httpx
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.events.filters import EventFilter
from prefect.exceptions import ObjectNotFound, PrefectException
from prefect.runtime import deployment

from nightlab.ledger import Waiting
from nightlab.records.durations import SECONDS_PER_HOUR
from nightlab.settings import SessionSettings

HEARTBEAT = "prefect.flow-run.heartbeat"
FRESH_BEATS = 1.5


def waiting_for(settings: SessionSettings, identifier: str) -> Waiting:
    """How a flow waits for a study that another session holds.

    A person who starts a session is told at once that another one is at work on the machine;
    a deployment waits for that too.

    Args:
        settings: the session's.
        identifier: its flow run's; a run that is tried again follows itself.
    """
    return Waiting(
        seconds=settings.wait_for_study_hours * SECONDS_PER_HOUR,
        here_too=deployment.get_id() is not None,
        silence_of=lambda holder: 0.0 if holder == identifier else silence_of(holder),
    )


def silence_of(holder: str) -> float | None:
    """Say how long a holder's note has to stand unchanged: as ``Waiting.silence_of`` asks.

    Args:
        holder: what a session's note names: the flow run's identifier, or a command.
    """
    try:
        identifier = UUID(holder)
        with get_client(sync_client=True) as client:
            state = client.read_flow_run(identifier).state
            if state is None:
                return None
            if state.is_final() or state.is_scheduled():
                return 0.0
            return math.inf if _beats(client, identifier) else None
    except (ValueError, ObjectNotFound, PrefectException, httpx.HTTPError, RuntimeError):
        return None  # Held for something else than a run, or another server's, or none answers.


def _beats(client: SyncPrefectClient, identifier: UUID) -> bool:
    """Whether a run certainly lives, by its heartbeats.

    Prefect sends one every three minutes, or as PREFECT_FLOWS_HEARTBEAT_FREQUENCY says (seconds).
    Missing ones say nothing: they are lost while the server is away.
    """
    query = EventFilter.model_validate(
        {
            "event": {"name": [HEARTBEAT]},
            "resource": {"id": [f"prefect.flow-run.{identifier}"]},
            "order": "DESC",
        }
    )
    heard = [event.occurred for event in client.read_events(filter=query, limit=2).events]
    if len(heard) < 2:
        return False
    return datetime.now(UTC) - heard[0] < FRESH_BEATS * (heard[0] - heard[1])
