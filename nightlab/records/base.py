"""What all records have in common."""

from datetime import UTC, datetime
from typing import Any, ClassVar

from pydantic import (
    BaseModel,
    ConfigDict,
    SerializerFunctionWrapHandler,
    model_serializer,
    model_validator,
)

SCHEMA_VERSION = 1


class Frozen(BaseModel):
    """Base of all records: immutable, and strict about unknown fields.

    Where a reader allows them, as for documents of other versions, they are kept and written again.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    retired: ClassVar[frozenset[str]] = frozenset()
    """Fields of earlier versions, which records in git still have: they are read past."""

    @model_validator(mode="before")
    @classmethod
    def _read_past_retired(cls, values: Any) -> Any:
        if isinstance(values, dict) and cls.retired:
            return {name: value for name, value in values.items() if name not in cls.retired}
        return values

    @model_serializer(mode="wrap")
    def _with_unknown(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        values: dict[str, Any] = handler(self)
        return {**values, **self.model_extra} if self.model_extra else values


def utc_now() -> datetime:
    """Return the present moment, aware, in UTC."""
    return datetime.now(UTC)
