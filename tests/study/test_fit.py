from pathlib import Path

import pytest

from nightlab.errors import CorpusError, UsageError
from nightlab.sandbox.device import Device
from nightlab.settings import SessionSettings
from nightlab.study.fit import check_fit, request_of
from tests.study.begun import CPU

GPU = Device(name="cuda:0", description="A card, 80 GiB", threads=1, memory_mb=81_079)


@pytest.fixture
def bare(tmp_path: Path) -> Path:
    """The root of a machine without a GPU."""
    return tmp_path / "bare"


@pytest.fixture
def with_card(tmp_path: Path) -> Path:
    """The root of a machine with one."""
    (tmp_path / "machine" / "dev").mkdir(parents=True)
    (tmp_path / "machine" / "dev" / "nvidia0").touch()
    return tmp_path / "machine"


def text_of(folder: Path, count: int) -> str:
    folder.mkdir()
    (folder / "a.txt").write_bytes(b"a" * (count // 2))
    (folder / "b.jsonl").write_bytes(b"b" * (count - count // 2))
    return f"path:{folder}"


def refusal(settings: SessionSettings, cache: Path, machine: Path) -> str:
    with pytest.raises(UsageError) as refused:
        check_fit(settings, cache, machine=machine)
    return str(refused.value)


def test_too_little_text_is_said_with_what_would_fit(tmp_path: Path, with_card: Path) -> None:
    said = refusal(SessionSettings(preset="h100"), tmp_path, with_card)
    assert said.startswith("The preset h100 needs 503.57 MB of text and embedded has 1")
    assert said.endswith(": take --corpus climbmix, or take --preset laptop.")


def test_all_that_does_not_fit_is_one_sentence(tmp_path: Path, bare: Path) -> None:
    said = refusal(SessionSettings(preset="h100"), tmp_path, bare)
    assert "MB of text and embedded has" in said
    assert ", and needs a GPU and finds none: " in said
    assert "take --corpus climbmix and run it on a machine with a GPU, or take --preset lap" in said


def test_a_preset_for_a_gpu_is_refused_without_one(
    tmp_path: Path, bare: Path, with_card: Path
) -> None:
    settings = SessionSettings(preset="h100", corpus="climbmix")
    check_fit(settings, tmp_path, machine=with_card)
    check_fit(settings, tmp_path, GPU, machine=bare)
    for said in (
        refusal(settings, tmp_path, bare),
        refusal(settings.model_copy(update={"device": "cuda:1"}), tmp_path, bare),
    ):
        assert said.startswith("The preset h100 needs a GPU and finds none: run it on a machine")
        assert said.endswith(", or take --preset laptop.")
    with pytest.raises(UsageError, match="needs a GPU and finds none"):
        check_fit(settings, tmp_path, CPU, machine=with_card)
    by_hand = refusal(settings.model_copy(update={"device": "cpu"}), tmp_path, with_card)
    assert "needs a GPU and the CPU is asked for: leave --device out, or" in by_hand


@pytest.mark.parametrize("node", ["dxg", "kfd"])
def test_a_gpu_under_another_name_is_left_to_torch(tmp_path: Path, node: str) -> None:
    (tmp_path / "dev").mkdir()
    (tmp_path / "dev" / node).touch()
    check_fit(SessionSettings(preset="h100", corpus="climbmix"), tmp_path, machine=tmp_path)


@pytest.mark.parametrize("preset", ["quick", "laptop"])
def test_the_embedded_corpus_is_enough_for_the_small_presets_anywhere(
    preset: str, tmp_path: Path, bare: Path
) -> None:
    settings = SessionSettings.model_validate({"preset": preset})
    check_fit(settings, tmp_path, machine=bare)
    check_fit(settings.model_copy(update={"device": "cpu"}), tmp_path, machine=bare)


def test_a_folder_is_measured_to_the_byte(tmp_path: Path, bare: Path) -> None:
    needed = request_of(SessionSettings().sizes, "embedded").needed_bytes
    enough = text_of(tmp_path / "enough", needed)
    check_fit(SessionSettings(corpus=enough), tmp_path, machine=bare)
    short = text_of(tmp_path / "short", needed - 1)
    said = refusal(SessionSettings(corpus=short), tmp_path, bare)
    assert f"The preset quick needs 1.58 MB of text and {short} has 1.57: put more text" in said
    assert "--preset" not in said, "no preset needs less"
    for_laptop = refusal(SessionSettings(corpus=enough, preset="laptop"), tmp_path, bare)
    assert for_laptop.endswith(", or take --preset quick.")


def test_what_only_reading_tells_is_not_refused_early(tmp_path: Path, bare: Path) -> None:
    folder = tmp_path / "compressed"
    folder.mkdir()
    (folder / "small.PARQUET").write_bytes(b"PAR1")
    check_fit(SessionSettings(corpus=f"path:{folder}"), tmp_path, machine=bare)
    check_fit(SessionSettings(corpus="climbmix"), tmp_path, machine=bare)
    assert not (tmp_path / "shards").exists()


@pytest.mark.parametrize("corpus", ["path:/no/such/folder", "wiki", "climbmix:ftp://x"])
def test_a_corpus_that_cannot_be_is_refused_before_its_size(
    corpus: str, tmp_path: Path, bare: Path
) -> None:
    with pytest.raises(CorpusError, match=r"--corpus"):
        check_fit(SessionSettings(corpus=corpus), tmp_path, machine=bare)
