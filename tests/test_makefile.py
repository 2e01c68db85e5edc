"""`make` on machines that lack something: one sentence, before anything is installed."""

import os
import subprocess
from pathlib import Path

import pytest

from tests.conftest import ROOT


def make(folder: Path, *words: str) -> "subprocess.CompletedProcess[str]":
    """Run the clone's Makefile as from a terminal, even where another make runs the tests."""
    outer = ("MAKEFLAGS", "MAKEOVERRIDES", "MFLAGS", "MAKELEVEL", "TORCH", "VENV", "PYTHON")
    return subprocess.run(
        ["make", "-C", str(ROOT), f"VENV={folder / 'venv'}", *words],
        env={name: value for name, value in os.environ.items() if name not in outer},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def stand_in(folder: Path, script: str) -> Path:
    """A Python that answers what a machine's would."""
    path = folder / "python"
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return path


def test_a_python_that_does_not_fit_is_named_with_its_version(tmp_path: Path) -> None:
    python = stand_in(tmp_path, 'case "$1" in --version) echo Python 3.14.2;; *) exit 1;; esac')
    done = make(tmp_path, f"PYTHON={python}", "setup")
    assert done.returncode != 0
    assert "needs Python 3.11, 3.12 or 3.13, found Python 3.14.2" in done.stderr
    assert not (tmp_path / "venv").exists()


def test_a_machine_without_a_fitting_python_is_told_so(tmp_path: Path) -> None:
    done = make(tmp_path, "PYTHON=", "setup")
    assert "needs Python 3.11, 3.12 or 3.13, found" in done.stderr
    assert "command not found" not in done.stderr


def test_a_python_without_venv_is_told_what_to_install(tmp_path: Path) -> None:
    python = stand_in(tmp_path, 'case "$2" in *venv*) exit 1;; esac')
    done = make(tmp_path, f"PYTHON={python}", "setup")
    assert done.returncode != 0
    assert "has none: install it (Debian and Ubuntu: 'apt install python3-venv')" in done.stderr
    assert not (tmp_path / "venv").exists()


@pytest.mark.parametrize(
    ("words", "installed"),
    [
        ((), "'torch==2.13.0'"),
        (("TORCH=cpu",), "'torch==2.13.0+cpu' --index-url 'https://"),
        (("TORCH=cu126",), "'torch==2.13.0+cu126' --index-url 'https://"),
        (("TORCH=torch==2.14.0",), "'torch==2.14.0'"),
    ],
)
def test_the_build_of_torch_can_be_chosen(
    tmp_path: Path, words: tuple[str, ...], installed: str
) -> None:
    said = make(tmp_path, "--dry-run", *words, "setup").stdout
    assert f"pip-version-check {installed}" in said


def test_another_choice_of_torch_is_installed_over_the_first(tmp_path: Path) -> None:
    (tmp_path / "venv").mkdir()
    for name in (".ready-torch==2.13.0", ".ready-cu126"):
        ready = tmp_path / "venv" / name
        ready.touch()
        words = () if "cu126" not in name else ("TORCH=cu126",)
        assert "pip install" not in make(tmp_path, "--dry-run", *words, "setup").stdout
        ready.unlink()
        assert "pip install" in make(tmp_path, "--dry-run", *words, "setup").stdout
