"""What no command could work with is refused in one line, whatever library would have failed."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import find_free_port, nightlab_command, nightlab_environment

LATIN = os.fsencode("caf") + b"\xe9"


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Enough of a clone for a command to look for its settings."""
    root = tmp_path_factory.mktemp("clone")
    (root / ".git").mkdir()
    (root / "trainer").mkdir()
    (root / "trainer" / "train.py").touch()
    return root


def refused(root: Path, *arguments: str | bytes, extra: dict[str, str] | None = None) -> str:
    environment = nightlab_environment(root / "cache", {"PYTHONPATH": str(Path.cwd())})
    done = subprocess.run(
        [*nightlab_command(), *arguments],
        cwd=root,
        env={**environment, **(extra or {})},
        capture_output=True,
        text=True,
        errors="replace",
        timeout=120,
        check=False,
    )
    assert done.returncode != 0
    (line,) = done.stderr.splitlines()
    assert line.startswith("nightlab: ")
    return line


@pytest.mark.parametrize(
    ("extra", "found"),
    [
        ({"ALL_PROXY": "socks4://me:hidden@127.0.0.1:1080"}, "`unset ALL_PROXY`"),
        ({"https_proxy": "http://me:hidden@127.0.0.1:port"}, "`unset https_proxy`"),
        ({"SSL_CERT_FILE": "/no/such/file.pem"}, "`unset SSL_CERT_FILE`"),
        ({"REQUESTS_CA_BUNDLE": sys.executable}, "`unset REQUESTS_CA_BUNDLE`"),
        ({"NIGHTLAB_CACHE": "/proc/nightlab"}, "set NIGHTLAB_CACHE to another folder"),
        ({"NIGHTLAB_CACHE": "~nobody-of-this-name/x"}, "name the folder in full"),
        ({"PREFECT_HOME": "/proc/prefect"}, "set PREFECT_HOME to another folder"),
        ({"PREFECT_PROFILE": "gone"}, "prefect profile use NAME"),
        ({"NIGHTLAB_CACHE": os.fsdecode(LATIN)}, "have to be UTF-8"),
    ],
)
def test_an_environment_that_cannot_be(root: Path, extra: dict[str, str], found: str) -> None:
    line = refused(root, "ui", extra=extra)
    assert found in line
    assert "hidden" not in line


@pytest.mark.parametrize(
    "arguments",
    [
        ("research", "--study", "night", "--command", b"./" + LATIN + b".sh"),
        ("research", "--study", "night", b"--corpus=path:/data/" + LATIN),
        ("show", LATIN),
    ],
)
def test_an_argument_in_other_bytes(root: Path, arguments: tuple[str | bytes, ...]) -> None:
    assert "caf\\udce9" in refused(root, *arguments)


def test_a_folder_whose_name_is_in_other_bytes(root: Path) -> None:
    inside = Path(os.fsdecode(os.fsencode(root) + b"/" + LATIN))
    inside.mkdir()
    assert "caf\\udce9" in refused(inside, "studies")


def test_a_terminal_without_the_letters_gets_others(root: Path) -> None:
    extra = {"PYTHONIOENCODING": "ascii"}
    line = refused(root, "research", "--study", "night", "--preset", "ночь", extra=extra)
    assert "\\u043d\\u043e\\u0447\\u044c" in line


def test_a_store_that_is_damaged_is_not_served(root: Path) -> None:
    store = root / "mlruns" / "mlflow.db"
    store.parent.mkdir(exist_ok=True)
    store.write_text("no database")
    try:
        assert f"move {store} away" in refused(root, "ui", "--port", str(find_free_port()))
    finally:
        store.unlink()
