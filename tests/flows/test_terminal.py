"""Whoever prints, no key reaches the terminal."""

import os
import subprocess
import sys
from pathlib import Path

from tests.conftest import ROOT, make_clone, run_nightlab

KEY = "sk-terminal-0123456789"
PRINTS = """
import sys
from rich.console import Console
from flows.terminal import guard_terminal
guard_terminal()
key = "sk-terminal-0123456789"
print("printed", key, file=sys.stdout)
sys.stderr.writelines(["lines ", key[:9], key[9:], "\\n"])
Console(width=20).print(f"wrapped {key} and {key}", soft_wrap=False)
print(sys.stdout.isatty(), sys.stdout.encoding, sys.stdout.fileno(), flush=True)
raise ValueError(f"raised {key}")
"""


def test_what_is_printed_wrapped_or_raised_is_without_keys() -> None:
    done = subprocess.run(
        [sys.executable, "-c", PRINTS],
        cwd=ROOT,
        env={**os.environ, "SOME_API_KEY": KEY, "PYTHONUTF8": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert "0123" not in done.stdout + done.stderr
    assert "printed [redacted]" in done.stdout
    assert "lines [redacted]" in done.stderr
    assert "ValueError: raised [redacted]" in done.stderr
    assert "False utf-8 1" in done.stdout


def test_the_command_line_prints_no_key(tmp_path: Path) -> None:
    clone = make_clone(tmp_path / "clone")
    said = run_nightlab(clone, tmp_path, "show", KEY, extra={"SOME_API_KEY": KEY})
    assert said.returncode != 0
    assert "[redacted]" in said.stderr
    assert KEY not in said.stdout + said.stderr
    key = "sk-Proj_0123456789"
    said = run_nightlab(clone, tmp_path, "research", "--study", "x", "--api-key-secret", key)
    assert said.returncode != 0
    assert "it names where keys are, never a key" in said.stderr
    assert key not in said.stdout + said.stderr
