"""Makes a model's calls MLflow traces, each tied to the run of its trial."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import Any

from nightlab.models.providers import import_litellm
from nightlab.redaction import Redaction, redacted
from nightlab.shown import fenced, for_terminal
from nightlab.tracking.connection import import_mlflow
from nightlab.tracking.tags import STUDY_TAG, TRIAL_TAG

SOURCE_RUN = "mlflow.sourceRun"
"""The metadata by which MLflow shows a trace on a run's page."""


_MESSAGES = ("content", "reasoning_content", "refusal")


class CallFailedError(Exception):
    """What a trace shows of a failed call: the endpoint's words, without secrets."""


@contextmanager
def traced(
    tracking_uri: str, experiment_id: str, run_id: str, study: str, number: int
) -> Iterator[None]:
    """Trace every litellm call of the block, failed ones too.

    Traces are sent in the background, and dropped where MLflow is away: prompts and answers
    stand in git in any case. The block's context holds the trial's tags: a thread that makes
    the call has to be started in a copy of it (``contextvars.copy_context``).
    """
    mlflow = import_mlflow()
    from mlflow.entities.trace_location import MlflowExperimentLocation

    # MLflow keeps the destination of traces for the whole process.
    mlflow.set_tracking_uri(tracking_uri)
    mlflow.tracing.set_destination(MlflowExperimentLocation(experiment_id))
    _trace_litellm()
    tags = {STUDY_TAG: study, TRIAL_TAG: str(number)}
    with mlflow.tracing.context(tags=tags, metadata={SOURCE_RUN: run_id}):
        yield


@contextmanager
def untraced() -> Iterator[None]:
    """Trace nothing in the block: there is no run that a trace could belong to."""
    mlflow = import_mlflow()
    with mlflow.tracing.context(enabled=False):
        yield


def as_code(value: Any) -> Any:
    """A copy of plain data, in which what messages say stands as a block of code.

    MLflow's pages render messages as Markdown, and fetch the pictures in it from anywhere.
    """
    if isinstance(value, dict):
        return {
            # A plain text: MLflow drops a trace that holds any other kind.
            key: str(fenced(item)) if key in _MESSAGES and isinstance(item, str) else as_code(item)
            for key, item in value.items()
        }
    return [as_code(item) for item in value] if isinstance(value, list) else value


def send_traces() -> None:
    """Wait until the traces so far are sent, or given up."""
    import_mlflow().flush_trace_async_logging()


def _trace_litellm() -> None:
    litellm = import_litellm()
    from litellm.integrations.mlflow import MlflowLogger
    from mlflow import litellm as integration

    if any(isinstance(known, MlflowLogger) for known in litellm.success_callback):
        return

    class RedactingLogger(MlflowLogger):  # type: ignore[misc]
        """litellm's own logger, which else stores whatever an endpoint echoes, keys too."""

        def log_success_event(
            self,
            kwargs: dict[str, Any],
            response_obj: Any,
            start_time: datetime,
            end_time: datetime,
        ) -> None:
            redaction = _redaction(kwargs)
            answer = as_code(redacted(response_obj.model_dump(), redaction))
            call = as_code(redacted(kwargs, redaction))
            super().log_success_event(call, answer, start_time, end_time)

        def log_failure_event(
            self,
            kwargs: dict[str, Any],
            response_obj: Any,
            start_time: datetime,
            end_time: datetime,
        ) -> None:
            redaction = _redaction(kwargs)
            said = redaction(str(kwargs.get("exception", "")))
            call = as_code(redacted(kwargs, redaction))
            kwargs = {**call, "exception": CallFailedError(for_terminal(said))}
            super().log_failure_event(kwargs, None, start_time, end_time)

    logger = RedactingLogger()
    litellm.success_callback = [*litellm.success_callback, logger]
    litellm.failure_callback = [*litellm.failure_callback, logger]
    # Finds a logger of MLflow's in its place, and has litellm call it before the call returns.
    integration.autolog(silent=True)


def _redaction(call: dict[str, Any]) -> Redaction:
    # The call carries the key that it was made with, wherever that came from.
    key = call.get("api_key") or (call.get("litellm_params") or {}).get("api_key")
    return Redaction.of(key, os.environ)
