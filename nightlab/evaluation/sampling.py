"""The host's side of a model that continues a text: candidate code builds it, in a sandbox."""

from pathlib import Path

from nightlab.errors import EvaluationError
from nightlab.records import Frozen, KeptModel
from nightlab.sandbox import Job, Sandbox
from nightlab.sandbox.device import Device
from nightlab.sandbox.errand import run_errand
from nightlab.sandbox.failure import Failure
from nightlab.sandbox.process import SandboxedProcess
from nightlab.sandbox.protocol import Sampled

SAMPLE_SECONDS = 900.0


class Draw(Frozen):
    """How a text is to be continued."""

    length: int = 100
    """Tokens, at most."""
    temperature: float = 0.8
    """0 always takes the likeliest token."""
    seed: int = 0


def sample(
    source: str,
    weights: Path,
    model: KeptModel,
    tokens: list[int],
    draw: Draw,
    sandbox: Sandbox,
    device: Device,
) -> list[int]:
    """Have a kept model write on after some tokens.

    Args:
        source: the text of its train.py.
        weights: its safetensors.
        model: what else is known of it.
        tokens: what it is given; it sees the last ``sequence_length`` of them.
        draw: how to continue.
        sandbox: where it runs.
        device: what it computes on.

    Raises:
        EvaluationError: the model does not answer, or with what are no tokens.
        SandboxError: the sandbox broke.
    """
    job = Job(
        program="sample", source=source, device=device, compiles=False, weights=weights
    )  # fmt: skip
    spec = {"vocab_size": model.vocab_size, "sequence_length": model.sequence_length}
    given = {
        "type": "sample",
        "spec": {**spec, "device": device.kind},
        "tokens": tokens[-model.sequence_length :],
        "end": model.vocab_size - 1,
        **draw.model_dump(),
    }

    def take(_: SandboxedProcess, answer: Sampled) -> list[int]:
        return list(answer.tokens)

    answered = run_errand(
        sandbox,
        job,
        lambda layout: {**given, "source": layout.source, "weights": layout.saved_weights},
        Sampled,
        take,
        timeout_seconds=SAMPLE_SECONDS,
    )
    if isinstance(answered, Failure):
        raise EvaluationError(
            f"The model of trial {model.trial} does not continue a text: {answered.message}"
        )
    if len(answered) > draw.length or any(token >= model.vocab_size - 1 for token in answered):
        raise EvaluationError(f"What the model of trial {model.trial} answers are no tokens.")
    return answered
