"""What `make mutants` is told still fits the tree."""

import sys

import pytest

from tests.conftest import ROOT

sys.path.insert(0, str(ROOT / "bench"))

from mutant_plan import Plan


@pytest.fixture(scope="module")
def plan() -> Plan:
    return Plan.read(ROOT / "bench" / "mutants.toml")


def test_every_module_has_tests_that_must_notice(plan: Plan) -> None:
    for module in plan.modules():
        if not module.endswith("__init__.py"):
            assert plan.tests_of(module), f"name tests for {module} in bench/mutants.toml"
            for test in plan.tests_of(module):
                assert (ROOT / test).is_file(), f"{module}: {test}"


def test_modules_that_are_named_are_there(plan: Plan) -> None:
    for module in (*plan.left_out, *plan.building, *plan.tests):
        assert (ROOT / module).is_file(), module


def test_what_may_survive_names_a_module_and_says_why(plan: Plan) -> None:
    for key, reason in {**plan.equivalent, **plan.accepted}.items():
        assert key.partition(":")[0] in plan.modules(), key
        assert " -> " in key
        assert len(reason) > 10, key
