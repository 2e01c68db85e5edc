"""What a command ends with, and how early: a mistake is told before anything heavy is imported."""

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from flows.command_line import main
from nightlab import errors
from nightlab.errors import NightlabError, StudyBusy, UsageError
from nightlab.ledger import Ledger, hold_session
from tests.conftest import ROOT, git, run_nightlab

HEAVY = ("prefect", "mlflow", "litellm", "torch", "optuna", "matplotlib")


def all_errors(kind: type[NightlabError] = NightlabError) -> Iterator[type[NightlabError]]:
    yield kind
    for each in kind.__subclasses__():
        yield from all_errors(each)


def test_a_mistake_ends_with_two_and_all_else_with_one() -> None:
    machines = {StudyBusy, errors.SandboxUnavailable, *errors.SandboxUnavailable.__subclasses__()}
    for each in all_errors():
        is_mistake = issubclass(each, UsageError) and each not in machines
        assert each.exit_status == (2 if is_mistake else 1), each


@pytest.fixture
def light(tmp_path: Path) -> str:
    """A folder for PYTHONPATH in which what is heavy cannot be imported."""
    for name in HEAVY:
        (tmp_path / "light" / name).mkdir(parents=True)
        refusal = f"raise RuntimeError('{name} was imported')\n"
        (tmp_path / "light" / name / "__init__.py").write_text(refusal)
    return str(tmp_path / "light")


@pytest.fixture
def small_clone(tmp_path: Path) -> Path:
    """A clone with little more than what makes one."""
    root = tmp_path / "small"
    (root / "trainer").mkdir(parents=True)
    (root / "trainer" / "train.py").write_text("DEPTH = 4\n")
    (root / "program.md").write_text("Learn.\n")
    git(root, "init", "-q", "-b", "main")
    git(root, "add", ".")
    git(root, "-c", "user.name=Ada", "-c", "user.email=ada@localhost", "commit", "-qm", "Begin")
    return root


def run_lightly(clone: Path, light: str, *arguments: str) -> "subprocess.CompletedProcess[str]":
    extra = {"PYTHONPATH": f"{light}:{ROOT}"}
    return run_nightlab(clone, clone.parent / "cache", *arguments, extra=extra, timeout_seconds=60)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("research", "--study", "s", "--preset", "h100"), "MB of text and embedded has"),
        (("research", "--study", "s", "--remote", "no"), "`git remote add no ADDRESS`"),
        (("research", "--study", "s", "--corpus", "path:/no/such"), "there is no such folder"),
        (("research", "--study", "s", "--hours", "0"), "--hours: Input should be greater than 0"),
        (("retry", "s", "0", "--remote", "no"), "`git remote add no ADDRESS`"),
        (("confirm", "s", "--remote", "no"), "`git remote add no ADDRESS`"),
        (("consolidate", "s", "--remote", "no"), "`git remote add no ADDRESS`"),
        (("approve", "s", "1", "--remote", "no"), "`git remote add no ADDRESS`"),
    ],
)
def test_a_mistake_is_told_before_anything_heavy_is_imported(
    small_clone: Path, light: str, arguments: tuple[str, ...], sentence: str
) -> None:
    done = run_lightly(small_clone, light, *arguments)
    assert sentence in done.stderr
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert done.stdout == ""


def test_a_study_that_is_held_ends_with_one(small_clone: Path, light: str) -> None:
    with hold_session(Ledger(small_clone, "s"), None, holder="a test"):
        done = run_lightly(small_clone, light, "research", "--study", "s")
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1


def test_what_the_system_refuses_ends_with_one(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse() -> None:
        raise PermissionError(13, "Permission denied", "/somewhere")

    monkeypatch.setattr("flows.command_line.app", refuse)
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 1
    assert "The system refused" in capsys.readouterr().err
