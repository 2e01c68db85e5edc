"""Records as bytes, and evidence as a folder of readable files; and back.

Evidence is a tree, so that a person reads it with ``git show`` and a browser:

    manifest.json          schema version, and the order of what follows
    proposal.json          the proposal, without the texts of its exchanges
    program.md             the person's brief as the proposer was told it
    prompt-N.md answer-N.md  the exchanges with the model, from 1
    replicate-SEED.json    training with its curve, evaluation
    replicate-SEED.log     what the candidate printed
    incumbent-SEED.…       the same of the incumbent, where it was trained again to compare
"""

import json
import math
from collections.abc import Mapping
from typing import TypeVar

from pydantic import BaseModel, ValidationError

from nightlab.errors import LedgerError
from nightlab.records import (
    SCHEMA_VERSION,
    Evidence,
    Exchange,
    Frozen,
    Proposal,
    Replicate,
    TrialRecord,
)
from nightlab.redaction import redact, redacted

Model = TypeVar("Model", bound=BaseModel)


class _Manifest(Frozen):
    """What stands in an evidence tree, in order."""

    schema_version: int = SCHEMA_VERSION
    exchanges: int
    replicates: tuple[str, ...]
    """Names of the replicates' files, without their endings."""
    incumbent_replicates: tuple[str, ...] = ()
    """Likewise of the incumbent's."""


def to_json(model: BaseModel) -> bytes:
    """Return a model as indented JSON, for git.

    What JSON cannot hold is made what it means: a number that is not finite is missing,
    and half of a surrogate pair (models do answer with some) is a question mark. Keys are taken
    out: what stands in git is pushed and shown.
    """
    cleaned = _finite(redacted(model.model_dump(mode="json")))
    text = json.dumps(cleaned, indent=2, ensure_ascii=False, allow_nan=False)
    return text.encode("utf-8", "replace") + b"\n"


def _finite(value: object) -> object:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_finite(item) for item in value]
    return value


def from_json(model: type[Model], content: bytes, where: str) -> Model:
    """Read a model from JSON; fields of other versions are kept.

    Args:
        model: the class to read.
        content: the JSON.
        where: the ref it stood in, for the error.

    Raises:
        LedgerError: it is not what it should be, or what a newer Nightlab made of that.
    """
    try:
        values = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise LedgerError(
            f"{where} needs to hold JSON and does not ({error}): it was not written by "
            f"Nightlab; look at it with `git show {where}`."
        ) from error
    version = values.get("schema_version", 1) if isinstance(values, dict) else 1
    try:
        return model.model_validate(values, extra="allow")
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(str(part) for part in first["loc"]) or model.__name__
        if not isinstance(version, int) or version > SCHEMA_VERSION:
            raise LedgerError(
                f"{where} was written by a newer Nightlab (schema {version}; this one writes "
                f"{SCHEMA_VERSION}), and its {field} is not understood: update this clone."
            ) from error
        raise LedgerError(
            f"{where} is not a readable {model.__name__}: {field}: {first['msg']}; "
            f"look at it with `git show {where}`."
        ) from error


def message_of(tag: bytes) -> bytes:
    """Return the message of an annotated tag object."""
    return tag.partition(b"\n\n")[2]


def without_bulk(record: TrialRecord) -> TrialRecord:
    """Return the record without logs and curves, which stand in the evidence."""
    return record.model_copy(
        update={
            "replicates": tuple(map(light, record.replicates)),
            "incumbent_replicates": tuple(map(light, record.incumbent_replicates)),
        }
    )


def light(replicate: Replicate) -> Replicate:
    """Return a replicate without its logs and its curve."""
    training = replicate.training.model_copy(update={"curve": (), "log": ""})
    evaluation = replicate.evaluation
    if evaluation is not None:
        evaluation = evaluation.model_copy(update={"log": ""})
    return replicate.model_copy(update={"training": training, "evaluation": evaluation})


def evidence_files(evidence: Evidence) -> dict[str, bytes]:
    """Return the files of an evidence tree, by name."""
    files: dict[str, bytes] = {}
    exchanges = evidence.proposal.exchanges
    files["proposal.json"] = to_json(evidence.proposal.model_copy(update={"exchanges": ()}))
    for number, exchange in enumerate(exchanges, start=1):
        files[f"prompt-{number}.md"] = _text(exchange.prompt)
        files[f"answer-{number}.md"] = _text(exchange.answer)
    if evidence.program:
        files["program.md"] = _text(evidence.program)
    names = _add_replicates(files, "replicate", evidence.replicates)
    incumbents = _add_replicates(files, "incumbent", evidence.incumbent_replicates)
    manifest = _Manifest(
        exchanges=len(exchanges), replicates=names, incumbent_replicates=incumbents
    )
    files["manifest.json"] = to_json(manifest)
    return files


def _text(text: str) -> bytes:
    return redact(text).encode("utf-8", "replace")


def _add_replicates(
    files: dict[str, bytes], kind: str, replicates: tuple[Replicate, ...]
) -> tuple[str, ...]:
    names: list[str] = []
    for replicate in replicates:
        name = f"{kind}-{replicate.seed}"
        repeats = sum(known == name or known.startswith(f"{name}.again") for known in names)
        name += f".again{repeats}" if repeats else ""
        names.append(name)
        training = replicate.training
        without_log = training.model_copy(update={"log": ""})
        files[f"{name}.json"] = to_json(replicate.model_copy(update={"training": without_log}))
        files[f"{name}.log"] = _text(training.log)
    return tuple(names)


def read_evidence(files: Mapping[str, bytes], where: str) -> Evidence:
    """Build the evidence from its files.

    Raises:
        LedgerError: a file is missing or unreadable.
    """

    def file(name: str) -> bytes:
        if name not in files:
            raise LedgerError(
                f"The evidence at {where} needs a file {name} and has {sorted(files)}: "
                "it was not written by Nightlab."
            )
        return files[name]

    manifest = from_json(_Manifest, file("manifest.json"), f"{where}:manifest.json")
    proposal = from_json(Proposal, file("proposal.json"), f"{where}:proposal.json")
    exchanges = tuple(
        Exchange(
            prompt=file(f"prompt-{number}.md").decode(errors="replace"),
            answer=file(f"answer-{number}.md").decode(errors="replace"),
        )
        for number in range(1, manifest.exchanges + 1)
    )

    def replicate(name: str) -> Replicate:
        found = from_json(Replicate, file(f"{name}.json"), f"{where}:{name}.json")
        log = file(f"{name}.log").decode(errors="replace")
        return found.model_copy(update={"training": found.training.model_copy(update={"log": log})})

    return Evidence(
        proposal=proposal.model_copy(update={"exchanges": exchanges}),
        replicates=tuple(map(replicate, manifest.replicates)),
        incumbent_replicates=tuple(map(replicate, manifest.incumbent_replicates)),
        program=files.get("program.md", b"").decode(errors="replace"),
    )
