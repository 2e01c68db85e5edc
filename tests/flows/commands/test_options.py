import subprocess
import sys
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

import pytest
import typer

from flows.command_line import app
from flows.commands import sessions
from flows.commands.options import NOT_OFFERED
from nightlab.settings import SessionSettings
from tests.conftest import nightlab_command, nightlab_environment

FIELDS = SessionSettings.model_fields
OFFERED = [name for name in FIELDS if name not in NOT_OFFERED]
FLAGS = [name for name in OFFERED if FIELDS[name].annotation is bool]
RESEARCH = typer.main.get_command(app).commands["research"]  # type: ignore[attr-defined]


def flags_of(name: str) -> set[str]:
    (option,) = (each for each in RESEARCH.params if each.name == name)
    return {*option.opts, *option.secondary_opts}


@pytest.fixture
def given(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A function that gives ``research`` arguments, and returns the settings that it makes."""
    (tmp_path / ".git").mkdir()
    (tmp_path / "trainer").mkdir()
    (tmp_path / "trainer" / "train.py").touch()
    monkeypatch.chdir(tmp_path)
    runs: list[SessionSettings] = []
    monkeypatch.setattr(sessions, "_run_session", lambda settings, _: runs.append(settings))

    def research(*arguments: str) -> SessionSettings:
        app(["research", *arguments], standalone_mode=False)
        return runs.pop()

    return research


def in_terminal(tmp_path: Path, *arguments: str) -> "subprocess.CompletedProcess[str]":
    """Run ``research`` outside of any clone, where no session can begin by mistake."""
    extra = {"COLUMNS": "600", "NO_COLOR": "1", "PYTHONPATH": str(Path.cwd())}
    return subprocess.run(
        nightlab_command("research", *arguments),
        cwd=tmp_path,
        env=nightlab_environment(tmp_path, extra),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_every_setting_is_an_option_unless_it_is_for_deployments() -> None:
    shown = [option.name for option in RESEARCH.params]
    assert shown[:2] == ["study", "remote"]
    assert sorted(shown) == sorted(OFFERED)
    assert {"program"} == NOT_OFFERED < set(FIELDS)
    for name in OFFERED:
        assert "--" + name.replace("_", "-") in flags_of(name)


def test_help_shows_every_setting_with_its_description_and_default(tmp_path: Path) -> None:
    shown = in_terminal(tmp_path, "--help").stdout
    for name in OFFERED:
        assert FIELDS[name].description
        assert FIELDS[name].description in shown, name
    lines = {
        line.split()[1]: line for line in shown.splitlines() if line.lstrip("│ ").startswith("--")
    }
    assert "(default: quick)" in lines["--preset"]
    assert "(default: 600)" in lines["--model-timeout-seconds"]
    assert "(default: 0)" in lines["--seed"]
    assert "(default: yes)" in lines["--prune"]
    assert "default" not in lines["--trust-candidate"]


def test_a_description_names_every_choice() -> None:
    for name, field in FIELDS.items():
        if get_origin(field.annotation) is Literal:
            for choice in get_args(field.annotation):
                assert f" {choice} " in (field.description or ""), name


def test_only_what_was_given_reaches_the_settings(given: Any) -> None:
    settings = given("--study", "night", "--trials", "0", "--hours", "1.5", "--require-rung", "1")
    assert settings.model_fields_set == {"study", "trials", "hours", "require_rung"}
    expected = SessionSettings(study="night", trials=0, hours=1.5, require_rung="1")
    assert settings == expected
    assert given("--study", "night").model_fields_set == {"study"}


def test_a_flag_that_is_on_by_default_can_be_switched_off(given: Any) -> None:
    on, off = ([name for name in FLAGS if FIELDS[name].default is each] for each in (True, False))
    assert "prune" in on
    assert "trust_candidate" in off
    for name in on:
        flag = name.replace("_", "-")
        assert flags_of(name) == {f"--{flag}", f"--no-{flag}"}
        for argument, wanted in ((f"--{flag}", True), (f"--no-{flag}", False)):
            settings = given("--study", "night", argument)
            assert settings.model_fields_set == {"study", name}
            assert getattr(settings, name) is wanted
    for name in off:
        (flag,) = flags_of(name)
        assert getattr(given("--study", "night", flag), name) is True


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("--preset", "huge"), "--preset: Input should be 'quick', 'laptop' or 'h100' (found"),
        (("--trials", "-1"), "--trials: Input should be greater than or equal to 0 (found -1)"),
        (("--trust-candidate", "--require-rung", "2"), "give one of the two."),
    ],
)
def test_a_wrong_value_is_refused_in_one_sentence(
    tmp_path: Path, arguments: tuple[str, ...], sentence: str
) -> None:
    done = in_terminal(tmp_path, "--study", "night", *arguments)
    assert done.returncode == 2
    assert done.stderr.startswith("nightlab: ")
    assert sentence in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_a_study_is_not_taken_by_default(tmp_path: Path) -> None:
    done = in_terminal(tmp_path, "--trials", "1")
    assert done.returncode == 2
    assert "Missing option '--study'" in done.stderr


def test_help_waits_for_no_heavy_import() -> None:
    heavy = "{'prefect', 'mlflow', 'litellm', 'torch', 'optuna', 'numpy', 'scipy', 'matplotlib'}"
    code = f"import sys, flows.command_line; print(sorted({heavy} & set(sys.modules)))"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout.strip() == "[]"
