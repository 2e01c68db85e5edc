"""Every attack on the score: it gains nothing beyond the stated error, on each rung.

The text is a Markov chain whose entropy is known (``scoring.py``), so that "gains" is exact:
a score below the best honest one. What the attack claims, without the audit, must lie below
it by far, or the attack would prove nothing.

The positions are drawn here from seeds of their own, the same in every run: a score may lie
past any number of standard errors by chance. (Of 150 secret draws, five had a leak in 0.3 % of
positions past three: docs/decisions/0006. All 150 ended as ``audit``.)
"""

import zlib

import numpy as np
import pytest

from nightlab.records import Evaluation, Reason
from tests.adversarial.conftest import RUNGS
from tests.adversarial.harness import all_attacks
from tests.adversarial.scoring import Chain, run_evaluation, twin_weights

pytest.importorskip("torch")

ATTACKS = [attack for attack in all_attacks() if attack.kind == "audit"]
# The arithmetic is the same on every rung: the honest twins show that rung 2 carries it, one
# variant of each attack that it does so for them.
MARKS = {"1": (), "2": (pytest.mark.slow,)}
CASES = [
    pytest.param(
        *(attack, variant, rung),
        id="-".join(filter(None, (attack.name, variant, rung))),
        marks=MARKS[rung],
    )
    for attack in ATTACKS
    for variant in attack.variants
    for rung in RUNGS
    if rung == "1" or variant == attack.variants[0]
]
ERRORS = 3.0
"""Standard errors that a draw may be away from the truth."""

CLAIM_GAIN_BPB = 0.001
"""What an attack has to gain without the audit, at least."""


@pytest.fixture(scope="module")
def chain():
    return Chain()


@pytest.fixture(autouse=True)
def repeatable_draws(request, monkeypatch):
    seeds = iter(np.random.SeedSequence(zlib.crc32(request.node.name.encode())).spawn(10))
    monkeypatch.setattr(
        "nightlab.evaluation.evaluation.secret_generator",
        lambda: np.random.default_rng(next(seeds)),
    )


@pytest.fixture(scope="module")
def twins():
    """Evaluations of honest twins: most of them are the same model, which is scored once."""
    return {}


@pytest.fixture(scope="module")
def baseline(rung, chain, tmp_path_factory):
    """The evaluation of a rung's baseline, the plain table: what others are allowed rests on it."""
    known = {}

    def evaluation(name):
        if name not in known:
            folder = tmp_path_factory.mktemp("baseline")
            plain = next(attack for attack in ATTACKS if attack.name == "shifted_by_one")
            known[name] = run_evaluation(plain, "honest", "", rung(name), chain, folder)
        return known[name]

    return evaluation


@pytest.mark.parametrize(("attack", "variant", "name"), CASES)
def test_it_gains_nothing(attack, variant, name, rung, chain, baseline, tmp_path):
    allowed_by = baseline(name)
    result = run_evaluation(attack, "attack", variant, rung(name), chain, tmp_path, allowed_by)
    assert "GOT THROUGH" not in result.log, result
    if attack.expected:
        assert result.failure in attack.expected, result
    honest = chain.honest_bpb(twin_weights(attack))
    if name in attack.open:
        # A gap that docs/security.md names: this fails on the day that it is closed.
        assert result.claimed_bpb + result.correction_bpb < honest - CLAIM_GAIN_BPB, result
        return
    assert (result.val_bpb is None) == (result.failure is not None), result
    if result.correction_bpb is not None and attack.expected != {Reason.AUDIT}:
        # Whether or not the tolerances ended it, the corrected number is no gain either. (Where
        # only they can end it, since rows help each other in the audit too, the file says so.)
        assert result.claimed_bpb is not None, result
        audited = result.claimed_bpb + result.correction_bpb
        assert result.standard_error is not None, result
        assert audited >= honest - ERRORS * result.standard_error - 1e-5, (honest, result)
    if attack.control == "claim":
        assert result.claimed_bpb is not None, result
        assert result.claimed_bpb < honest - CLAIM_GAIN_BPB, (honest, result)


@pytest.mark.slow
@pytest.mark.parametrize("attack", [each for each in ATTACKS if "relay_by" in each.name])
def test_of_twenty_relays_none_is_scored_below_the_best_honest_weights(
    attack, rung, chain, tmp_path
):
    honest = chain.honest_bpb(twin_weights(attack))
    for _ in range(20):
        found = run_evaluation(attack, "attack", attack.variants[0], rung("1"), chain, tmp_path)
        assert found.val_bpb is None or found.val_bpb >= honest - 1e-5, found


@pytest.mark.parametrize("name", RUNGS)
@pytest.mark.parametrize("attack", ATTACKS, ids=lambda attack: attack.name)
def test_its_honest_twin_passes(attack, name, rung, chain, baseline, twins, tmp_path):
    ours = "honest = Bigram" not in attack.source
    key = (name, twin_weights(attack), attack.name if ours else "")
    if key not in twins:
        twins[key] = run_evaluation(
            *(attack, "honest", attack.variants[0], rung(name), chain, tmp_path, baseline(name))
        )
    result: Evaluation = twins[key]
    honest = chain.honest_bpb(twin_weights(attack))
    assert result.failure is None, result
    assert result.val_bpb == pytest.approx(honest, abs=3 * (result.standard_error or 0) + 1e-4)


UNLIMITED = [
    pytest.param(attack, variant, id=f"{attack.name}-{variant}")
    for attack in ATTACKS
    for variant in attack.variants
    if attack.control == "no allowance"
]


@pytest.mark.slow
@pytest.mark.parametrize(("attack", "variant"), UNLIMITED)
def test_it_gains_where_it_may_take_all_the_time_there_is(attack, variant, rung, chain, tmp_path):
    result = run_evaluation(attack, "attack", variant, rung("1"), chain, tmp_path)
    assert result.failure is None, result
    assert result.val_bpb < chain.honest_bpb(twin_weights(attack)) - 0.1, result
