"""The form of a session on Prefect's page."""

import json
from typing import Any

from prefect.utilities.callables import parameter_schema

from flows.research import research
from nightlab.settings.groups import GROUPS


def by_length(value: Any) -> Any:
    """Plain data as PostgreSQL gives JSONB back: the shortest names first."""
    if isinstance(value, dict):
        return {name: by_length(value[name]) for name in sorted(value, key=lambda k: (len(k), k))}
    return [by_length(each) for each in value] if isinstance(value, list) else value


def test_the_form_of_a_session_is_in_groups_whatever_the_database_makes_of_it() -> None:
    schema = parameter_schema(research.fn).model_dump()
    stored = by_length(json.loads(json.dumps(schema, default=str)))
    fields = stored["definitions"]["Settings"]["properties"]
    assert list(fields)[:2] == ["seed", "hours"], "the order of the text is lost"
    shown = sorted(stored["properties"].items(), key=lambda each: each[1]["position"])
    assert [name for name, _ in shown] == ["study", "remote", "settings"]
    labels = [
        each["title"] for each in sorted(fields.values(), key=lambda each: int(each["position"]))
    ]
    assert labels[:2] == ["Size: preset", "Size: corpus"]
    groups = list(dict.fromkeys(label.partition(":")[0] for label in labels))
    assert groups == list(GROUPS)
    assert [label for label in labels if ": " not in label] == []
    assert all(each.get("description") for each in fields.values())
    assert all("default" in each for each in fields.values())
