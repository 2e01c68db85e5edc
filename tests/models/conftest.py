from collections.abc import Iterator

import pytest

from nightlab import events
from nightlab.models.providers import import_litellm


@pytest.fixture
def no_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("OPENAI_API_KEY", "OPENAI_ADMIN_KEY", "OPENAI_BASE_URL", "ANTHROPIC_API_KEY"):
        monkeypatch.delenv(name, raising=False)
    import_litellm()  # It takes seconds, and no test's time-out is meant to include them.


@pytest.fixture
def notices() -> Iterator[list[str]]:
    """What people are told meanwhile."""
    told: list[str] = []

    def listen(event: events.Event) -> None:
        if isinstance(event, events.Notice):
            told.append(event.text)

    with events.listening(listen):
        yield told
