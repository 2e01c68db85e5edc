"""Proposers that ask a scripted endpoint."""

from pydantic import SecretStr

from nightlab.models.endpoint import Endpoint
from nightlab.models.pool import ModelPool
from nightlab.proposers import LlmProposer, Spending
from nightlab.records import Proposal
from nightlab.settings import SessionSettings
from tests.proposers.trainer_sample import sample_brief
from tests.scripted_endpoint import ScriptedEndpoint, answer_with_edit

GOOD = answer_with_edit("DEPTH = 4", "DEPTH = 5", title="Deeper", hypothesis="Depth helps.")


def asks(
    model: str,
    api_base: str | None = None,
    api_key: str | None = None,
    timeout_seconds: float = 20.0,
    **caps: float,
) -> LlmProposer:
    """A proposer with one model."""
    endpoint = Endpoint(
        model=model,
        api_base=api_base,
        api_key=SecretStr(api_key) if api_key is not None else None,
        timeout_seconds=timeout_seconds,
    )
    return LlmProposer(ModelPool((endpoint,), Spending(SessionSettings(**caps))))


def propose(
    endpoint: ScriptedEndpoint,
    *,
    model: str = "openai/scripted",
    api_key: str | None = None,
    timeout_seconds: float = 20.0,
) -> Proposal:
    proposer = asks(model, endpoint.api_base, api_key, timeout_seconds)
    return proposer.propose(sample_brief())
