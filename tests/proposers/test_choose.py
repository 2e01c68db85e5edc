"""Which proposer is taken, and the sentence that says why."""

import subprocess
import sys

import pytest
from pydantic import ValidationError

from nightlab.errors import UsageError
from nightlab.proposers import KnobProposer, LlmProposer, choose_proposer
from nightlab.settings import SessionSettings
from tests.conftest import ROOT


def test_auto_takes_knobs_where_no_model_is_configured() -> None:
    chosen = choose_proposer(SessionSettings(), environment={})
    assert isinstance(chosen.proposer, KnobProposer)
    assert "no model is configured" in chosen.why
    assert "--model" in chosen.why


def test_auto_takes_the_model_of_the_settings_before_the_environments() -> None:
    settings = SessionSettings(model="openai/one", api_base="http://127.0.0.1:1/v1")
    environment = {"NIGHTLAB_MODEL": "openai/two", "NIGHTLAB_API_BASE": "http://127.0.0.1:2/v1"}
    chosen = choose_proposer(settings, environment=environment)
    assert isinstance(chosen.proposer, LlmProposer)
    assert chosen.proposer.model == "openai/one"
    assert chosen.why == (
        "llm, the model openai/one at http://127.0.0.1:1/v1, which --model names."
    )
    chosen = choose_proposer(SessionSettings(), environment=environment)
    assert "openai/two at http://127.0.0.1:2/v1, which NIGHTLAB_MODEL names" in chosen.why


def test_knobs_are_taken_when_asked_for_whatever_is_configured() -> None:
    settings = SessionSettings(proposer="knobs", model="openai/one")
    chosen = choose_proposer(settings, environment={})
    assert chosen.proposer.name == "knobs"
    assert "as asked" in chosen.why


def test_llm_without_a_model_is_a_usage_error() -> None:
    with pytest.raises(UsageError, match="--model"):
        choose_proposer(SessionSettings(proposer="llm"), environment={"NIGHTLAB_MODEL": ""})


def test_keys_and_users_in_addresses_are_not_said() -> None:
    settings = SessionSettings(model="openai/one")
    for environment in (
        {"NIGHTLAB_API_BASE": "http://me:secret@127.0.0.1:1/v1"},
        {"NIGHTLAB_API_BASE": "http://127.0.0.1:1/v1?api_key=secret"},
    ):
        with pytest.raises(UsageError, match="may hold no user, password or query") as caught:
            choose_proposer(settings, environment=environment)
        assert "secret" not in str(caught.value)
    named = {"NIGHTLAB_MODEL": "openai/http-x@http://u:secret@host/v1"}
    with pytest.raises(UsageError, match="may hold no user") as caught:
        choose_proposer(SessionSettings(), environment=named)
    assert "secret" not in str(caught.value)
    with pytest.raises(ValidationError, match="may hold no user"):
        SessionSettings(model=named["NIGHTLAB_MODEL"])


def test_choosing_imports_nothing_heavy() -> None:
    code = (
        "import sys; from nightlab.proposers import choose_proposer as c; "
        "from nightlab.settings import SessionSettings as S; c(S(model='openai/x')); "
        "heavy = {'litellm', 'optuna', 'mlflow', 'openai'} & set(sys.modules); "
        "assert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)
