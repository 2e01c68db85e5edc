"""A night with a shell script as the agent: good edits, mischief, and a hang."""

from pathlib import Path

import pytest

from nightlab.ledger import Ledger
from nightlab.records import Reason, TrialRecord, Verdict
from tests.conftest import expect_success, git, make_clone, run_nightlab

TRAINER = "trainer/train.py"
GOOD_RATE, BAD_RATE = "EMBEDDING_LEARNING_RATE = 2.0 ", "EMBEDDING_LEARNING_RATE = 0.002 "
KEY = "sk-canary-0123456789"
AGENT = f"""\
trial=$(sed -n 's/^Propose trial \\([0-9]*\\)\\.$/\\1/p' "$NIGHTLAB_BRIEF")
note() {{ printf 'TITLE: %s\\nHYPOTHESIS: It is a test.\\nEXPECTED: -0.1\\n' "$1" > IDEA.md; }}
case $trial in
1) sed -i 's/^{BAD_RATE}/{GOOD_RATE}/' {TRAINER}; note 'Learn again' ;;
2) sed -i 's/^{GOOD_RATE}/EMBEDDING_LEARNING_RATE = 0.001 /' {TRAINER}; note 'Forget' ;;
3) sed -i 's/^LOGIT_CAP = 15.0/LOGIT_CAP = 16.0/' {TRAINER}; note 'Touch more'
   rm trainer/runtime.py; echo 'import nothing' > sitecustomize.py
   git -C "$STUDY" status >/dev/null && echo "$AGENT_API_KEY" ;;
4) sleep 600 & sleep 600 ;;
5) if grep -q planted "$NIGHTLAB_BRIEF"; then sed -i '/planted/d' {TRAINER}; note 'Mended'
   else sed -i 's/^def main() -> None:/&\\n    raise RuntimeError("planted")/' {TRAINER}; fi
   sed -i 's/^LOGIT_CAP = 15.0/LOGIT_CAP = 14.0/' {TRAINER} ;;
6) yes flood | head -c 5000000; echo 'I may not write here.' ;;
esac
"""


@pytest.mark.slow
def test_edits_are_judged_by_their_merit_and_mischief_is_reported(
    tmp_path: Path, shared_cache: Path, prefect_api: dict[str, str]
) -> None:
    clone = make_clone(tmp_path / "clone")
    trainer = clone / TRAINER
    trainer.write_text(trainer.read_text().replace(GOOD_RATE, BAD_RATE))
    git(clone, "-c", "user.name=T", "-c", "user.email=t@localhost", "commit", "-qam", "Learn less")
    script = tmp_path / "agent.sh"
    script.write_text(AGENT)
    done = run_nightlab(
        clone,
        shared_cache,
        *(
            "research",
            "--study",
            "night",
            "--trials",
            "6",
            "--budget-tokens",
            "40960",
            "--preflight-seconds",
            "1",
        ),
        *("--confirm-replicates", "0", "--command-timeout-seconds", "4"),
        *("--no-prefetch", "--proposer", "command", "--command", f"sh {script}"),
        extra={**prefect_api, "AGENT_API_KEY": KEY, "STUDY": str(clone)},
        timeout_seconds=900,
    )
    said = expect_success(done)
    assert "Traceback" not in said + done.stderr
    assert KEY not in said + done.stderr
    ledger = Ledger(clone, "night")
    by_number = {record.number: record for record in ledger.records()}

    assert by_number[1].verdict is Verdict.KEEP, by_number[1].decision.sentence
    assert by_number[1].title == "Learn again"
    assert (by_number[1].proposer, by_number[1].expected_bpb) == ("command", -0.1)
    assert by_number[2].verdict is Verdict.DISCARD
    assert _changes_one_file(clone, by_number[3])
    for part in ("sitecustomize.py (new)", "trainer/runtime.py (removed)"):
        assert part in by_number[3].note
        assert part in said
    for number, why in ((4, "still running after 4 s"), (6, "changed nothing")):
        assert by_number[number].verdict is Verdict.FAILED
        assert by_number[number].reason is Reason.NO_EDIT
        assert why in by_number[number].decision.sentence
    assert "bytes of output left out" in ledger.evidence(6).proposal.exchanges[0].answer
    assert by_number[5].title == "Mended"
    assert by_number[5].verdict in (Verdict.DISCARD, Verdict.KEEP)
    for number in by_number:
        assert KEY not in ledger.evidence(number).model_dump_json()

    assert (clone / "trainer" / "runtime.py").is_file()
    assert git(clone, "status", "--porcelain") == ""
    git(clone, "fsck", "--strict")
    shown = expect_success(run_nightlab(clone, shared_cache, "show", "night", "6"))
    assert "I may not write here." in shown
    assert "git show refs/nightlab/night/evidence/0006:answer-1.md" in shown


@pytest.mark.slow
def test_an_agent_that_may_not_edit_ends_its_night_after_three_runs(
    tmp_path: Path, shared_cache: Path, prefect_api: dict[str, str]
) -> None:
    clone = make_clone(tmp_path / "clone")
    runs = tmp_path / "runs"
    command = f"echo . >> {runs}; echo 'Edits were refused: I may not write.'"
    asked = ("research", "--study", "night", "--hours", "8", "--budget-tokens", "40960")
    done = run_nightlab(
        clone, shared_cache, *asked, "--command", command, extra=prefect_api, timeout_seconds=900
    )
    assert done.returncode != 0
    assert "Traceback" not in done.stdout + done.stderr
    assert "3 trials in a row failed" in done.stderr
    assert done.stderr.rstrip().endswith("Edits were refused: I may not write.")
    assert len(runs.read_text().split()) == 3
    reasons = [record.reason for record in Ledger(clone, "night").records()]
    assert reasons == [Reason.BASELINE, *[Reason.NO_EDIT] * 3]


def test_a_command_that_is_not_there_is_refused_before_anything_is_trained(
    clone: Path, shared_cache: Path
) -> None:
    asked = ("research", "--study", "night", "--command", "no-such-agent -p 'Do it'")
    done = run_nightlab(clone, shared_cache, *asked)
    assert done.returncode != 0
    assert "no program `no-such-agent` on the PATH" in done.stderr
    assert "Prefect" not in done.stdout


def _changes_one_file(clone: Path, record: TrialRecord) -> bool:
    changed = git(clone, "diff", "--name-only", record.parent, record.commit)
    return changed.split() == [TRAINER]
