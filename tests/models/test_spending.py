"""Caps on models: what fits is asked, what does not is not."""

import pytest

from nightlab.errors import BudgetReached
from nightlab.models.spending import UNKNOWN_PRICE, UNKNOWN_TOKENS_PER_CALL, Price, Spending
from nightlab.records import ProposalCost
from nightlab.settings import SessionSettings

DEAR = Price(prompt=1e-5, completion=5e-5)
PROMPT = 3_000
"""Tokens, as counted before anything was reported."""


def spending(**caps: float) -> Spending:
    return Spending(SessionSettings(**caps))


def call(told: Spending, prompt: int = 3_000, answer: int = 1_000, model: str = "m") -> None:
    told.ask(model, PROMPT, DEAR)
    told.add(model, PROMPT, DEAR, prompt, answer, DEAR.of(prompt, answer))


def calls_until_refused(told: Spending, **sizes: int) -> int:
    for done in range(1_000):
        try:
            call(told, **sizes)
        except BudgetReached:
            return done
    raise AssertionError("never refused")


def test_without_caps_everything_fits() -> None:
    told = spending()
    assert told.ask("m", 10**9, DEAR) is None
    assert told.reached() is None


@pytest.mark.parametrize("name", ["max_cost_usd", "max_study_cost_usd"])
def test_dollars_end_within_one_call_of_the_cap_and_never_over(name: str) -> None:
    told = spending(**{name: 1.0})
    each = DEAR.of(3_000, 1_000)  # $0.08
    assert calls_until_refused(told) == 12
    assert told.in_session.cost_usd == pytest.approx(12 * each)
    assert 1.0 - told.in_session.cost_usd < each
    assert told.reached() is not None


def test_tokens_and_calls_are_caps_too() -> None:
    assert calls_until_refused(spending(max_model_tokens=20_000)) == 5
    assert calls_until_refused(spending(max_study_model_tokens=20_000)) == 5
    assert calls_until_refused(spending(max_model_calls=3)) == 3
    assert calls_until_refused(spending(max_study_model_calls=3)) == 3


@pytest.mark.parametrize("name", ["max_cost_usd", "max_model_tokens", "max_model_calls"])
def test_a_cap_of_zero_allows_nothing(name: str) -> None:
    told = spending(**{name: 0})
    with pytest.raises(BudgetReached, match="are spent"):
        told.ask("m", PROMPT, DEAR)
    assert told.reached() is not None


def test_the_answer_may_be_no_longer_than_what_is_left_pays_for() -> None:
    told = spending(max_cost_usd=0.13)
    # $0.03 are for the prompt, the rest pays for 2,000 tokens.
    assert told.ask("m", PROMPT, DEAR) == 2_000
    assert spending(max_model_tokens=7_000).ask("m", PROMPT, DEAR) == 4_000


def test_estimates_follow_what_endpoints_report() -> None:
    told = spending(max_model_tokens=100_000)
    call(told, prompt=9_000, answer=5_000)
    with pytest.raises(BudgetReached, match=r"about 95,000 tokens"):
        told.ask("m", 30_000, DEAR)
    told.ask("another", 30_000, DEAR)


def test_a_count_that_was_too_high_is_corrected_too() -> None:
    told = spending(max_model_tokens=100_000)
    call(told, prompt=1_500, answer=500)
    assert told.ask("m", PROMPT, DEAR) == 100_000 - 2_000 - 1_500


def test_what_an_endpoint_did_not_report_is_estimated() -> None:
    told = spending(max_cost_usd=1.0)
    told.add("m", PROMPT, DEAR, None, None, None)
    assert told.in_session.tokens == 4_500
    assert told.in_session.cost_usd == pytest.approx(DEAR.of(3_000, 1_500))


def test_what_stands_in_git_counts() -> None:
    told = spending(max_cost_usd=1.0, max_study_cost_usd=2.0)
    known = ProposalCost(calls=2, prompt_tokens=100, completion_tokens=10, cost_usd=0.5)
    told.count_earlier([(True, known), (False, known)])
    assert told.in_session.cost_usd == pytest.approx(0.5)
    assert told.in_session.tokens == 110
    told.count_earlier([(False, known.model_copy(update={"cost_usd": 1.5}))])
    with pytest.raises(BudgetReached, match="in this study"):
        told.ask("m", PROMPT, DEAR)


def test_a_past_call_without_numbers_is_not_free() -> None:
    told = spending()
    told.count_earlier([(True, ProposalCost(calls=2))])
    assert told.in_session.tokens == 2 * UNKNOWN_TOKENS_PER_CALL
    assert told.in_session.cost_usd == pytest.approx(
        UNKNOWN_PRICE.of(2 * UNKNOWN_TOKENS_PER_CALL, 0)
    )


def test_another_model_may_still_fit() -> None:
    told = spending(max_cost_usd=0.05)
    with pytest.raises(BudgetReached):
        told.ask("dear", PROMPT, DEAR)
    assert told.reached() is not None
    told.ask("cheap", PROMPT, Price(prompt=1e-7, completion=1e-7))
    assert told.reached() is None


def test_what_was_spent_is_said_and_what_was_guessed_too() -> None:
    told = spending()
    assert told.in_words() is None
    call(told)
    assert told.in_words() == "1 call, 4,000 tokens, $0.0800"
    told.add("m", PROMPT, UNKNOWN_PRICE, 3_000, 1_000, None)
    assert told.in_words() == (
        "2 calls, 8,000 tokens, about $0.1000 (some prices or counts are not known)"
    )


def test_only_this_sessions_calls_are_said() -> None:
    told = spending()
    told.count_earlier([(False, ProposalCost(calls=3, prompt_tokens=10, completion_tokens=5))])
    assert told.in_words() is None
    told.count_earlier([(True, ProposalCost(calls=1, prompt_tokens=10, cost_usd=0.5))])
    assert told.in_words() == "1 call, 10 tokens, $0.5000"
