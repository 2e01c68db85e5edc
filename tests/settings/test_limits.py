"""The edges of all settings and records that have some, written out and not taken from the code."""

import re

import annotated_types
import pytest
from pydantic import BaseModel, ValidationError

import nightlab.records
from nightlab.presets import Preset
from nightlab.settings import LONGEST_SECONDS, LONGEST_STUDY_NAME, SessionSettings

LIMITS: tuple[tuple[str, str, object, object], ...] = (
    ("trials", "ge", 0, -1),
    ("hours", "gt", 0.001, 0),
    ("max_cost_usd", "ge", 0, -0.01),
    ("max_model_tokens", "ge", 0, -1),
    ("max_model_calls", "ge", 0, -1),
    ("max_study_cost_usd", "ge", 0, -0.01),
    ("max_study_model_tokens", "ge", 0, -1),
    ("max_study_model_calls", "ge", 0, -1),
    ("wait_for_prefect_hours", "ge", 0, -0.01),
    ("wait_for_prefect_hours", "le", 277.7, 277.8),
    ("wait_for_model_hours", "ge", 0, -0.01),
    ("wait_for_model_hours", "le", 277.7, 277.8),
    ("wait_for_study_hours", "ge", 0, -0.01),
    ("wait_for_study_hours", "le", 277.7, 277.8),
    ("push_hours", "ge", 0, -0.01),
    ("push_hours", "le", 277.7, 277.8),
    ("budget_seconds", "gt", 0.001, 0),
    ("budget_seconds", "le", 1_000_000, 1_000_001),
    ("budget_tokens", "gt", 1, 0),
    ("startup_seconds", "gt", 0.001, 0),
    ("startup_seconds", "le", 1_000_000, 1_000_001),
    ("startup_free_seconds", "ge", 0, -0.001),
    ("startup_free_seconds", "le", 1_000_000, 1_000_001),
    ("preflight_seconds", "ge", 0, -0.001),
    ("preflight_seconds", "le", 1_000_000, 1_000_001),
    ("model_timeout_seconds", "gt", 0.001, 0),
    ("model_timeout_seconds", "le", 1_000_000, 1_000_001),
    ("command_timeout_seconds", "gt", 0.001, 0),
    ("command_timeout_seconds", "le", 1_000_000, 1_000_001),
    ("keep_probability", "gt", 0.501, 0.5),
    ("keep_probability", "lt", 0.999, 1),
    ("confirm_replicates", "ge", 0, -1),
    ("kept_models_mb", "ge", 0, -1),
    ("seed", "ge", 0, -1),
    ("seed", "lt", 2_147_483_647, 2_147_483_648),
)
"""Field, kind of limit, the value nearest to it that is accepted, and one that is not."""

WORDS = {
    "ge": "greater than or equal to",
    "gt": "greater than ",
    "le": "less than or equal to",
    "lt": "less than ",
}


@pytest.mark.parametrize(("name", "kind", "accepted", "refused"), LIMITS)
def test_a_limit_holds_at_its_edge(name: str, kind: str, accepted: object, refused: object) -> None:
    settings = SessionSettings.model_validate({name: accepted})
    assert getattr(settings, name) == accepted
    with pytest.raises(ValidationError, match=f"{name}\n.*{WORDS[kind]}"):
        SessionSettings.model_validate({name: refused})
    if isinstance(accepted, float):
        for value in (float("nan"), float("inf")):
            with pytest.raises(ValidationError, match=r"finite|greater|less"):
                SessionSettings.model_validate({name: value})


def limits_of(model: type[BaseModel]) -> set[tuple[str, str]]:
    """Fields of a model that have limits, and which."""
    kinds = {
        "ge": annotated_types.Ge,
        "gt": annotated_types.Gt,
        "le": annotated_types.Le,
        "lt": annotated_types.Lt,
    }
    return {
        (name, word)
        for name, field in model.model_fields.items()
        for word, kind in kinds.items()
        if any(isinstance(each, kind) for each in field.metadata)
    }


def test_no_limit_is_missing_here() -> None:
    assert limits_of(SessionSettings) == {(name, kind) for name, kind, *_ in LIMITS}


def test_what_was_measured_is_recorded_whatever_it_is() -> None:
    """Records have no limits: one that was written is never refused for its value."""
    models = [
        each
        for each in vars(nightlab.records).values()
        if isinstance(each, type) and issubclass(each, BaseModel)
    ]
    assert len(models) > 15
    assert {model.__name__: limits_of(model) for model in (*models, Preset)} == {
        model.__name__: set() for model in (*models, Preset)
    }


NUMBERS = re.compile("int|float")


def test_a_number_without_a_limit_is_no_setting() -> None:
    numbers = {
        name
        for name, field in SessionSettings.model_fields.items()
        if NUMBERS.search(str(field.annotation)) and "Literal" not in str(field.annotation)
    }
    assert numbers == {name for name, *_ in LIMITS}


def test_names_and_times_end_where_they_are_said_to() -> None:
    assert (LONGEST_STUDY_NAME, LONGEST_SECONDS) == (100, 1_000_000)
    assert SessionSettings(study="a" * 100).study == "a" * 100
    with pytest.raises(ValidationError, match="100 at most"):
        SessionSettings(study="a" * 101)


CHOICES: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("preset", ("quick", "laptop", "h100")),
    ("proposer", ("auto", "knobs", "llm", "hybrid", "command")),
    ("require_rung", ("1", "1n", "2")),
    ("kept_models", ("all", "champion", "none")),
    ("reasoning_effort", ("none", "minimal", "low", "medium", "high", "xhigh")),
)


@pytest.mark.parametrize(("name", "choices"), CHOICES)
def test_a_choice_is_one_of_these(name: str, choices: tuple[str, ...]) -> None:
    for choice in choices:
        assert getattr(SessionSettings.model_validate({name: choice}), name) == choice
        with pytest.raises(ValidationError, match=name):
            SessionSettings.model_validate({name: choice.upper() + "x"})


def test_a_session_that_nothing_was_set_for() -> None:
    """What a default is, is a promise: changed on purpose here."""
    given = SessionSettings().model_dump()
    expected: dict[str, object] = {
        "study": "first-light",
        "remote": None,
        "preset": "quick",
        "trials": None,
        "hours": None,
        "max_cost_usd": None,
        "max_model_tokens": None,
        "max_model_calls": None,
        "max_study_cost_usd": None,
        "max_study_model_tokens": None,
        "max_study_model_calls": None,
        "wait_for_prefect_hours": 1.0,
        "wait_for_model_hours": None,
        "model_timeout_seconds": 600,
        "reasoning_effort": None,
        "budget_seconds": None,
        "budget_tokens": None,
        "startup_seconds": None,
        "startup_free_seconds": None,
        "preflight_seconds": None,
        "proposer": "auto",
        "model": None,
        "api_base": None,
        "command": None,
        "command_timeout_seconds": 600,
        "prefetch": True,
        "prune": True,
        "keep_probability": 0.9,
        "confirm_replicates": 3,
        "corpus": "embedded",
        "device": "auto",
        "seed": 0,
        "require_rung": "2",
        "trust_candidate": False,
        "kept_models": "all",
        "kept_models_mb": 8192,
        "program": "program.md",
    }
    assert {name: given[name] for name in expected} == expected


@pytest.mark.parametrize(
    "name", ["study", "seed", "budget_seconds", "corpus", "trust_candidate", "preset"]
)
def test_what_was_set_stays_as_it_was(name: str) -> None:
    with pytest.raises(ValidationError, match="frozen"):
        setattr(SessionSettings(), name, SessionSettings.model_fields[name].default)
