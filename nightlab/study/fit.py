"""Preset, corpus and device: whether they go together, told before anything is fetched or built."""

import math
from collections.abc import Callable
from pathlib import Path

from nightlab.corpus import CorpusRequest, text_at_most
from nightlab.errors import UsageError
from nightlab.presets import PRESETS, Preset
from nightlab.sandbox.device import Device
from nightlab.sandbox.driver import MACHINE, may_have_gpu
from nightlab.settings import SessionSettings


def request_of(preset: Preset, corpus: str, root: Path | None = None) -> CorpusRequest:
    """What a preset asks of a corpus; a relative folder of it begins at ``root``."""
    return CorpusRequest(
        source=corpus,
        vocab_size=preset.vocab_size,
        megabytes=preset.corpus_megabytes,
        sequence_length=preset.sequence_length,
        evaluation_tokens=preset.evaluation_tokens,
        root=root,
    )


def check_fit(
    settings: SessionSettings,
    cache: Path,
    device: Device | None = None,
    machine: Path = MACHINE,
    root: Path | None = None,
) -> None:
    """Refuse a preset that the corpus or the device cannot serve.

    Args:
        settings: of the session, as they continue a study.
        cache: the cache's folder.
        device: the one to train on; None before torch was asked for it, which takes seconds.
        machine: the root of the files that tell of the machine's GPUs.
        root: where a relative folder of texts begins; None for the working directory.

    Raises:
        UsageError: one sentence on all that does not fit, with what would.
        CorpusError: there is no such corpus.
    """
    corpus = settings.corpus
    text_bytes = text_at_most(request_of(settings.sizes, corpus, root), cache)
    has_gpu = device.kind == "cuda" if device else _may_get_gpu(settings, machine)

    def has_text(preset: Preset) -> bool:
        return text_bytes is None or text_bytes >= request_of(preset, corpus, root).needed_bytes

    lacking, remedies = [], []
    if text_bytes is not None and not has_text(settings.sizes):
        needed = _megabytes(request_of(settings.sizes, corpus, root).needed_bytes, math.ceil)
        found = _megabytes(text_bytes, math.floor)
        lacking.append(f"needs {needed} MB of text and {corpus} has {found}")
        own = "put more text there or " if corpus.startswith("path:") else ""
        remedies.append(f"{own}take --corpus climbmix")
    if settings.sizes.needs_gpu and not has_gpu:
        is_asked = settings.device == "cpu"
        lacking.append(f"needs a GPU and {'the CPU is asked for' if is_asked else 'finds none'}")
        remedies.append("leave --device out" if is_asked else "run it on a machine with a GPU")
    if lacking:
        fitting = [
            name
            for name, preset in PRESETS.items()
            if has_text(preset) and (has_gpu or not preset.needs_gpu)
        ]
        instead = f", or take --preset {fitting[-1]}" if fitting else ""
        raise UsageError(
            f"The preset {settings.preset} {', and '.join(lacking)}: "
            f"{' and '.join(remedies)}{instead}."
        )


def _may_get_gpu(settings: SessionSettings, machine: Path) -> bool:
    return settings.device != "cpu" and may_have_gpu(machine)


def _megabytes(count: int, rounded: Callable[[float], int]) -> str:
    """Bytes as megabytes: what is needed rounded up, what there is down."""
    return f"{rounded(count / 10**4) / 100:.2f}"
