"""The rungs under attack, and what an attack may want."""

from collections.abc import Callable, Iterator

import pytest

from nightlab.errors import SandboxUnavailable
from nightlab.sandbox import Sandbox, choose_sandbox
from tests.adversarial.scene import Scene

RUNGS = ("1", "2")


@pytest.fixture(scope="session")
def rung() -> Callable[[str], Sandbox]:
    """The sandbox of a rung; a test is skipped where this machine cannot have it."""
    chosen: dict[str, Sandbox | SandboxUnavailable] = {}

    def choose(name: str) -> Sandbox:
        if name not in chosen:
            try:
                chosen[name] = choose_sandbox(only=name)
            except SandboxUnavailable as refusal:
                chosen[name] = refusal
        found = chosen[name]
        if isinstance(found, SandboxUnavailable):
            pytest.skip(f"rung {name} does not start on this machine: {found}")
        return found

    return choose


@pytest.fixture(scope="session")
def unconfined() -> Sandbox:
    """No sandbox at all: where attacks must be seen to succeed."""
    return choose_sandbox(trust_candidate=True)


@pytest.fixture
def scene() -> Iterator[Scene]:
    """A machine with something to win."""
    with Scene() as laid_out:
        yield laid_out
