"""Sessions whose provider goes away: one that ends by it as usual, and one that waits."""

from pathlib import Path

import pytest

from nightlab.ledger import Ledger
from nightlab.records import Verdict
from tests.conftest import expect_success, git, make_clone, run_nightlab
from tests.scripted_endpoint import Failure, ScriptedEndpoint, answer_with_edit

AWAY = Failure(503, "no upstream")
ASKED_PER_ROUND = 4
"""With the retries of the task that asks."""


def idea(number: int) -> str:
    return answer_with_edit("import math", f"# {number}.\nimport math", title=f"Idea {number}")


@pytest.mark.slow
def test_an_outage_uses_up_no_trials_and_no_session_is_lost_by_it(
    tmp_path: Path, shared_cache: Path, prefect_api: dict[str, str]
) -> None:
    clone = make_clone(tmp_path / "clone")
    script = [idea(1), *[AWAY] * 2 * ASKED_PER_ROUND, idea(2)]
    with ScriptedEndpoint(script) as endpoint:
        options = (
            *("research", "--study", "night", "--no-prefetch", "--budget-tokens", "8192"),
            *("--preflight-seconds", "0", "--confirm-replicates", "0"),
            *("--model", "openai/scripted", "--api-base", endpoint.api_base),
        )

        def session(*more: str) -> str:
            return expect_success(
                run_nightlab(
                    clone, shared_cache, *options, *more, extra=prefect_api, timeout_seconds=900
                )
            )

        said = session("--trials", "3", "--wait-for-model-hours", "0")
        assert "No model has answered" in said
        assert "no upstream" in said
        assert (clone / "mlruns" / "reports" / "night.html").is_file()
        assert len(endpoint.requests) == 1 + ASKED_PER_ROUND
        assert len(Ledger(clone, "night").records()) == 2

        said = session("--trials", "1")
        assert said.count("No model answers: ") == 1
        assert "A model answers again" in said
    records = Ledger(clone, "night").records()
    assert [record.title for record in records] == ["baseline", "Idea 1", "Idea 2"]
    assert all(record.verdict is not Verdict.FAILED for record in records)
    git(clone, "fsck", "--strict")
