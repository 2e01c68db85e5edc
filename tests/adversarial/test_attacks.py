"""Every attack on the sandbox, the gate, the protocol and the machine: stopped, on each rung.

Beside it the same file's honest twin, which must pass, and the same attack where nothing
holds it, which must succeed: an attack that cannot succeed anywhere proves nothing.
The attacks on the score are in ``test_audit_attacks``.
"""

import os

import pytest

from tests.adversarial.conftest import RUNGS
from tests.adversarial.engine import run_until_engine_is_killed
from tests.adversarial.harness import all_attacks, run_training
from tests.adversarial.naive import run_naively

ATTACKS = [attack for attack in all_attacks() if attack.kind not in ("audit", "text")]
CASES = [
    pytest.param(attack, variant, id=f"{attack.name}-{variant}" if variant else attack.name)
    for attack in ATTACKS
    for variant in attack.variants
]
CONTROLLED = [case for case in CASES if case.values[0].control in ("unconfined", "root", "naive")]


@pytest.mark.parametrize("name", RUNGS)
@pytest.mark.parametrize(("attack", "variant"), CASES)
def test_it_is_stopped(attack, variant, name, rung, scene, tmp_path):
    sandbox = rung(name)
    if attack.scenario == "engine killed":
        outcome = run_until_engine_is_killed(attack, variant, name, scene)
    else:
        outcome = run_training(attack, "attack", variant, sandbox, scene, tmp_path)
    if attack.is_open(name):
        # A gap that docs/security.md names: this fails on the day that it is closed.
        assert outcome.through, f"{attack.name} is stopped now: take {name} out of its OPEN"
        return
    assert not outcome.through, outcome
    if attack.expected:
        assert outcome.failure in attack.expected, outcome


@pytest.mark.parametrize("name", RUNGS)
@pytest.mark.parametrize("attack", ATTACKS, ids=lambda attack: attack.name)
def test_its_honest_twin_passes(attack, name, rung, scene, tmp_path):
    outcome = run_training(attack, "honest", attack.variants[0], rung(name), scene, tmp_path)
    assert outcome.failure is None, outcome
    assert not outcome.through, outcome
    assert (tmp_path / "checkpoint.pt").exists()


# A check of the attacks, which change seldom, rather than of what stops them.
@pytest.mark.slow
@pytest.mark.parametrize(("attack", "variant"), CONTROLLED)
def test_it_succeeds_where_nothing_holds_it(attack, variant, unconfined, scene, tmp_path):
    if attack.control == "root" and os.geteuid() != 0:
        pytest.skip("without a sandbox only root could do it")
    if attack.control == "naive":
        outcome = run_naively(attack, variant, scene, tmp_path)
    else:
        outcome = run_training(
            attack, "attack", variant, unconfined, scene, tmp_path, settle_seconds=0.3
        )
    assert outcome.through, outcome
