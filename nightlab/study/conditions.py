"""What a study is measured under, so that its scores compare: settings, device, engine."""

from collections.abc import Mapping, Sequence
from typing import Any

from nightlab import events
from nightlab.errors import UsageError
from nightlab.evaluation.allowance import allowance
from nightlab.judging.scores import find_baseline
from nightlab.records import SCHEMA_VERSION, Answering, InFlight, TrialRecord
from nightlab.sandbox.device import Device
from nightlab.sandbox.library import prepare_library
from nightlab.sandbox.toolchain import COMPILER, INSTALL_COMPILER, PYTHON_HEADER
from nightlab.settings import MEASURE, SessionSettings, recorded_settings, unread_settings
from nightlab.training.clock import clock_of, free_startup_seconds


def continue_settings(
    settings: SessionSettings, beginning: TrialRecord | InFlight | None
) -> SessionSettings:
    """Take over from the study's beginning what was not set, and refuse what differs.

    Raises:
        UsageError: a setting that the scores depend on differs from the study's.
    """
    given = settings.model_fields_set
    sizes = settings.sizes
    resolved = {
        "budget_seconds": sizes.budget_seconds,
        "startup_free_seconds": sizes.startup_free_seconds,
    }
    settings = settings.model_copy(update=resolved)
    if beginning is None:
        return settings
    begun = recorded_settings(beginning.settings)
    _say_unread(settings.study, beginning.settings)
    for name in MEASURE:
        was, now = getattr(begun, name), getattr(settings, name)
        if name in given and now is not None and now != was:
            begun_so, given_so = f"{name} {was!r}", repr(now)
            if name == "budget_tokens" and was is None:
                begun_so = f"a budget in seconds ({begun.budget_seconds:g})"
                given_so = f"one in tokens ({now:,})"
            raise UsageError(
                f"Study {settings.study!r} was begun with {begun_so} and is now given {given_so}, "
                "so scores could not be compared: leave the setting out, or name another study "
                "with --study."
            )
    # Every code of a study is trained on the same seeds, whatever session trains it.
    inherited = {name: getattr(begun, name) for name in (*MEASURE, "seed")}
    if "device" not in given:
        inherited["device"] = begun.device
    # What another version has set besides goes on into the records of this session.
    unknown = {**(begun.model_extra or {}), **(settings.model_extra or {})}
    own = settings.model_copy(update=inherited).model_dump(exclude_unset=True)
    return SessionSettings.model_validate({**unknown, **own}, extra="allow")


def _say_unread(study: str, recorded: Mapping[str, Any]) -> None:
    unread = unread_settings(recorded)
    if not unread:
        return
    events.publish(
        events.Notice(
            text=f"Study {study!r} was begun by another version of Nightlab, with settings that "
            f"this one does not know ({', '.join(unread)}): the study goes on without them."
        )
    )


def require_known_schema(study: str, documents: Sequence[TrialRecord | InFlight]) -> None:
    """Refuse to add to a study that a newer Nightlab has added to; reading it does no harm.

    Raises:
        UsageError: it has, with what mends that.
    """
    newest = max((each.schema_version for each in documents), default=SCHEMA_VERSION)
    if newest > SCHEMA_VERSION:
        raise UsageError(
            f"Study {study!r} has records of a newer Nightlab (schema {newest}; this one writes "
            f"{SCHEMA_VERSION}), so nothing is added to it here: update this clone. `nightlab show "
            f"{study}`, report, compare and export read it as it is."
        )


def say_kept_seed(given: SessionSettings, continued: SessionSettings) -> None:
    """Say that a study goes on with the seed that it was begun with, and not the one given."""
    if "seed" in given.model_fields_set and given.seed != continued.seed:
        events.publish(
            events.Notice(
                text=f"Study {given.study!r} keeps its seed, {continued.seed}: "
                "all its codes are trained on the same seeds."
            )
        )


def check_device(device: Device, baseline: TrialRecord | None) -> None:
    """Compare the device with the one that the study was begun on.

    Under a wall-clock budget another accelerator makes another score, so that is refused. Where
    tokens are counted, and between processors (they go by too many names), it is said.

    Raises:
        UsageError: the study was begun on another kind of accelerator.
    """
    if baseline is None or baseline.device == device.description:
        return
    both_cpu = device.name == "cpu" and baseline.settings.get("device") in ("auto", "cpu")
    if both_cpu or baseline.budget_tokens is not None:
        events.publish(
            events.Notice(
                text=f"The study was begun on {baseline.device!r} and continues on "
                f"{device.description!r}: scores of the two may not be comparable."
            )
        )
        return
    raise UsageError(
        f"Study {baseline.study!r} was begun on {baseline.device!r}, and this machine offers "
        f"{device.description!r}: under a time budget their scores cannot be compared, so name "
        "another study with --study, or run it where it was begun."
    )


def require_compiler(settings: SessionSettings) -> None:
    """Refuse a preset that compiles its model where candidates have no compiler.

    Raises:
        UsageError: there is none, with what mends it.
    """
    if settings.trust_candidate or not settings.sizes.compiles:
        return
    library = prepare_library(lambda sentence: events.publish(events.Notice(text=sentence)))
    if not library.has_compiler:
        raise UsageError(
            f"The preset {settings.preset!r} compiles its model, which needs {COMPILER} in "
            f"/usr/bin and Python's {PYTHON_HEADER}, and no working pair of them was found: "
            f"{INSTALL_COMPILER}, or take --preset quick."
        )


def free_startup(settings: SessionSettings, records: Sequence[TrialRecord], place: str) -> float:
    """Start-up that is outside a training's budget: what the baseline needed here, and a margin.

    Args:
        settings: of the session; what it gives counts while the baseline has not trained here.
        records: of the study.
        place: where trainings are made now.
    """
    baseline = find_baseline(records)
    starts = [
        each.training.startup_seconds
        for each in (baseline.replicates if baseline is not None else ())
        if each.place == place and each.training.startup_seconds is not None
    ]
    return free_startup_seconds(starts, settings.sizes.startup_free_seconds)


def allowed_answering(
    records: Sequence[TrialRecord], place: str, device: Device
) -> Answering | None:
    """What a candidate's code may take in an evaluation; None while the baseline has no score.

    Where the baseline was not evaluated here, what it took elsewhere counts: to wait for its
    turn here would let the first candidate take as long as it likes.

    Args:
        records: of the study.
        place: where evaluations are made now.
        device: on which.
    """
    baseline = find_baseline(records)
    scored = [
        (each.place, each.evaluation)
        for each in (baseline.replicates if baseline is not None else ())
        if each.evaluation is not None and each.val_bpb is not None
    ]
    here = [evaluation for where, evaluation in scored if where == place]
    return allowance(here or [evaluation for _, evaluation in scored], clock_of(device))


def say_unknown_peak(device: Device) -> None:
    """Say that a GPU's rate will not be known as a share of its peak."""
    if device.kind == "cuda" and device.peak_flops is None:
        events.publish(
            events.Notice(
                text=f"mfu_percent stays empty: the peak of {device.description} is not in "
                "Nightlab's table (nightlab/sandbox/peaks.py)."
            )
        )


def say_new_engine(version: str, records: tuple[TrialRecord, ...]) -> None:
    """Say that the study goes on under another engine than its last trial's."""
    if not records or records[-1].engine_version == version:
        return
    before = records[-1].engine_version
    events.publish(
        events.Notice(
            text=f"The study continues under engine {version}, after {before}: every record names "
            "the engine that measured it."
        )
    )


def say_new_rule(records: tuple[TrialRecord, ...]) -> None:
    """Say that a study's earlier trials were judged by the rule before pairs."""
    baseline = find_baseline(records)
    if baseline is None or any(each.place for each in baseline.replicates):
        return
    if any(record.decision.pairs for record in records):
        return
    events.publish(
        events.Notice(
            text=f"The trials of study {baseline.study!r} so far were judged by another rule, "
            "before pairs of one seed: they stand as they are, and pairs begin with this session."
        )
    )


def begun_with(
    records: tuple[TrialRecord, ...], marks: tuple[InFlight, ...]
) -> TrialRecord | InFlight | None:
    """What says how the study is measured: its baseline, the mark of one under way, or a try at it.

    The branch of a study was made for its first session's settings, whether or not it then trained.
    """
    baseline = find_baseline(records)
    if baseline is not None:
        return baseline
    tries: tuple[TrialRecord | InFlight, ...] = (*marks, *records)
    return next((each for each in tries if each.settings), None)
