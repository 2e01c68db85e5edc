import json
import textwrap

import pytest

from nightlab.sandbox import Job, choose_sandbox
from nightlab.sandbox.device import Device
from nightlab.sandbox.library import prepare_library

CPU = Device(name="cpu", description="test", threads=2)


@pytest.fixture(scope="session")
def bubblewrap():
    """The real sandbox: where it cannot start these tests fail, they do not pass by."""
    return choose_sandbox(only="1")


@pytest.fixture(scope="session")
def unconfined():
    return choose_sandbox(trust_candidate=True)


@pytest.fixture(params=["bubblewrap", "unconfined"])
def sandbox(request):
    return request.getfixturevalue(request.param)


@pytest.fixture
def ask(bubblewrap):
    """Run source in the sandbox; what it assigns to ``answer`` comes back."""

    def run(source, *, sandbox=bubblewrap, memory_mb=0):
        code = textwrap.dedent(source) + "\nimport json; print('ANSWER' + json.dumps(answer))"
        job = Job(program="train", source=code, device=CPU, memory_mb=memory_mb)
        with sandbox.start(job) as process:
            assert process.wait(180) == 0, process.log
            return json.loads(process.log.rpartition("ANSWER")[2])

    return run


@pytest.fixture
def compiler():
    """For tests of what a compiler does: the README names it, and nothing else needs one."""
    if not prepare_library().has_compiler:
        pytest.skip("needs g++ in /usr/bin: install it to run this test")
