"""Ways to train longer than an honest candidate: none of them gets more work done.

Work is counted in units that a process says are done, on its output; a unit is the same arithmetic
everywhere, and computes without Python's lock, so that threads would gain by it.
"""

import os
from statistics import median

import pytest

from nightlab.errors import MachineBusy, SandboxUnavailable
from nightlab.records import Reason
from nightlab.sandbox.bubblewrap import BubblewrapSandbox
from nightlab.sandbox.cgroup import Cgroups
from nightlab.sandbox.device import Device
from nightlab.sandbox.restricted import LandlockSandbox
from nightlab.sandbox.unconfined import UnconfinedSandbox
from nightlab.training.token_file import TokenFile
from nightlab.training.training import TrainingOrder, train_replicate
from tests.training.test_training import BARE

BUDGET_SECONDS = 1.0
UNIT_SECONDS = 0.02
TOLERANCE = 1.5
"""How much more work than the honest candidate's may be another processor second's: one whose core
shares its hardware with a busy one is worth half as much as one that has it alone."""
TRIES = 5
"""Of one that seems to gain: the machine may have been busier when the honest one was counted."""

PRELUDE = """
import hashlib, signal, threading
def unit():
    hashlib.pbkdf2_hmac("sha256", b"password", b"salt", ROUNDS)
    os.write(1, b".")
def work(units=10**6):
    for _ in range(units):
        unit()
def in_child(action, *arguments):
    child = os.fork()
    if child == 0:
        action(*arguments)
        os._exit(0)
    return child
def leave():
    try:
        os.setsid()
    except OSError:
        pass
gate()
"""

HONEST = "work()"
TRICKS = {
    "sleeps between units": "while True:\n    unit()\n    time.sleep(0.02)",
    "threads": "for _ in range(3):\n    threading.Thread(target=work).start()\nwork()",
    "children at once": "for _ in range(3):\n    in_child(work)\nwork()",
    "children that are waited for": "while True:\n    os.waitpid(in_child(work, 3), 0)",
    "children that nobody waits for": """
signal.signal(signal.SIGCHLD, signal.SIG_IGN)
while True:
    child = in_child(work, 3)
    try:
        while True:
            os.kill(child, 0)
            time.sleep(0.001)
    except ProcessLookupError:
        pass
""",
    "a chain of short lives": """
signal.signal(signal.SIGCHLD, signal.SIG_IGN)
def next_life():
    while True:
        unit()
        if os.fork():
            os._exit(0)
in_child(next_life)
time.sleep(60)
""",
    "a process that leaves": """
def detach():
    leave()
    in_child(work)
in_child(detach)
time.sleep(60)
""",
}


@pytest.fixture(scope="module", params=["1, cgroup", "1, tree", "2, tree", "none, tree"])
def sandbox(request):
    rung, _, how = request.param.partition(", ")
    kind = {"1": BubblewrapSandbox, "2": LandlockSandbox, "none": UnconfinedSandbox}[rung]
    try:
        made = kind()
    except SandboxUnavailable as refusal:
        pytest.skip(str(refusal))
    if how == "tree":
        made._spawner.cgroups = Cgroups(None)
    elif made._spawner.cgroups.parent is None:
        pytest.skip("this machine lets us make no cgroup")
    return made


@pytest.fixture(scope="module")
def rounds():
    """Of a unit that takes about ``UNIT_SECONDS``."""
    import hashlib
    import time

    began = time.process_time()
    hashlib.pbkdf2_hmac("sha256", b"password", b"salt", 20_000)
    return max(1, int(20_000 * UNIT_SECONDS / (time.process_time() - began)))


def train(sandbox, folder, source, rounds):
    (folder / "train.bin").write_bytes(bytes(4000))
    order = TrainingOrder(
        vocab_size=64,
        sequence_length=16,
        device=Device(name="cpu", description="test", threads=1),
        seed=0,
        budget_seconds=BUDGET_SECONDS,
        startup_seconds=60.0,
    )
    source = BARE + PRELUDE.replace("ROUNDS", str(rounds)) + source
    for attempt in range(TRIES):
        try:
            with TokenFile.from_path(folder / "train.bin") as tokens:
                result = train_replicate(
                    order, source, tokens, sandbox, folder / "checkpoint.pt",
                    lambda: None, lambda _: None,
                )  # fmt: skip
            break
        except MachineBusy:  # as a session, try again
            if attempt == TRIES - 1:
                raise
    assert result.failure is Reason.TIMEOUT, result
    assert "Traceback" not in result.log
    return result.log.count("."), result


def most_of_an_honest_one(sandbox, folder, rounds):
    units = max(train(sandbox, folder, HONEST, rounds)[0] for _ in range(2))
    assert units > 0.2 * BUDGET_SECONDS / UNIT_SECONDS
    return units


@pytest.fixture(scope="module")
def honest_units(sandbox, rounds, tmp_path_factory):
    return most_of_an_honest_one(sandbox, tmp_path_factory.mktemp("honest"), rounds)


@pytest.mark.parametrize("trick", TRICKS)
def test_none_trains_longer_than_an_honest_one(trick, sandbox, honest_units, rounds, tmp_path):
    gains = []
    for attempt in range(TRIES + 1):
        if attempt:
            honest_units = most_of_an_honest_one(sandbox, tmp_path, rounds)
        units, _ = train(sandbox, tmp_path, TRICKS[trick], rounds)
        assert units > 0
        assert not os.path.exists(tmp_path / "checkpoint.pt")
        if not attempt and units <= TOLERANCE * honest_units:
            return
        gains.append(units / honest_units)
    assert median(gains[1:]) <= TOLERANCE, gains
