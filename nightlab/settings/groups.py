"""The settings in groups: the order of Prefect's form, and the panels of ``--help``."""

from typing import Any

GROUPS: dict[str, tuple[str, ...]] = {
    "Size": ("preset", "corpus", "device", "budget_seconds", "budget_tokens"),
    "Limits": (
        "trials",
        "hours",
        "max_cost_usd",
        "max_model_tokens",
        "max_model_calls",
        "max_study_cost_usd",
        "max_study_model_tokens",
        "max_study_model_calls",
    ),
    "Ideas": ("proposer", "program", "prefetch", "command", "command_timeout_seconds"),
    "Models": (
        "model",
        "api_base",
        "api_key_secret",
        "reasoning_effort",
        "model_timeout_seconds",
        "wait_for_model_hours",
    ),
    "Keeping": (
        "keep_probability",
        "approve",
        "confirm_replicates",
        "prune",
        "kept_models",
        "kept_models_mb",
    ),
    "Training": ("seed", "startup_seconds", "startup_free_seconds", "preflight_seconds"),
    "Sandbox": ("require_rung", "trust_candidate"),
    "Waiting": ("push_hours", "wait_for_study_hours", "wait_for_prefect_hours"),
}
"""What people set most comes first."""
OTHERS = "Others"


def group_of(name: str) -> str:
    """The group of a setting."""
    return next((group for group, names in GROUPS.items() if name in names), OTHERS)


def place_of(name: str) -> int:
    """Where a setting stands among all; those of no group come last."""
    order = [each for names in GROUPS.values() for each in names]
    return order.index(name) if name in order else len(order)


def arranged(schema: dict[str, Any]) -> None:
    """Say in a schema where each setting stands on Prefect's form, and in which group.

    The page goes by ``position``: as text, PostgreSQL gives back the shortest names first. Of
    groups it knows nothing, so that a field's label names its own.
    """
    fields: dict[str, dict[str, Any]] = schema.get("properties", {})
    for place, name in enumerate(sorted(fields, key=place_of)):
        words = name.replace("_", " ")
        fields[name] |= {"position": place, "title": f"{group_of(name)}: {words}"}
