"""The folder of a kept model, and what an exported one does where torch is all there is."""

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from nightlab.errors import UsageError
from nightlab.records import Reason
from nightlab.study.model_folder import read_model, write_card, write_copy
from tests.kept_samples import champion, fill_folder, kept_model, tokenizer
from tests.study.trained import begun, finished, trained

TORCH_ALONE = (
    *("torch", "torchgen", "functorch", "typing_extensions", "sympy", "mpmath", "networkx"),
    *("jinja2", "markupsafe", "fsspec", "filelock"),
)
"""Torch, and what pip installs with it."""


@pytest.fixture
def kept(tmp_path: Path) -> Path:
    return fill_folder(tmp_path / "kept", champion())


@pytest.fixture
def torch_alone(tmp_path: Path) -> Path:
    """A folder of packages in which torch is all there is."""
    pytest.importorskip("torch")
    folder = tmp_path / "packages"
    folder.mkdir()
    for name in TORCH_ALONE:
        found = importlib.util.find_spec(name)
        if found is not None and found.origin is not None:
            origin = Path(found.origin)
            place = origin.parent if origin.name == "__init__.py" else origin
            (folder / place.name).symlink_to(place)
    return folder


def generate(folder: Path, packages: Path, *arguments: str) -> str:
    """Run generate.py with those packages, and none that the interpreter would find besides."""
    done = subprocess.run(
        [sys.executable, "-S", "-P", str(folder / "generate.py"), *arguments],
        env={"PYTHONPATH": str(packages), "PATH": os.environ["PATH"]},
        cwd="/",
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return done.stdout


def test_an_exported_model_writes_with_torch_alone(
    kept: Path, torch_alone: Path, tmp_path: Path
) -> None:
    write_copy(kept, tmp_path / "out")
    text = "Où est x²"
    encoding = tokenizer()
    last = encoding.encode(text)[-1]
    said = generate(tmp_path / "out", torch_alone, text, "--length", "6", "--temperature", "0")
    assert said == text + encoding.decode(list(range(last + 1, last + 7))) + "\n"


def test_an_export_goes_into_a_new_or_an_empty_folder(kept: Path, tmp_path: Path) -> None:
    place = tmp_path / "a" / "b"
    write_copy(kept, place)
    with pytest.raises(UsageError, match="new or empty"):
        write_copy(kept, place)
    with pytest.raises(UsageError, match="new or empty"):
        write_copy(kept, kept / "train.py")


def test_an_export_has_this_engines_programs_whatever_was_fetched(
    kept: Path, tmp_path: Path
) -> None:
    (kept / "generate.py").write_text("raise SystemExit('planted')")
    (kept / "planted.py").touch()
    write_copy(kept, tmp_path / "out")
    assert "planted" not in (tmp_path / "out" / "generate.py").read_text()
    assert not (tmp_path / "out" / "planted.py").exists()
    assert read_model(tmp_path / "out") == champion()


@pytest.mark.parametrize("name", ["config.json", "model.safetensors", "tokenizer.json", "train.py"])
def test_a_folder_that_is_not_whole_is_refused(kept: Path, name: str) -> None:
    (kept / name).unlink()
    with pytest.raises(UsageError, match=r"is no whole kept model .*: delete"):
        read_model(kept)


@pytest.mark.parametrize("commit", ["../../x", "*", "", "C" * 40])
def test_a_commit_that_is_none_names_no_folder(kept: Path, commit: str) -> None:
    config = json.loads((kept / "config.json").read_text())
    (kept / "config.json").write_text(json.dumps({**config, "commit": commit}))
    with pytest.raises(UsageError, match=r"config\.json is not one"):
        read_model(kept)


def test_what_another_version_knew_of_a_model_is_read_past(kept: Path) -> None:
    config = json.loads((kept / "config.json").read_text())
    (kept / "config.json").write_text(json.dumps({**config, "colour": "blue"}))
    assert read_model(kept).trial == 3


def test_the_card_says_what_it_is_and_how_sure() -> None:
    record = finished(3, reason=Reason.IMPROVED, own=[trained(0, 2.0)])
    card = write_card(champion(title="A | B\n# C"), record)
    assert "# Trial 3: A &#124; B # C\n" in card
    for part in (
        "2.1000",
        "0.1500 bpb less than the baseline (6.7 %)",
        "So it is.",
        "c" * 40,
        "seed 7",
    ):
        assert part in card
    assert "| gain | none: it is the baseline |" in write_card(kept_model(), begun())
