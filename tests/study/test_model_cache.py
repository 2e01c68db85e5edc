"""Kept models in the cache: found by commit, bounded on disk."""

import os
from pathlib import Path

import pytest

from nightlab.errors import UsageError
from nightlab.records import Reason
from nightlab.study.model_cache import Kept, ModelCache
from nightlab.study.model_folder import CONFIG
from tests.kept_samples import BASELINE, CHAMPION, champion, fill_folder, kept_model

MB = 2**20


def put(cache: Path, study: str, trial: int, age: int, megabytes: int = 1) -> Kept:
    """Keep a model of some size; the higher its age, the newer it is."""
    models = ModelCache(cache, study)
    reason = Reason.IMPROVED if trial else Reason.BASELINE
    with models.new() as folder:
        fill_folder(folder, kept_model(trial=trial, commit=f"{trial:040x}"[::-1], reason=reason))
        used = sum(path.stat().st_size for path in folder.iterdir())
        (folder / "ballast").write_bytes(bytes(megabytes * MB - used))
        kept = models.put(folder)
    os.utime(kept.folder / CONFIG, (age, age))
    return kept


def standing(cache: Path) -> list[str]:
    return sorted(f"{p.parent.name}/{p.name[:4]}" for p in (cache / "models").glob("*/*"))


def test_a_model_is_found_by_its_commit_and_replaced_by_a_new_one(tmp_path: Path) -> None:
    models = ModelCache(tmp_path, "night")
    assert models.find(BASELINE) is None
    for title in ("first", "second"):
        with models.new() as folder:
            kept = models.put(fill_folder(folder, kept_model(title=title)))
    with models.new() as folder:
        models.put(fill_folder(folder, champion()))
    assert models.find(BASELINE) == kept
    assert kept.model.title == "second"
    assert models.find(CHAMPION) is not None
    assert ModelCache(tmp_path, "another").find(BASELINE) is None


def test_what_is_not_whole_is_not_put_and_leaves_nothing(tmp_path: Path) -> None:
    models = ModelCache(tmp_path, "night")
    with models.new() as folder:
        (fill_folder(folder, kept_model()) / "train.py").unlink()
        with pytest.raises(UsageError):
            models.put(folder)
    assert standing(tmp_path) == []
    assert [path.name for path in (tmp_path / "models-new").iterdir()] in ([], [".lock"])


def test_the_oldest_go_first_and_baselines_and_champions_last(tmp_path: Path) -> None:
    for age, (study, trial) in enumerate(
        [("a", 0), ("a", 2), ("a", 5), ("b", 0), ("b", 1), ("b", 7)]
    ):
        put(tmp_path, study, trial, age)
    models = ModelCache(tmp_path, "a")
    models.retire(6)
    assert len(standing(tmp_path)) == 6
    models.retire(5)
    assert standing(tmp_path) == ["a/0000", "a/0005", "b/0000", "b/0001", "b/0007"]
    models.retire(4)
    assert standing(tmp_path) == ["a/0000", "a/0005", "b/0000", "b/0007"]
    models.retire(2)
    assert standing(tmp_path) == ["b/0000", "b/0007"]
    models.retire(0)
    assert standing(tmp_path) == []


def test_only_the_champion_stays_where_that_is_asked_for(tmp_path: Path) -> None:
    for age, (study, trial) in enumerate([("a", 0), ("a", 2), ("a", 5), ("b", 0), ("b", 1)]):
        put(tmp_path, study, trial, age)
    ModelCache(tmp_path, "a").retire(99, only_champion=True)
    assert standing(tmp_path) == ["a/0000", "a/0005", "b/0000", "b/0001"]
