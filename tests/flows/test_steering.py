"""A session that is steered while it runs: from its own clone, and from another machine."""

import io
import json
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from flows.printing import print_trial
from flows.terminal import Terminal
from nightlab.ledger import Ledger, add_suggestion, suggestions
from tests.conftest import (
    expect_success,
    git,
    nightlab_command,
    nightlab_environment,
    run_nightlab,
)
from tests.samples import sample_record

SESSION = ("--budget-tokens", "8192", "--confirm-replicates", "0", "--proposer", "knobs")
STOP = "refs/nightlab/night/stop"


def started(
    clone: Path, cache: Path, told: Path, extra: dict[str, str], *options: str
) -> "subprocess.Popen[bytes]":
    """Start a session without a limit; what it says goes into a file."""
    with told.open("wb") as output:
        return subprocess.Popen(
            nightlab_command("research", "--study", "night", *SESSION, *options),
            cwd=clone,
            env={**nightlab_environment(cache, extra), "PYTHONUNBUFFERED": "1"},
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )


def await_that(
    happened: Callable[[], bool], session: "subprocess.Popen[bytes]", told: Path
) -> None:
    """Wait for something that a running session does."""
    deadline = time.monotonic() + 900
    while not happened():
        if session.poll() is not None or time.monotonic() > deadline:
            session.kill()
            pytest.fail(f"the session did not come so far:\n{told.read_text()}")
        time.sleep(0.2)


def ended(session: "subprocess.Popen[bytes]", told: Path) -> str:
    """What a session said that ended by itself."""
    try:
        status = session.wait(timeout=900)
    except subprocess.TimeoutExpired:
        session.kill()
        pytest.fail(f"the session did not stop:\n{told.read_text()}")
    said = told.read_text()
    assert status == 0, said
    return said


@pytest.mark.slow
def test_a_session_hears_ideas_and_stops_when_it_is_asked_to(
    clone: Path, shared_cache: Path, tmp_path: Path, prefect_api: dict[str, str]
) -> None:
    address, elsewhere = tmp_path / "remote.git", tmp_path / "elsewhere"
    git(tmp_path, "clone", "-q", "--bare", str(clone), str(address))
    git(clone, "remote", "add", "origin", str(address))
    git(tmp_path, "clone", "-q", str(address), str(elsewhere))
    ledger, told = Ledger(clone, "night"), tmp_path / "told.log"

    session = started(clone, shared_cache, told, prefect_api, "--remote", "origin")
    branch = ledger.refs.branch
    await_that(lambda: branch in git(address, "for-each-ref"), session, told)
    # What is under way stands there too, before any trial has its record.
    await_that(lambda: ledger.refs.inflight(0) in git(address, "for-each-ref"), session, told)
    away = run_nightlab(
        elsewhere, shared_cache, "suggest", "night", "from afar", "--remote", "origin"
    )
    assert "waits for the next proposal" in expect_success(away)
    expect_success(run_nightlab(clone, shared_cache, "suggest", "night", "from here"))
    asked = run_nightlab(elsewhere, shared_cache, "stop", "night", "--remote", "origin")
    assert f"process {session.pid}" in expect_success(asked)
    said = ended(session, told)
    assert "Stopped: `nightlab stop` asked for it" in said
    assert "Report:" in said
    assert said.count("2 suggestions wait for a proposer that reads") == 1
    first = ledger.records()
    assert 1 <= len(first) <= 3
    assert {idea.text for idea in suggestions(ledger)} == {"from afar", "from here"}
    for folder in (clone, address):
        assert STOP not in git(folder, "for-each-ref")

    # The next session is not stopped by what the last one was asked, and can be asked itself.
    session = started(clone, shared_cache, told, prefect_api)
    await_that(lambda: len(ledger.records()) > len(first), session, told)
    expect_success(run_nightlab(clone, shared_cache, "stop", "night"))
    assert "Stopped: `nightlab stop` asked for it" in ended(session, told)
    assert len(first) < len(ledger.records()) <= len(first) + 3
    assert ledger.marks() == ()

    too_late = run_nightlab(clone, shared_cache, "stop", "night")
    assert too_late.returncode == 2
    assert "No session of study 'night' runs in this clone" in too_late.stderr
    (version,) = json.loads(
        expect_success(run_nightlab(clone, shared_cache, "program", "night", "--json"))
    )
    assert version["text"] == (clone / "program.md").read_text()
    assert version["trials"] == len(ledger.records())
    git(clone, "fsck", "--strict")
    assert git(clone, "status", "--porcelain") == ""


def begin_study(clone: Path) -> None:
    git(clone, "config", "user.name", "Test")
    git(clone, "config", "user.email", "test@localhost")
    Ledger(clone, "night").create()


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("suggest", "nihgt", "x"), "There is no study 'nihgt' here (studies: night)"),
        (("suggest", "a b", "x"), "a study's name needs letters"),
        (("suggest", "night", "  "), "A suggestion needs a text"),
        (("suggest", "night", "x" * 4001), "this one has 4,001"),
        (("suggest", "night", "x", "--remote", "no"), "git remote add no ADDRESS"),
        (("stop", "night"), "No session of study 'night' runs in this clone"),
        (("stop", "night", "--remote", "no"), "git remote add no ADDRESS"),
        (("program", "nihgt"), "There is no study 'nihgt' here"),
        (("compare", "night"), "needs two studies or more, and found night alone"),
        (("compare", "night", "nihgt"), "There is no study 'nihgt' here"),
    ],
)
def test_a_mistake_is_told_in_one_sentence(
    clone: Path, shared_cache: Path, arguments: tuple[str, ...], sentence: str
) -> None:
    begin_study(clone)
    done = run_nightlab(clone, shared_cache, *arguments)
    assert done.returncode == 2
    assert sentence in done.stderr
    assert done.stderr.count("\n") == 1
    assert done.stdout == ""


def test_the_queue_is_listed(clone: Path, shared_cache: Path) -> None:
    begin_study(clone)
    empty = expect_success(run_nightlab(clone, shared_cache, "suggest", "night"))
    assert "No suggestion yet" in empty
    made = run_nightlab(clone, shared_cache, "suggest", "night", "try [bold]SSSL", "--json")
    assert json.loads(expect_success(made))["text"] == "try [bold]SSSL"
    listed = expect_success(run_nightlab(clone, shared_cache, "suggest", "night"))
    assert "waits" in listed
    assert "try [bold]SSSL" in listed
    queue = run_nightlab(clone, shared_cache, "suggest", "night", "--json")
    assert [each["trial"] for each in json.loads(expect_success(queue))] == [None]


def test_a_trial_shows_the_text_of_the_suggestion_that_it_took_up(clone: Path) -> None:
    begin_study(clone)
    ledger = Ledger(clone, "night")
    one, _ = (add_suggestion(ledger, text) for text in ("try [bold]SSSL", "another"))
    record = sample_record(1, scores=(1.5,)).model_copy(update={"suggestions": (one.name,)})
    console = Terminal(io.StringIO(), width=120, record=True)
    print_trial(console, record, "", suggestions(ledger))
    said = console.export_text()
    assert "shown the suggestion: try [bold]SSSL\n" in said
    assert "another" not in said
