"""What all records have in common."""

from datetime import UTC, datetime
from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict, model_validator

SCHEMA_VERSION = 1


class Frozen(BaseModel):
    """Base of all records: immutable, and strict about unknown fields."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    retired: ClassVar[frozenset[str]] = frozenset()
    """Fields of earlier versions, which records in git still have: they are read past."""

    @model_validator(mode="before")
    @classmethod
    def _read_past_retired(cls, values: Any) -> Any:
        if isinstance(values, dict) and cls.retired:
            return {name: value for name, value in values.items() if name not in cls.retired}
        return values


def utc_now() -> datetime:
    """Return the present moment, aware, in UTC."""
    return datetime.now(UTC)
