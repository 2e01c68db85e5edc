"""What MLflow is to show of a trial: names, parameters, metrics, tags and artifacts.

Pure functions of the records, so that a live trial and a synchronised one look the same.
Numbers pass unchanged: what ``nightlab show --json`` prints is what MLflow holds. A number
that is missing, or not finite, is left out; it is never 0.
"""

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from nightlab.records import Evidence, Frozen, Replicate, TrialRecord, Verdict
from nightlab.redaction import redacted
from nightlab.shown import Markdown, fenced
from nightlab.tracking.curves import Measured, profile_rows
from nightlab.tracking.metrics import CANDIDATE_LOSS, INCUMBENT_LOSS, trial_metrics
from nightlab.tracking.origin import Dataset
from nightlab.tracking.pairs import Incumbent
from nightlab.tracking.replicates import ReplicateKey, describe_replicate
from nightlab.tracking.runs import FAILED, FINISHED, RunContent, milliseconds, storable
from nightlab.tracking.tags import (
    CANDIDATE,
    INCUMBENT,
    KIND_TAG,
    LONGEST_TAG,
    NAME_TAG,
    RECORD_TAG,
    STUDY_TAG,
    TRIAL_TAG,
    note_tag,
)

LONGEST_NAME = 120
LONGEST_KEY = 250
"""MLflow takes no longer name of a parameter."""
LONGEST_VALUE = 500
"""Of a parameter. MLflow would cut longer ones itself, and then show another value than is due."""
_NOT_OF_A_KEY = re.compile(r"\W")


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

    def tags(self) -> dict[str, str]:
        """Where it is measured: it may go on elsewhere, and MLflow keeps parameters for good."""
        known = {"host": self.host, "engine": self.engine_version, "sandbox": self.sandbox}
        return {key: storable(value)[:LONGEST_TAG] for key, value in known.items() if value}


@dataclass(frozen=True, slots=True, kw_only=True)
class TrialContent:
    """A finished trial's run and its child runs: both codes are trained on the same seeds."""

    number: int
    run: RunContent
    replicates: Mapping["ReplicateKey", RunContent]


def describe_trial(
    record: TrialRecord,
    evidence: Evidence,
    diff: str,
    source: str,
    incumbent: Incumbent | None = None,
    dataset: Dataset | None = None,
) -> TrialContent:
    """Say what MLflow is to show of a finished trial.

    The trial's training numbers are means over its replicates, peak memory the highest, so
    that a trial with three seeds compares with one that had a single one.

    Args:
        record: the trial's record.
        evidence: its proposal's exchanges, logs and curves.
        diff: unified diff of the candidate against its parent.
        source: the candidate's ``train.py``.
        incumbent: what it was measured against.
        dataset: the study's text.
    """
    incumbent, facts = incumbent or Incumbent(), TrialFacts.of(record)
    texts = _texts(record, evidence, diff, source)
    run = RunContent(
        status=FAILED if record.verdict in (Verdict.FAILED, Verdict.CRASH) else FINISHED,
        started_ms=milliseconds(record.started_at),
        ended_ms=milliseconds(record.finished_at),
        params=trial_params(record.number, facts),
        metrics=trial_metrics(record),
        tags={**_trial_tags(record, diff, incumbent), **facts.tags()},
        curve=_pair_rows(record, incumbent),
        clock=CANDIDATE_LOSS,
        texts=texts,
        dataset=dataset,
    )
    full = {(subject, each.seed): each for subject, each in _trained(evidence)}
    children = {
        ReplicateKey(str(each.seed), subject): describe_replicate(
            record.study,
            record.number,
            full.get((subject, each.seed), each),
            subject,
            record.started_at,
        )
        for subject, each in _trained(record)
    }
    return TrialContent(number=record.number, run=run, replicates=children)


def opening_tags(study: str, number: int, title: str = "") -> dict[str, str]:
    """Tags of a trial's run from its first moment: resuming and syncing find it by these."""
    tags = {KIND_TAG: "trial", STUDY_TAG: study, TRIAL_TAG: str(number)}
    line = _one_line(title)
    if line:
        tags["title"] = line[:LONGEST_TAG]
    return {**tags, NAME_TAG: f"{number:04d} {line}".strip()[:LONGEST_NAME]}


def trial_params(number: int, facts: TrialFacts) -> dict[str, str]:
    """Parameters of a trial's run: the candidate's knobs, and what it was measured with."""
    measured_with = {
        "trial": number,
        "proposer": facts.proposer,
        "model": facts.model,
        "corpus": facts.corpus,
        "device": facts.device,
        "budget_seconds": facts.budget_seconds,
        "budget_tokens": facts.budget_tokens,
        "preset": facts.preset,
        "seed": facts.settings.get("seed"),
    }
    values = {**{_key(name): value for name, value in facts.knobs.items()}, **measured_with}
    return {
        key: storable(str(value))[:LONGEST_VALUE]
        for key, value in values.items()
        if value not in (None, "")
    }


def _key(name: str) -> str:
    """The name of a constant as MLflow takes it; one that had to be changed ends in its digest."""
    key = _NOT_OF_A_KEY.sub("_", name)
    if key == name and len(key) <= LONGEST_KEY:
        return key
    digest = hashlib.sha256(name.encode("utf-8", "replace")).hexdigest()[:8]
    return f"{key[: LONGEST_KEY - 9]}-{digest}"


def _pair_rows(record: TrialRecord, incumbent: Incumbent) -> tuple[Measured, ...]:
    """The losses of the trial's first pair."""
    if not record.replicates:
        return ()
    first, budget = record.replicates[0], record.budget_seconds
    start_ms = milliseconds(first.training.started_at or record.started_at)
    own = profile_rows(CANDIDATE_LOSS, first, start_ms, budget)
    return own + profile_rows(INCUMBENT_LOSS, incumbent.twin, start_ms, budget)


def _trained(trial: TrialRecord | Evidence) -> list[tuple[str, Replicate]]:
    """All trainings of a trial, each with the code that it was of."""
    own = [(CANDIDATE, each) for each in trial.replicates]
    return own + [(INCUMBENT, each) for each in trial.incumbent_replicates]


def _trial_tags(record: TrialRecord, diff: str, incumbent: Incumbent) -> dict[str, str]:
    tags = {
        **opening_tags(record.study, record.number, record.title),
        "verdict": record.verdict.value,
        "reason": record.reason.value,
        "commit": record.commit,
        "parent": record.parent,
        **note_tag(_note(record, diff, incumbent)),
        "mlflow.source.git.commit": record.commit,
        RECORD_TAG: hashlib.sha256(_json(record).encode()).hexdigest(),
    }
    for name, promises in (
        ("sandbox_holds", record.confinement.features),
        ("sandbox_lacks", record.confinement.missing),
    ):
        tags[name] = "; ".join(promises)[:LONGEST_TAG] or "nothing known"
    told = {
        "approval": record.approval.value if record.approval is not None else None,
        "mode": record.mode.value if record.mode is not None else None,
        "prompt_version": record.prompt_version,
        "program_version": record.program_version,
        "parent_trial": incumbent.trial,
        "retry_of": record.retry_of,
        "rescue_of": record.rescue_of,
    }
    tags.update({name: str(value) for name, value in told.items() if value not in (None, "")})
    return tags


def _note(record: TrialRecord, diff: str, incumbent: Incumbent) -> Markdown:
    """The run's description: MLflow's pages show no file that ends in .patch."""
    on = "" if incumbent.trial is None else f"A change of trial {incumbent.trial}."
    blank_line = Markdown("\n\n")
    said = blank_line.joined((record.decision.sentence, record.hypothesis, on))
    change = fenced(diff, "diff", LONGEST_TAG - len(said) - len(blank_line))
    return blank_line.joined((said, change))


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
    return {name: storable(text) for name, text in texts.items() if text}


def _json(record: TrialRecord) -> str:
    values = redacted(record.model_dump(mode="json"))
    return storable(json.dumps(values, indent=2, ensure_ascii=False) + "\n")


def _one_line(text: str) -> str:
    return " ".join(storable(text).split())
