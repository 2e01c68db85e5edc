"""Continues a text for the host, inside a sandbox: a kept model is built by a candidate's code.

The messages are in runtime.py's docstring. What is answered is the candidate's word.
"""

import os
import socket
from pathlib import Path

import runtime
import weights
from generate import continue_tokens
from score import load_module


def main() -> None:
    """Answer one question."""
    frames = runtime.Frames(socket.socket(fileno=int(os.environ[runtime.SOCKET_VARIABLE])))
    asked, _ = frames.receive()
    spec = runtime.Spec(**asked["spec"])
    model = load_module(Path(asked["source"])).build_model(spec)
    model.load_state_dict(weights.read(Path(asked["weights"])))
    tokens = continue_tokens(
        model.to(spec.device).eval(),
        asked["tokens"],
        sequence_length=spec.sequence_length,
        device=spec.device,
        length=asked["length"],
        temperature=asked["temperature"],
        seed=asked["seed"],
        end=asked["end"],
    )
    frames.send({"type": "sampled", "tokens": tokens})


if __name__ == "__main__":
    main()
