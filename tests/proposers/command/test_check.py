"""Commands that can certainly not run here, and those that may."""

from pathlib import Path

import pytest

from nightlab.proposers.command.check import command_problem

ENVIRONMENT = {"PATH": "/usr/bin:/bin"}


@pytest.fixture
def agent(tmp_path: Path) -> Path:
    """An agent that may be run, in a folder with a blank, beside a file that may not."""
    folder = tmp_path / "my agents"
    folder.mkdir()
    for name, mode in (("agent", 0o755), ("plain", 0o644)):
        (folder / name).write_text("#!/bin/sh\n", encoding="utf-8")
        (folder / name).chmod(mode)
    return folder / "agent"


@pytest.mark.parametrize(
    "command",
    [
        'nosuch -p "Do what BRIEF.md says; then || stop & rest"',
        "env X=1 nosuch --go",
        "X=1 Y='a b' nosuch",
        "exec nosuch",
        "nohup nosuch > log 2>&1",
        "'nosuch' -p",
        '"nosuch" -p "$(cat BRIEF.md)"',
        "cd /tmp && nosuch",
        "cd /tmp; nosuch",
        "nosuch && echo done",
        "nosuch 2>&1 | tee log",
        "cat BRIEF.md | nosuch -p",
        "< BRIEF.md nosuch",
        "nosuch;",
        "nosuch \\\n  --go",
        "nosuch",
    ],
)
def test_a_program_that_is_on_no_path_is_refused(command: str) -> None:
    problem = command_problem(command, ENVIRONMENT)
    assert problem == (
        "The command cannot run here: there is no program `nosuch` on the PATH (install it, or "
        "name it by its whole path in --command)."
    )


@pytest.mark.parametrize(
    "command",
    [
        "true",
        "env X=1 sed -i s/4/5/ trainer/train.py",
        "cd trainer && sed -i s/4/5/ train.py",
        ". /nowhere/env.sh && nosuch",
        "export PATH=/opt/bin:$PATH && nosuch",
        "PATH=/opt/bin:$PATH nosuch",
        "cp BRIEF.md nosuch && nosuch",
        "nosuch || sed -i s/4/5/ trainer/train.py",
        "nosuch; sed -i s/4/5/ trainer/train.py",
        "nosuch & sed -i s/4/5/ trainer/train.py",
        'nosuch "it\'s" || true',
        "$AGENT --go",
        "~/bin/agent",
        "`which agent` --go",
        "if nosuch; then true; else true; fi",
        "for i in 1 2; do nosuch; done",
        "(nosuch); true",
        "cut -d '|' -f 1 BRIEF.md",
        "cut -d \\| -f 1 BRIEF.md",
        "echo '; nosuch' | cat",
        "cat <<EOF | cat\nnosuch\nEOF",
        "# nosuch\ntrue",
        "sh -c nosuch",
        "command -v nosuch",
        "env -i nosuch",
        "cd $SUB && ./agent",
        "cat trainer/train.py",
        "sh",
    ],
)
def test_what_may_run_is_not_refused(command: str) -> None:
    assert command_problem(command, ENVIRONMENT) is None


def test_paths_may_hold_blanks(agent: Path) -> None:
    escaped = str(agent).replace(" ", "\\ ")
    for command in (f"'{agent}' --go", f'"{agent}"', escaped, f"sh '{agent}'", f"sh '{agent}' x"):
        assert command_problem(command, ENVIRONMENT) is None, command
    assert command_problem(f"cd '{agent.parent}' && ./agent", ENVIRONMENT) is None
    assert command_problem("agent", {"PATH": f"{agent.parent}:/usr/bin:/bin"}) is None


@pytest.mark.parametrize(
    ("command", "said"),
    [
        ("'{0}/plain' --go", "my agents/plain` may not be executed"),
        ("'{0}/other'", "my agents/other` is not there"),
        ("'{0}'", "my agents` is a folder"),
        ("cd '{0}' && ./other", "my agents/other` is not there"),
        ("sh '{0}/other'", "my agents/other` is not there"),
        ("./agent", "`./agent` is looked for in the folder that it is given, which holds only"),
        ("sh agent.sh --go", "`agent.sh` is looked for in the folder that it is given"),
        ("cd trainer && ./agent", "`./agent` is looked for in the folder that it is given"),
        ("trainer/train.py", "`trainer/train.py` may not be executed"),
        ("plain", "no program `plain` on the PATH"),
        ("if", "cannot be read by /bin/sh"),
        ("agent 'it", "cannot be read by /bin/sh"),
        ("agent \0", "cannot be read by /bin/sh"),
        ("x" * 200_000, "cannot be read by /bin/sh"),
    ],
)
def test_what_is_not_as_it_must_be_is_said(agent: Path, command: str, said: str) -> None:
    environment = {"PATH": f"/usr/bin:/bin:{agent.parent}"}
    problem = command_problem(command.replace("{0}", str(agent.parent)), environment)
    assert problem is not None
    assert said in problem
    assert "\n" not in problem
