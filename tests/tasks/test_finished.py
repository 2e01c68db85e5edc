"""What callers get of a task or a flow that ends with a sentence."""

from prefect import flow, task
from prefect.cache_policies import NO_CACHE
from prefect.settings import PREFECT_API_URL, temporary_settings

from tasks.finished import finished, result_of


@task(cache_policy=NO_CACHE)
def halve(number: int) -> int:
    return finished(number // 2, f"the half of {number}")


@flow
def quarter(number: int) -> int:
    half = result_of(halve(number))
    assert result_of(half) == half
    return finished(halve.submit(half).result(), f"a quarter of {number}")


def test_a_task_that_is_called_or_submitted_and_a_flow_give_their_result(
    prefect_api: dict[str, str],
) -> None:
    with temporary_settings({PREFECT_API_URL: prefect_api["PREFECT_API_URL"]}):
        assert quarter(8) == 2
        state = quarter(8, return_state=True)
    assert state.message == "a quarter of 8"
