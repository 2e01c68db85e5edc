"""A person's word: on Prefect's page, with a real server and worker, and to a whole session."""

import subprocess
import time
from pathlib import Path
from typing import Any

import httpx
import pytest
from prefect.settings import PREFECT_API_URL, temporary_settings

from flows.approval import hear_page
from nightlab.ledger import Ledger, Remote, give_word
from nightlab.records import Approval, Edit, Proposal, Verdict
from tests.conftest import (
    expect_success,
    git,
    make_clone,
    nightlab_command,
    nightlab_environment,
    run_nightlab,
)
from tests.flows.conftest import run_prefect, worker
from tests.session_samples import finish_trial, keep_edit, sample_session


@pytest.fixture
def session(tmp_path: Path, hub: Path) -> Any:
    """A session whose study's three keeps wait, here and on the remote that is deployed from."""
    session = sample_session(tmp_path / "studio")
    git(tmp_path / "studio", "remote", "add", "origin", (tmp_path / "hub.git").as_uri())
    session.settings = session.settings.model_copy(update={"remote": "origin"})
    session.remote = Remote(session.ledger.root, "origin", session.ledger.study)
    finish_trial(session, Proposal(title="baseline", proposer="baseline"), Verdict.KEEP)
    for number in (1, 2, 3):
        edits = (Edit(search=f"DEPTH = {number + 3}", replace=f"DEPTH = {number + 4}"),)
        idea = Proposal(title=f"Idea {number}", proposer="llm", edits=edits)
        keep_edit(session, number, idea, Approval.WAITS)
    session.remote.push()
    return session


def asked(api: str) -> dict[int, dict[str, Any]]:
    """The runs that ask for a word, by the trial's number."""
    query = {"flow_runs": {"tags": {"all_": ["approval", "study:night"]}}}
    runs = httpx.post(f"{api}/flow_runs/filter", json=query, timeout=30).json()
    assert len(runs) == len({run["parameters"]["number"] for run in runs}), "asked twice"
    return {run["parameters"]["number"]: run for run in runs}


def resume(api: str, run: dict[str, Any], **answer: str) -> str:
    """Answer as the page does; what the server says of it."""
    address = f"{api}/flow_runs/{run['id']}/resume"
    said = httpx.post(address, json={"run_input": answer}, timeout=30).json()
    return str(said["status"])


@pytest.mark.slow
def test_a_word_given_on_the_page_lands_on_the_branch(
    session: Any, hub: Path, server: dict[str, str], tmp_path: Path
) -> None:
    api, ledger = server["PREFECT_API_URL"], session.ledger

    def merged() -> str:
        return git(tmp_path / "hub.git", "rev-parse", "nightlab/night").strip()

    def commit(number: int) -> str:
        return str(ledger.record(number).commit)

    with temporary_settings({PREFECT_API_URL: api}):
        hear_page(session)
        assert asked(api) == {}, "nothing is deployed: the desk alone is asked"
        run_prefect(server, hub, "work-pool", "create", "gpu", "--type", "process")
        run_prefect(server, hub, "deploy", "--name", "approve/on-demand")
        hear_page(session)
        hear_page(session)
        runs = asked(api)
        assert {run["state_name"] for run in runs.values()} == {"Suspended"}
        assert runs[2]["name"] == "approve night 2: Idea 2"
        shown = f"{api}/flow_runs/{runs[2]['id']}/input/suspended-word-description"
        assert "+DEPTH = 6" in httpx.get(shown, timeout=30).json()

        assert resume(api, runs[1]) == resume(api, runs[1], word="yes") == "REJECT"
        assert resume(api, runs[1], word="approve") == "ACCEPT"
        hear_page(session)  # no worker has time for it
        assert merged() == commit(1)
        assert asked(api)[1]["state"]["message"] == "The study's session took it in."
        assert asked(api)[2]["state_type"] == "PAUSED"

        assert resume(api, runs[2], word="approve") == "ACCEPT"
        with worker(server, tmp_path):
            deadline = time.monotonic() + 300
            while asked(api)[2]["state_type"] in ("SCHEDULED", "PENDING", "RUNNING"):
                assert time.monotonic() < deadline
                time.sleep(1)
        done = asked(api)[2]["state"]
        assert (done["type"], merged()) == ("COMPLETED", commit(2)), done
        assert done["message"] == "Trial 2 is approved: branch nightlab/night stands at it."

        give_word(Ledger(tmp_path / "studio", "night"), session.remote, 3, approve=False)
        hear_page(session)
        assert asked(api)[3]["state"]["message"] == "The word on it was given elsewhere."
    assert ledger.incumbent() == merged()


TRAINER = "trainer/train.py"
RATES = [f"EMBEDDING_LEARNING_RATE = {rate} " for rate in ("2.0", "0.002", "0.05")]
AGENT = """\
trial=$(sed -n 's/^Propose trial \\([0-9]*\\)\\.$/\\1/p' "$NIGHTLAB_BRIEF")
case $trial in
1) sed -i 's/^{1}/{2}/' trainer/train.py ;;
2) while [ ! -e {0} ]; do sleep 0.2; done; sed -i 's/^{2}/{3}/' trainer/train.py ;;
esac
printf 'TITLE: Learn again, %s\\nHYPOTHESIS: It is a test.\\n' "$trial" > IDEA.md
"""


@pytest.mark.slow
def test_a_session_goes_on_from_what_waits_and_hears_the_desk(
    tmp_path: Path, shared_cache: Path, prefect_api: dict[str, str]
) -> None:
    clone, desk, go = make_clone(tmp_path / "clone"), tmp_path / "desk", tmp_path / "go"
    good, bad, fair = RATES
    trainer = clone / TRAINER
    trainer.write_text(trainer.read_text().replace(good, bad))
    git(clone, "-c", "user.name=T", "-c", "user.email=t@localhost", "commit", "-qam", "Learn less")
    git(tmp_path, "clone", "-q", "--bare", str(clone), "hub.git")
    git(clone, "remote", "add", "origin", str(tmp_path / "hub.git"))
    git(tmp_path, "clone", "-q", str(tmp_path / "hub.git"), str(desk))
    script = tmp_path / "agent.sh"
    script.write_text(AGENT.format(go, bad, fair, good))
    told, ledger = tmp_path / "told.log", Ledger(clone, "night")
    budget = ("--budget-tokens", "40960", "--trials", "2", "--confirm-replicates", "0")
    asked = ("--no-prefetch", "--command", f"sh {script}", "--command-timeout-seconds", "900")
    options = (*budget, *asked, "--approve", "keeps", "--remote", "origin")
    with told.open("wb") as output:
        session = subprocess.Popen(
            nightlab_command("research", "--study", "night", *options),
            cwd=clone,
            env={**nightlab_environment(shared_cache, prefect_api), "PYTHONUNBUFFERED": "1"},
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    try:
        deadline = time.monotonic() + 900
        while not any(mark.number == 2 for mark in ledger.marks()):
            assert session.poll() is None, told.read_text()
            assert time.monotonic() < deadline, told.read_text()
            time.sleep(0.5)
        said = run_nightlab(desk, shared_cache, "approve", "night", "1", "--remote", "origin")
        assert "Trial 1 is approved" in expect_success(said)
        go.touch()
        assert session.wait(timeout=900) == 0, told.read_text()
    finally:
        session.kill()
    assert "trial 1: keep (waits for approval)" in told.read_text()
    assert "Trial 1: approved, and on branch nightlab/night." in told.read_text()
    assert "1 keep waits for your word (trial 2), and counts" in told.read_text()
    first, second = ledger.records()[1:]
    assert second.parent == first.commit
    assert [first.approval, second.approval] == [Approval.APPROVED, Approval.WAITS]
    for folder in (clone, tmp_path / "hub.git"):
        assert git(folder, "rev-parse", "nightlab/night").strip() == first.commit
        git(folder, "fsck", "--strict")
