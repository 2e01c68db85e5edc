"""Whether the process that a note names still lives, and which clone it works in."""

import os
import shutil
import subprocess
import time

import psutil
import pytest

from nightlab.ledger.presence import clone_name, own_note, write_whole


def note_of(process, folder):
    note = own_note("x", folder)
    began = psutil.Process(process.pid).create_time()
    return note.model_copy(update={"pid": process.pid, "process_started": began})


def test_a_process_that_nobody_has_reaped_is_dead(tmp_path):
    process = subprocess.Popen(["sleep", "600"])
    note = note_of(process, tmp_path)
    assert not note.is_dead_here()
    process.kill()
    while psutil.Process(process.pid).status() != psutil.STATUS_ZOMBIE:
        time.sleep(0.01)
    assert note.is_dead_here()
    process.wait()
    assert note.is_dead_here()


@pytest.mark.parametrize(
    ("seconds", "dead"), [(-3600, True), (3600, True), (-50, False), (50, False)]
)
def test_the_systems_clock_may_have_been_set_a_little(tmp_path, seconds, dead):
    note = own_note("x", tmp_path)
    moved = note.model_copy(update={"process_started": note.process_started + seconds})
    assert moved.is_dead_here() is dead


def test_a_copy_of_a_clone_is_another_clone(tmp_path):
    (tmp_path / "one").mkdir()
    name = clone_name(tmp_path / "one")
    assert clone_name(tmp_path / "one") == name
    shutil.copytree(tmp_path / "one", tmp_path / "two")
    assert clone_name(tmp_path / "two") != name


def test_a_note_is_never_seen_half_written(tmp_path):
    path, reader = tmp_path / "note", tmp_path / "reader"
    write_whole(path, b"old")
    os.link(path, reader)  # as one who had it open
    write_whole(path, b"new")
    assert (path.read_bytes(), reader.read_bytes()) == (b"new", b"old")
    assert sorted(each.name for each in tmp_path.iterdir()) == ["note", "reader"]
