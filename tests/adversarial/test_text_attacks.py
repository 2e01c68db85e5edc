"""Every attack by text alone: what a model or another machine writes, and the engine reads.

They need no sandbox. A reader may refuse a text, and may take a tenth of a second of the processor.
"""

import importlib
import time

import pytest

from tests.adversarial.harness import Attack, all_attacks

ATTACKS = [attack for attack in all_attacks() if attack.kind == "text"]
LONGEST_SECONDS = 0.1


@pytest.mark.parametrize("attack", ATTACKS, ids=lambda attack: attack.name)
def test_it_is_stopped(attack: Attack) -> None:
    file = importlib.import_module(f"tests.adversarial.attacks.{attack.name}")
    text = file.attack()
    seconds = []
    for _ in range(3):
        began = time.thread_time()
        assert not file.reached(text)
        seconds.append(time.thread_time() - began)
    assert min(seconds) < LONGEST_SECONDS


@pytest.mark.parametrize("attack", ATTACKS, ids=lambda attack: attack.name)
def test_its_honest_twin_passes(attack: Attack) -> None:
    file = importlib.import_module(f"tests.adversarial.attacks.{attack.name}")
    assert file.passes(file.honest())
