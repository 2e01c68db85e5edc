"""`.ci/enclosure`: where the tests run as an ordinary user, and where faults are planted."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT


def enclosed(*words: str, venv: Path = Path(sys.prefix)) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [str(ROOT / ".ci" / "enclosure"), *words],
        env={**os.environ, "VENV": str(venv)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_an_ordinary_user_has_the_environment_and_this_checkout() -> None:
    code = "import os, nightlab, torch; print(os.getuid(), nightlab.__file__)"
    said = enclosed("python", "-c", code)
    uid, place = said.stdout.split()
    assert int(uid) == (1234 if os.geteuid() == 0 else os.geteuid())
    assert place == str(ROOT / "nightlab" / "__init__.py")


@pytest.mark.parametrize("account", ["user", "root"])
def test_nothing_that_is_done_inside_is_done_outside(account: str, tmp_path: Path) -> None:
    if account == "root" and os.geteuid() != 0:
        pytest.skip("only root can be root in there")
    # Attempts that would do no harm, were they to succeed.
    script = f"""
        for place in nightlab {tmp_path} /usr/bin /etc "$(dirname "$(command -v python)")"; do
            echo > "$place/planted-by-test" || echo refused
        done 2>/dev/null
        kill -0 {os.getpid()} 2>/dev/null && echo reached
        ls /proc | grep -c '^[0-9]'
    """
    said = enclosed("--as", account, "bash", "-c", script)
    assert said.stdout.split()[:-1] == ["refused"] * 4, said
    assert int(said.stdout.split()[-1]) < 10
    assert not (ROOT / "nightlab" / "planted-by-test").exists()


def test_one_file_can_be_another_one(tmp_path: Path) -> None:
    other = tmp_path / "other.py"
    other.write_text("word = 7")
    other.chmod(0o644)
    said = enclosed("--over", f"{other}=nightlab/errors.py", "cat", "nightlab/errors.py")
    assert said.stdout == "word = 7"


def test_without_an_environment_it_says_what_to_do(tmp_path: Path) -> None:
    said = enclosed("true", venv=tmp_path)
    assert said.returncode == 2
    assert said.stderr.splitlines()[-1].endswith("run 'make setup'.")
