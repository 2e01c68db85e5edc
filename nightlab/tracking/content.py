"""What MLflow is to show of a trial: names, parameters, metrics, tags and artifacts.

Pure functions of the records, so that a live trial and a synchronised one look the same.
Numbers pass unchanged: what ``nightlab show --json`` prints is what MLflow holds. A number
that is missing, or not finite, is left out; it is never 0.
"""

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, NamedTuple

from nightlab.judging.score_text import audit_sentence
from nightlab.records import (
    CurvePoint,
    Evidence,
    Frozen,
    Reason,
    Replicate,
    TrialRecord,
    Verdict,
)
from nightlab.redaction import redact, redacted
from nightlab.tracking.curves import LARGEST_STEP, Measured, curve_rows, present
from nightlab.tracking.metrics import replicate_values, trial_metrics

FINISHED, FAILED, KILLED = "FINISHED", "FAILED", "KILLED"

STUDY_TAG = "nightlab.study"
TRIAL_TAG = "nightlab.trial"
SEED_TAG = "nightlab.seed"
SUBJECT_TAG = "subject"
CANDIDATE, INCUMBENT = "candidate", "incumbent"
KIND_TAG = "nightlab.kind"
"""``trial``, ``replicate`` or ``report``."""
RECORD_TAG = "nightlab.record"
"""Digest of the record that a run shows in full; a run without it is not complete."""
NAME_TAG = "mlflow.runName"
NOTE_TAG = "mlflow.note.content"

LONGEST_NAME = 120
LONGEST_TAG = 4_000
MARKDOWN_FENCE = 3


class ReplicateKey(NamedTuple):
    """Which training of a trial is meant, as MLflow's tags have it."""

    seed: str
    subject: str = CANDIDATE


class TrialFacts(Frozen):
    """What is known of a trial when its training begins."""

    knobs: Mapping[str, Any]
    proposer: str
    model: str | None
    corpus: str
    corpus_fingerprint: str
    device: str
    sandbox: str
    """Rung and name, such as ``1 bubblewrap``."""
    budget_seconds: float
    budget_tokens: int | None = None
    """None where seconds are counted."""
    engine_version: str
    host: str
    preset: str
    settings: Mapping[str, Any]
    """The session's settings, flat."""

    @classmethod
    def of(cls, record: TrialRecord) -> "TrialFacts":
        """The same facts, from a finished trial."""
        return cls(
            knobs=record.knobs,
            proposer=record.proposer,
            model=record.model,
            corpus=record.corpus,
            corpus_fingerprint=record.corpus_fingerprint,
            device=record.device,
            sandbox=record.confinement.label,
            budget_seconds=record.budget_seconds,
            budget_tokens=record.budget_tokens,
            engine_version=record.engine_version,
            host=record.host,
            preset=str(record.settings.get("preset", "")),
            settings=record.settings,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class RunContent:
    """One run as MLflow is to show it."""

    status: str
    started_ms: int
    ended_ms: int
    final_step: int = 0
    """The step that ``metrics`` belong to: after the curve, so that MLflow shows them last."""
    params: Mapping[str, str] = field(default_factory=dict)
    metrics: Mapping[str, float] = field(default_factory=dict)
    tags: Mapping[str, str] = field(default_factory=dict)
    curve: tuple[Measured, ...] = ()
    texts: Mapping[str, str] = field(default_factory=dict)
    """Artifacts by file name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrialContent:
    """A finished trial's run and its child runs: both codes are trained on the same seeds."""

    number: int
    run: RunContent
    replicates: Mapping["ReplicateKey", RunContent]


def describe_trial(record: TrialRecord, evidence: Evidence, diff: str, source: str) -> TrialContent:
    """Say what MLflow is to show of a finished trial.

    The trial's training numbers are means over its replicates, peak memory the highest, so
    that a trial with three seeds compares with one that had a single one.

    Args:
        record: the trial's record.
        evidence: its proposal's exchanges, logs and curves.
        diff: unified diff of the candidate against its parent.
        source: the candidate's ``train.py``.
    """
    started_ms, ended_ms = milliseconds(record.started_at), milliseconds(record.finished_at)
    run = RunContent(
        status=FAILED if record.verdict is Verdict.FAILED else FINISHED,
        started_ms=started_ms,
        ended_ms=ended_ms,
        params=trial_params(TrialFacts.of(record)),
        metrics=trial_metrics(record),
        tags=_trial_tags(record, diff),
        texts=_texts(record, evidence, diff, source),
    )
    full = {
        ReplicateKey(str(each.seed), subject): each.training.curve
        for subject, each in _trained(evidence)
    }
    children = {}
    for subject, replicate in _trained(record):
        key = ReplicateKey(str(replicate.seed), subject)
        curve = full.get(key, ())
        children[key] = _describe_replicate(record, replicate, subject, curve, started_ms, ended_ms)
    return TrialContent(number=record.number, run=run, replicates=children)


def opening_tags(study: str, number: int, title: str = "") -> dict[str, str]:
    """Tags of a trial's run from its first moment: resuming and syncing find it by these."""
    name = f"{number:04d} {_one_line(title)}".strip()
    tags = {KIND_TAG: "trial", STUDY_TAG: study, TRIAL_TAG: str(number)}
    return {**tags, NAME_TAG: name[:LONGEST_NAME], "mlflow.user": "nightlab"}


def replicate_tags(study: str, number: int, seed: int, subject: str = CANDIDATE) -> dict[str, str]:
    """Tags by which a replicate's run is found; its parent's is added by the store."""
    return {
        SUBJECT_TAG: subject,
        KIND_TAG: "replicate",
        STUDY_TAG: study,
        TRIAL_TAG: str(number),
        SEED_TAG: str(seed),
        NAME_TAG: f"{number:04d} {'' if subject == CANDIDATE else f'{subject} '}seed {seed}",
        "mlflow.user": "nightlab",
    }


def trial_params(facts: TrialFacts) -> dict[str, str]:
    """Parameters of a trial's run: the candidate's knobs, and what it was measured with."""
    measured_with = {
        "proposer": facts.proposer,
        "model": facts.model,
        "corpus": facts.corpus,
        "corpus_fingerprint": facts.corpus_fingerprint,
        "device": facts.device,
        "sandbox": facts.sandbox,
        "budget_seconds": facts.budget_seconds,
        "budget_tokens": facts.budget_tokens,
        "preset": facts.preset,
        "seed": facts.settings.get("seed"),
        "engine_version": facts.engine_version,
        "host": facts.host,
    }
    values = {**facts.knobs, **measured_with}
    return {key: _storable(str(value)) for key, value in values.items() if value not in (None, "")}


def milliseconds(moment: datetime) -> int:
    """Milliseconds since 1970, as MLflow counts."""
    return int(moment.timestamp() * 1000)


def _trained(trial: TrialRecord | Evidence) -> list[tuple[str, Replicate]]:
    """All trainings of a trial, each with the code that it was of."""
    own = [(CANDIDATE, each) for each in trial.replicates]
    return own + [(INCUMBENT, each) for each in trial.incumbent_replicates]


def _describe_replicate(
    record: TrialRecord,
    replicate: Replicate,
    subject: str,
    curve: tuple[CurvePoint, ...],
    started_ms: int,
    ended_ms: int,
) -> RunContent:
    tags = replicate_tags(record.study, record.number, replicate.seed, subject)
    tags["verdict"] = record.verdict.value
    if replicate.place:
        tags["place"] = _storable(replicate.place)[:LONGEST_TAG]
    if replicate.failure is not None:
        tags["reason"] = replicate.failure.value
    said = [replicate.training.message]
    if replicate.evaluation is not None:
        said += [replicate.evaluation.message, audit_sentence(replicate.evaluation)]
    message = " ".join(text for text in said if text)
    if message:
        tags[NOTE_TAG] = _storable(message)[:LONGEST_TAG]
    rows = curve_rows(curve, started_ms)
    last = max((row.step for row in rows), default=0)
    crashed = replicate.failure not in (None, Reason.PRUNED)
    return RunContent(
        status=FAILED if crashed else FINISHED,
        started_ms=started_ms,
        ended_ms=ended_ms,
        final_step=max(last, min(replicate.training.num_steps or 0, LARGEST_STEP)),
        params={"seed": str(replicate.seed)},
        metrics=present(replicate_values(replicate)),
        tags=tags,
        curve=rows,
    )


def _trial_tags(record: TrialRecord, diff: str) -> dict[str, str]:
    tags = {
        **opening_tags(record.study, record.number, record.title),
        "verdict": record.verdict.value,
        "reason": record.reason.value,
        "title": _storable(record.title)[:LONGEST_TAG],
        "commit": record.commit,
        "parent": record.parent,
        NOTE_TAG: _note(record, diff),
        "mlflow.source.git.commit": record.commit,
        RECORD_TAG: hashlib.sha256(_json(record).encode()).hexdigest(),
    }
    for name, promises in (
        ("sandbox_holds", record.confinement.features),
        ("sandbox_lacks", record.confinement.missing),
    ):
        tags[name] = "; ".join(promises)[:LONGEST_TAG] or "nothing known"
    told = {
        "mode": record.mode.value if record.mode is not None else None,
        "prompt_version": record.prompt_version,
        "program_version": record.program_version,
        "retry_of": record.retry_of,
        "rescue_of": record.rescue_of,
    }
    tags.update({name: str(value) for name, value in told.items() if value not in (None, "")})
    return tags


def _note(record: TrialRecord, diff: str) -> str:
    """The run's description, in Markdown: MLflow's pages show no file that ends in .patch."""
    said = [_storable(record.decision.sentence), _storable(record.hypothesis)]
    note = "\n\n".join(text for text in said if text)[:LONGEST_TAG]
    shown = _storable(diff)[: LONGEST_TAG - len(note)].rstrip()
    if not shown:
        return note
    fence = max((run.group() for run in re.finditer("`+", shown)), key=len, default="``") + "`"
    fence = fence if len(fence) >= MARKDOWN_FENCE else "`" * MARKDOWN_FENCE
    return f"{note}\n\n{fence}diff\n{shown}\n{fence}"


def _texts(record: TrialRecord, evidence: Evidence, diff: str, source: str) -> dict[str, str]:
    texts = {
        "record.json": _json(record),
        "train.py": source,
        "diff.patch": diff,
        "program.md": evidence.program,
    }
    for index, exchange in enumerate(evidence.proposal.exchanges, start=1):
        texts[f"prompt-{index}.md"] = exchange.prompt
        texts[f"answer-{index}.md"] = exchange.answer
    for subject, replicate in _trained(evidence):
        log = replicate.training.log
        if replicate.evaluation is not None and replicate.evaluation.log:
            log = f"{log}\n--- evaluation ---\n{replicate.evaluation.log}"
        whose = "" if subject == CANDIDATE else f"{subject}-"
        texts[f"log-{whose}{replicate.seed}.txt"] = log
    return {name: _storable(text) for name, text in texts.items() if text}


def _json(record: TrialRecord) -> str:
    values = redacted(record.model_dump(mode="json"))
    return _storable(json.dumps(values, indent=2, ensure_ascii=False) + "\n")


def _one_line(text: str) -> str:
    return " ".join(_storable(text).split())


def _storable(text: str) -> str:
    """The text as a database takes it, and without keys.

    Models and candidates do send halves of surrogate pairs and NULs.
    """
    whole = redact(text).encode("utf-8", "replace").decode("utf-8")
    return whole.replace("\0", "\N{REPLACEMENT CHARACTER}")
