import os

import pytest

from nightlab.sandbox.scratch import remove_tree, scratch_use

MB = 2**20


def test_every_kind_of_entry_is_counted_once(tmp_path):
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "data").write_bytes(bytes(range(256)) * 4096)
    os.link(tmp_path / "folder" / "data", tmp_path / "again")
    (tmp_path / "outside").symlink_to("/usr")
    os.mkfifo(tmp_path / "pipe")
    with open(tmp_path / "claims", "wb") as file:
        file.truncate(5 * MB)
    use = scratch_use(str(tmp_path), 100)
    assert use.files == 6
    assert 6 * MB <= use.used_bytes < 6.5 * MB
    assert not use.shut


def test_the_walk_ends_where_enough_was_seen(tmp_path):
    for number in range(50):
        (tmp_path / str(number)).touch()
    assert scratch_use(str(tmp_path), 20).files == 21


@pytest.mark.parametrize("depth", [60, 70])
def test_deep_nesting_is_told(tmp_path, depth):
    tmp_path.joinpath(*["in"] * depth).mkdir(parents=True)
    assert scratch_use(str(tmp_path), 100).shut is (depth == 70)


def test_what_a_path_cannot_name_is_removed(tmp_path, monkeypatch):
    root = tmp_path / "job"
    root.mkdir()
    monkeypatch.chdir(root)
    for number in range(600):
        os.mkdir("a folder")
        if number % 100 == 0:
            os.mkdir("beside")
            os.symlink("/", "beside/out")
        os.chdir("a folder")
    monkeypatch.chdir(root)
    (root / "a folder").chmod(0)
    monkeypatch.chdir(tmp_path)
    remove_tree(root)
    assert not root.exists()
    remove_tree(root)  # once more does no harm
