"""The command proposer, with shell scripts as agents: good, broken, and hostile ones."""

import shlex
import subprocess
from pathlib import Path
from typing import Any

import pytest

from nightlab import events
from nightlab.errors import BudgetReached, ModelRefused, NoEdit, UsageError
from nightlab.proposers import NoModelAnswers, Spending, apply_edits, choose_proposer
from nightlab.proposers.brief import Brief, TriedChange
from nightlab.proposers.command.agent import (
    FIRST_REST_SECONDS,
    LONGEST_REST_SECONDS,
    last_lines,
    rest_seconds,
)
from nightlab.proposers.command.proposer import CommandProposer
from nightlab.proposers.prompts import PROMPT_VERSION
from nightlab.records import Mode, Proposal, Suggestion, utc_now
from nightlab.settings import SessionSettings
from tests.proposers.trainer_sample import SOURCE, sample_brief
from tests.samples import sample_record

CANARY = "sk-canary-0123456789"
ENVIRONMENT = {"PATH": "/usr/bin:/bin", "AGENT_API_KEY": CANARY}
DEEPER = "sed -i 's/^DEPTH = 4/DEPTH = 5/' trainer/train.py"
IDEA = "printf 'TITLE: Deeper\\nHYPOTHESIS: Depth helps.\\nEXPECTED: -0.01\\n' > IDEA.md"


def agent(
    script: str, seconds: float = 30.0, spending: Spending | None = None, **environment: str
) -> CommandProposer:
    return CommandProposer(script, seconds, {**ENVIRONMENT, **environment}, spending)


def propose(script: str, brief: Brief | None = None, **options: float) -> Proposal:
    return agent(script, **options).propose(brief or sample_brief(runtime_source="RUNTIME = 1\n"))


def changed(proposal: Proposal) -> str:
    assert proposal.error is None
    applied = apply_edits(SOURCE, proposal.edits)
    assert applied.error is None
    return applied.source


def test_an_edit_is_taken_with_its_idea() -> None:
    found = propose(f"{DEEPER}; {IDEA}; echo I am done")
    assert changed(found) == SOURCE.replace("DEPTH = 4", "DEPTH = 5")
    assert (found.title, found.hypothesis, found.expected_bpb) == ("Deeper", "Depth helps.", -0.01)
    assert (found.proposer, found.mode) == ("command", Mode.REFINE)
    assert found.model is not None
    assert found.model.startswith("sed -i")
    assert found.prompt_version == PROMPT_VERSION
    assert found.note == ""
    assert found.cost.seconds > 0
    assert found.cost.cost_usd is None
    assert "I am done" in found.exchanges[0].answer


def test_it_is_told_what_a_model_is_told_and_how_to_answer() -> None:
    wish = Suggestion(study="sample", name="0003", text="Try a wider model", made_at=utc_now())
    brief = sample_brief(
        program="Lower the score by all means.",
        runtime_source="RUNTIME = 1\n",
        records=(sample_record(1, scores=(2.5,)),),
        suggestions=(wish,),
    )
    script = f'cat "$NIGHTLAB_BRIEF" trainer/runtime.py; git log --oneline; {DEEPER}'
    found = propose(script, brief)
    said = found.exchanges[0].answer
    for part in ("by all means", "idea 1", "Try a wider model", "IDEA.md", "RUNTIME = 1"):
        assert part in said
    assert "The incumbent" in said
    assert "SEARCH" not in found.exchanges[0].prompt.replace("SEARCH/REPLACE", "")
    assert found.suggestions == ("0003",)


def test_without_an_idea_file_the_output_or_the_change_speaks() -> None:
    told = propose(f"{DEEPER}; echo 'TITLE: From what it printed'")
    assert told.title == "From what it printed"
    silent = propose(DEEPER)
    assert "DEPTH = 5" in silent.title


def test_what_else_it_touched_is_reported_and_dropped() -> None:
    heard: list[str] = []
    script = f"{DEEPER}; echo x >> trainer/runtime.py; echo y > new.py; rm BRIEF.md; mkdir -p a/b"
    with events.listening(
        lambda event: heard.append(event.text) if isinstance(event, events.Notice) else None
    ):
        found = propose(script)
    changed(found)
    for part in ("trainer/runtime.py (changed)", "new.py (new)", "BRIEF.md (removed)"):
        assert part in found.note
        assert any(part in text for text in heard)
    assert "IDEA.md" not in found.note


def test_commits_and_other_repositories_are_of_no_effect(tmp_path: Path) -> None:
    """An agent that commits does so in its own repository, whatever git is told outside."""
    study = tmp_path / "study"
    subprocess.run(["git", "init", "-q", str(study)], check=True)
    identity = "-c user.name=a -c user.email=a@localhost"
    script = f"{DEEPER}; git add -A && git {identity} commit -q -m mine && git rev-parse HEAD"
    found = agent(script, GIT_DIR=str(study / ".git"), GIT_WORK_TREE=str(study)).propose(
        sample_brief(runtime_source="")
    )
    assert changed(found).count("DEPTH = 5") == 1
    heads = subprocess.run(
        ["git", "-C", str(study), "for-each-ref"], capture_output=True, text=True, check=True
    )
    assert heads.stdout == ""


@pytest.mark.parametrize(
    ("script", "said"),
    [
        (
            "true",
            "status 0 and changed nothing in trainer/train.py of the folder that it ran in. It",
        ),
        ("cat trainer/train.py > new; mv new trainer/train.py", "changed nothing in"),
        (f"{DEEPER}; git checkout -q .", "changed nothing in"),
        ("sed -i 's/$/\r/' trainer/train.py", "changed nothing in"),
        ("printf '\\n\\n' >> trainer/train.py", "changed nothing in"),
        ("echo '# A thought.' >> trainer/train.py", "nothing but comments and white space"),
        ("sed -i 's/2..12/2..24/; s/ + / +  /' trainer/train.py", "nothing but comments"),
        (
            f"cp trainer/train.py . && cd trainer && cd .. && {DEEPER.replace('trainer/', '')}",
            "touched other files: train.py (new)",
        ),
        ("echo 'def f(): ...' >> trainer/runtime.py; echo done", "trainer/runtime.py (changed)"),
        ("echo Edits were refused.", "It printed at the end: Edits were refused."),
        ("rm trainer/train.py", "not there as a file"),
        ('rm -rf "$PWD"', "not there as a file"),
        ("ln -sf /etc/passwd trainer/train.py", "not there as a file"),
        (f"{DEEPER}; mv trainer elsewhere; ln -s elsewhere trainer", "not there as a file"),
        ("rm trainer/train.py; mkfifo trainer/train.py", "not a plain file"),
        ("rm trainer/train.py; mkdir trainer/train.py", "not a plain file"),
    ],
)
def test_a_command_that_leaves_nothing_to_train_has_failed(script: str, said: str) -> None:
    with pytest.raises(NoEdit) as caught:
        propose(script)
    assert said in str(caught.value)


def test_what_it_said_is_kept_though_it_failed() -> None:
    spending = Spending(SessionSettings())
    script = f"seq 1000; echo 'I may not edit. My key is {CANARY}'"
    with pytest.raises(NoEdit) as caught:
        agent(script, spending=spending).propose(sample_brief())
    assert "… " not in str(caught.value)
    assert "997 998 999 1000 I may not edit. My key is [redacted]" in str(caught.value)
    said = spending.take_failed_runs()
    assert [last_lines(each.answer).splitlines()[-2:] for each in said] == [
        ["1000", "I may not edit. My key is [redacted]"]
    ]
    assert said[0].prompt.endswith("Propose trial 1.\n\n")
    cost = spending.take_unanswered()
    assert (cost.calls, cost.cost_usd) == (1, None)
    assert cost.seconds > 0
    assert not spending.take_failed_runs()


@pytest.mark.parametrize("end", ["true", "exit 1"])
def test_a_command_that_keeps_failing_rests(tmp_path: Path, end: str) -> None:
    runs = tmp_path / "runs"
    idle = agent(f"echo . >> {runs}; echo Not allowed; {end}")
    for _ in range(2):
        with pytest.raises((NoEdit, NoModelAnswers), match="end: Not allowed"):
            idle.propose(sample_brief())
    with pytest.raises(NoModelAnswers, match=r"failed 2 times in a row.*Not allowed") as caught:
        idle.propose(sample_brief())
    assert len(runs.read_text().split()) == 2
    rest = caught.value.retry_after_seconds
    assert rest is not None
    assert FIRST_REST_SECONDS - 30 < rest <= FIRST_REST_SECONDS


def test_it_rests_longer_each_time() -> None:
    rests = [rest_seconds(failures) for failures in range(1_000)]
    assert rests[:4] == [0, 0, FIRST_REST_SECONDS, 2 * FIRST_REST_SECONDS]
    assert rests == sorted(rests)
    assert rests[-1] == LONGEST_REST_SECONDS


def test_an_edit_between_failures_keeps_it_awake(tmp_path: Path) -> None:
    runs = tmp_path / "runs"
    mixed = agent(f"echo . >> {runs}; n=$(wc -l < {runs}); [ $((n % 2)) = 1 ] || {DEEPER}")
    for _ in range(2):
        with pytest.raises(NoEdit):
            mixed.propose(sample_brief())
        changed(mixed.propose(sample_brief()))


def test_a_cap_on_calls_counts_runs() -> None:
    spending = Spending(SessionSettings(max_model_calls=2))
    capped = agent(DEEPER, spending=spending)
    assert capped.propose(sample_brief()).cost.calls == 1
    assert spending.reached() is None
    capped.propose(sample_brief())
    assert spending.in_words() == "2 calls, whose tokens and dollars nobody reported"
    said = spending.reached()
    assert said is not None
    assert said.startswith("2 calls were given for models in this session, 2 calls are spent")
    with pytest.raises(BudgetReached):
        capped.propose(sample_brief())


@pytest.mark.parametrize(
    ("script", "said"),
    [
        ("head -c 400000 /dev/zero > trainer/train.py", "more than the 131072 bytes"),
        ("printf '\\377\\376' >> trainer/train.py", "not UTF-8"),
        ('echo "# $AGENT_API_KEY" >> trainer/train.py', "wrote a key of its environment"),
        (
            'printf "# %s" "$AGENT_API_KEY" | base64 -w0 | sed "s/^/# /" >> trainer/train.py',
            "wrote a key of its environment",
        ),
        ("echo 'def broken(' >> trainer/train.py", "would not parse"),
        (
            'awk \'BEGIN {printf "X = 1"; while (i++ < 3000) printf "+1"; print ""}\' '
            ">> trainer/train.py",
            "nested too deeply",
        ),
        ("echo 'import requests' >> trainer/train.py", "would import requests"),
        ("sed -i '/build_model/,$d' trainer/train.py", "must define the function build_model"),
    ],
)
def test_a_file_that_cannot_be_used_is_said(script: str, said: str) -> None:
    found = propose(script)
    assert found.error is not None
    assert said in found.error
    assert not found.edits
    assert CANARY not in found.model_dump_json()


def test_one_that_hangs_is_ended_and_nothing_of_it_taken() -> None:
    with pytest.raises(NoEdit, match=r"was ended: it was still running after 1 s\..*end: Thinking"):
        propose(f"{DEEPER}; echo Thinking; sleep 600", seconds=1.0)


def test_a_flood_of_output_is_cut() -> None:
    found = propose(f"yes flood | head -c 3000000; {DEEPER}")
    changed(found)
    assert "bytes of output left out" in found.exchanges[0].answer
    assert len(found.exchanges[0].answer) < 100_000


def test_a_broken_file_is_given_back_once_with_the_reason() -> None:
    script = (
        'if grep -q "To be mended" "$NIGHTLAB_BRIEF"; '
        "then sed -i '/^def broken/d' trainer/train.py; "
        f"else {DEEPER}; echo 'def broken(' >> trainer/train.py; fi; {IDEA}"
    )
    found = propose(script)
    assert changed(found) == SOURCE.replace("DEPTH = 4", "DEPTH = 5")
    assert len(found.exchanges) == 2
    assert "would not parse" in found.exchanges[1].prompt


def test_one_that_fails_on_a_broken_file_leaves_what_is_wrong_with_it() -> None:
    script = (
        'if grep -q "To be mended" "$NIGHTLAB_BRIEF"; then echo Overloaded; exit 1; '
        f"else {DEEPER}; echo 'def broken(' >> trainer/train.py; fi"
    )
    found = propose(script)
    assert found.error is not None
    assert "would not parse" in found.error
    assert "could not be given back" in found.error
    assert "Overloaded" in found.error
    assert (found.cost.calls, len(found.exchanges)) == (1, 1)


@pytest.mark.parametrize("script", ["true", "git checkout -q .", "echo '# x' >> trainer/train.py"])
def test_one_that_mends_nothing_has_failed(script: str) -> None:
    first = propose(DEEPER)
    with pytest.raises(NoEdit):
        agent(script).repair(sample_brief(), first, "RuntimeError: planted")


def test_what_failed_its_dry_run_is_given_back() -> None:
    first = propose(f"{DEEPER}; {IDEA}")
    script = f"sed -i s/^WIDTH.*/WIDTH=96/ trainer/train.py; {IDEA}"
    mended = agent(script).repair(sample_brief(), first, "RuntimeError: planted")
    assert mended is not None
    source = changed(mended)
    assert "DEPTH = 5" in source
    assert "WIDTH=96" in source
    assert "planted" in mended.exchanges[0].prompt
    assert "as you left it" in mended.exchanges[0].prompt


def test_a_status_other_than_0_is_a_failure_that_a_later_trial_may_mend() -> None:
    with pytest.raises(NoModelAnswers, match=r"status 3: .*status 0 .*end: overloaded") as caught:
        propose(f"{DEEPER}; echo overloaded; exit 3")
    assert caught.value.retry_after_seconds is None, "at once, by the retries that asking has"


@pytest.mark.parametrize(
    "said",
    [
        "usage: agent [-h] [--model MODEL]\nagent: error: unrecognized arguments: --modle x",
        "usage: agent [-h]\nagent: error: the following arguments are required: prompt",
        "Usage: agent [OPTIONS]\nTry 'agent --help' for help.\n\nError: No such option: --modle",
        "error: unexpected argument '--modle' found\n\n  tip: a similar argument exists: '--model'",
        "error: invalid value 'x' for '--mode <MODE>'\n\nFor more information, try '--help'.",
        "error: unknown option '--modle'\n(Did you mean --model?)",
        "Options:\n  -p  print\n\nUnknown arguments: modle, m",
        "flag provided but not defined: -modle\nUsage of agent:\n  -model string",
        "Error: unknown flag: --modle",
        "agent: unrecognized option '--modle'",
        "agent: invalid option -- 'z'",
        "Nonexistent flag: --modle\nSee more help with --help",
        "agent: option requires an argument -- 'm'",
        "error: missing required argument 'prompt'",
        "Error: unknown command 'exce' for 'agent'",
    ],
)
def test_a_command_that_does_not_understand_its_options_is_refused(said: str) -> None:
    with pytest.raises(ModelRefused, match=r"(?s)status 2 at once, .*correct --command.*") as found:
        propose(f"printf '%s\\n' {shlex.quote(said)}; exit 2")
    assert said.splitlines()[-1].strip() in str(found.value)
    assert found.value.cause.endswith(" 2")


@pytest.mark.parametrize(
    "said",
    [
        "Usage limit reached. Your limit resets at 5am.",
        "Token usage: 1,234 in, 56 out\nusage: 1,290 tokens",
        "API Error: 529 overloaded_error",
        "stream error: unexpected status 503 Service Unavailable; retrying 5/5",
        "Error: fetch failed: connect ECONNREFUSED 127.0.0.1:443",
        "error: unexpected end of stream",
        "Missing or invalid response from the server.",
    ],
)
def test_what_an_outage_says_is_none_of_the_options(said: str) -> None:
    with pytest.raises(NoModelAnswers):
        propose(f"printf '%s\\n' {shlex.quote(said)}; exit 1")


@pytest.mark.parametrize("before", ["echo x > new.py", IDEA])
def test_who_did_something_first_did_understand_its_options(before: str) -> None:
    with pytest.raises(NoModelAnswers):
        propose(f"{before}; echo 'error: unknown option --x in a tool'; exit 1")


@pytest.mark.parametrize("command", ["no-such-agent --fast", "/etc/passwd"])
def test_a_command_that_is_not_there_is_refused_for_good(command: str) -> None:
    with pytest.raises(ModelRefused, match="--command"):
        propose(command)


def test_keys_of_the_environment_do_not_come_back() -> None:
    """The agent needs its key; the record of what it did does not."""
    script = f'env; echo "TITLE: $AGENT_API_KEY" > IDEA.md; : > "$AGENT_API_KEY"; {DEEPER}'
    found = propose(script)
    changed(found)
    assert "AGENT_API_KEY=[redacted]" in found.exchanges[0].answer
    assert CANARY not in found.model_dump_json()
    with pytest.raises(NoModelAnswers) as caught:
        propose("env; exit 1")
    assert CANARY not in str(caught.value)
    for after in (285, 290, 295):  # Of 300 characters: a cut leaves no half of a key.
        with pytest.raises(NoModelAnswers) as caught:
            propose(f'printf "%s" "$AGENT_API_KEY"; printf ".%.0s" $(seq {after}); exit 1')
        assert "..." in str(caught.value)
        assert CANARY[-4:] not in str(caught.value)


def test_an_edit_near_a_tried_one_is_noted() -> None:
    diff = "--- a\n+++ b\n@@ -1 +1 @@\n-DEPTH = 4  # 2..12; blocks\n+DEPTH = 5  # 2..12; blocks\n"
    brief = sample_brief(
        records=(sample_record(1, scores=(2.6,)),), tried=(TriedChange(number=1, diff=diff),)
    )
    assert "near trial 1" in propose(DEEPER, brief).note


def test_nothing_is_left_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    propose(f"mkdir -p deep/er; chmod 0 deep; {DEEPER}")
    assert list(tmp_path.iterdir()) == []


def test_it_is_chosen_with_its_command() -> None:
    for name in ("command", "auto"):
        settings = SessionSettings(proposer=name, command="true --go")
        chosen = choose_proposer(settings, environment=ENVIRONMENT)
        assert isinstance(chosen.proposer, CommandProposer)
        assert "`true --go`" in chosen.why
    settings = SessionSettings(proposer="hybrid", command="true --go")
    assert choose_proposer(settings, environment=ENVIRONMENT).proposer.model == "true --go"


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"proposer": "command"}, "--command"),
        ({"proposer": "command", "command": "  "}, "--command"),
        ({"proposer": "knobs", "command": "x"}, "--proposer command"),
        ({"proposer": "hybrid", "command": "x", "model": "openai/y"}, "leave --model or --command"),
        ({"proposer": "command", "command": f"KEY={CANARY} agent"}, "single quotes"),
        ({"command": "no-such-agent --go"}, "no program `no-such-agent` on the PATH"),
        ({"proposer": "hybrid", "command": "no-such-agent"}, "no program `no-such-agent`"),
        ({"command": "true", "max_cost_usd": 1.0}, "so --max-cost-usd cannot be kept"),
        ({"command": "true", "max_study_model_tokens": 9}, "so --max-study-model-tokens cannot"),
        (
            {"proposer": "hybrid", "command": "true", "max_cost_usd": 0.0, "max_model_tokens": 5},
            "so --max-cost-usd and --max-model-tokens cannot be kept",
        ),
    ],
)
def test_settings_that_do_not_fit_are_told(settings: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        choose_proposer(SessionSettings(**settings), environment=ENVIRONMENT)
