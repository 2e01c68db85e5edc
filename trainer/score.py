"""Answers the evaluator: losses of whole rows, or logits in single positions.

Run inside a fresh sandbox with a candidate's train.py and the weights that it trained.
The messages are in runtime.py's docstring. The candidate's code runs in this very process
and can change anything here, so whatever is answered is the candidate's word: the host
checks its shape and range, and asks for losses only to hold them against what other
processes answer where they cannot see the next token.

Until ``load`` comes, no code of the candidate runs: the host may start this program ahead.
"""

import importlib.util
import os
import socket
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import runtime
import torch
from torch.nn import functional

# What a checkpoint may have beside its tensors' own bytes. torch.save writes 1.3 KB, and 210 to 260
# bytes and the name for each (measured, torch 2.13).
CHECKPOINT_MARGIN_BYTES = 16 * 1024
TENSOR_MARGIN_BYTES = 512


class ContractError(Exception):
    """The candidate's code is not what train.py's contract asks; the host knows this name."""


def load_module(source: Path) -> ModuleType:
    """Import train.py from its path, as the module ``train``."""
    description = importlib.util.spec_from_file_location("train", source)
    if description is None or description.loader is None:
        raise ContractError(f"{source.name} cannot be imported")
    module = importlib.util.module_from_spec(description)
    sys.modules["train"] = module  # dataclasses and pickling look their module up
    description.loader.exec_module(module)
    return module


def load_weights(checkpoint: Path) -> dict[str, torch.Tensor]:
    """Read a checkpoint, which is to be tensors and no more. No code of the candidate's has run.

    Tensors are what a model's parameters and buffers are loaded from; a file may hold other
    objects, or other files, which nothing needs but code that has something to read there.
    """
    state = torch.load(checkpoint, map_location="cpu", weights_only=True)
    if not isinstance(state, dict) or not all(map(torch.is_tensor, state.values())):
        raise ContractError(
            "the saved weights are no dictionary of tensors: save model.state_dict()"
        )
    size, needed = checkpoint.stat().st_size, sum(tensor.nbytes for tensor in state.values())
    if size > needed + CHECKPOINT_MARGIN_BYTES + len(state) * TENSOR_MARGIN_BYTES:
        raise ContractError(
            f"the saved weights are a file of {size} bytes, and its tensors have {needed}: save "
            "with run.save(model), and nothing beside the weights"
        )
    return state


def load_model(
    module: ModuleType, spec: runtime.Spec, state: dict[str, torch.Tensor]
) -> torch.nn.Module:
    """Build the model and give it the weights, ready to answer."""
    if not callable(getattr(module, "build_model", None)):
        raise ContractError("train.py has no function build_model(spec)")
    model = module.build_model(spec)
    if not isinstance(model, torch.nn.Module):
        raise ContractError(f"build_model returned a {type(model).__name__}, no torch.nn.Module")
    try:
        model.load_state_dict(state)
    except RuntimeError as error:
        raise ContractError(
            f"the saved weights do not fit the model that build_model builds: {error}"
        ) from error
    return model.to(spec.device).eval()


def token_losses(model: torch.nn.Module, rows: torch.Tensor, vocab_size: int) -> torch.Tensor:
    """Cross-entropy of every next token.

    Args:
        model: gives logits [B, T, vocab_size] for tokens [B, T].
        rows: int64 [B, T + 1].
        vocab_size: what the last dimension of the logits must be.

    Returns:
        float32 [B, T], nats.
    """
    inputs, targets = rows[:, :-1].contiguous(), rows[:, 1:].contiguous()
    logits = forward(model, inputs, vocab_size)
    losses = functional.cross_entropy(
        logits.float().flatten(0, 1), targets.flatten(), reduction="none"
    )
    return losses.view(targets.shape)


def position_logits(
    model: torch.nn.Module, inputs: torch.Tensor, positions: torch.Tensor, vocab_size: int
) -> torch.Tensor:
    """Logits in one position of each row.

    Args:
        model: gives logits [B, T, vocab_size] for tokens [B, T].
        inputs: int64 [B, T].
        positions: int64 [B], each below T.
        vocab_size: what the last dimension of the logits must be.

    Returns:
        float32 [B, vocab_size].
    """
    logits = forward(model, inputs, vocab_size)
    return logits[torch.arange(len(inputs), device=logits.device), positions].float()


def forward(model: torch.nn.Module, inputs: torch.Tensor, vocab_size: int) -> torch.Tensor:
    """Run the model on tokens [B, T] and check the shape of what it gives."""
    with torch.no_grad():
        logits = model(inputs)
    wanted = (*inputs.shape, vocab_size)
    if not isinstance(logits, torch.Tensor) or tuple(logits.shape) != wanted:
        found = tuple(getattr(logits, "shape", ())) or type(logits).__name__
        raise ContractError(f"forward(tokens) must give logits {wanted}, it gave {found}")
    return logits


def answer(
    asked: dict[str, Any], data: bytes, model: torch.nn.Module, spec: runtime.Spec
) -> tuple[str, torch.Tensor]:
    """Answer one question: the answer's type, and its numbers."""
    with_targets = asked["type"] == "rows"
    shape = (asked["rows"], asked["length"] + with_targets)
    tokens = np.frombuffer(data, dtype="<u2").reshape(shape).astype(np.int64)
    rows = torch.from_numpy(tokens).to(spec.device)
    if with_targets:
        return "losses", token_losses(model, rows, spec.vocab_size)
    positions = torch.tensor(asked["positions"], device=spec.device)
    return "logits", position_logits(model, rows, positions, spec.vocab_size)


def main() -> None:
    """Answer until the host closes the socket."""
    frames = runtime.Frames(socket.socket(fileno=int(os.environ[runtime.SOCKET_VARIABLE])))
    frames.send({"type": "ready"})
    load, _ = frames.receive()
    spec = runtime.Spec(**load["spec"])
    state = load_weights(Path(load["checkpoint"]))
    model = load_model(load_module(Path(load["source"])), spec, state)
    num_params = sum(parameter.numel() for parameter in model.parameters())
    frames.send({"type": "loaded", "num_params": num_params})
    while True:
        try:
            asked, _ = frames.receive()
        except EOFError:
            return
        kind, numbers = answer(asked, frames.receive_data(), model, spec)
        frames.send({"type": kind, "rows": asked["rows"]})
        frames.send_data(numbers.cpu().numpy().astype("<f4").tobytes())


if __name__ == "__main__":
    main()
