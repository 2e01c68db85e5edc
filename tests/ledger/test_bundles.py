"""What a remote did not take is kept on the machine, and the next session brings it there."""

import os
import time
from pathlib import Path

import pytest

from nightlab.errors import LedgerError, RemoteError, StudyBusy
from nightlab.events import listening
from nightlab.ledger import Ledger, Remote, Waiting, add_suggestion, hold_session
from nightlab.ledger.bundles import Bundles, bundles_in, folder_name
from nightlab.ledger.exchange import place_of
from nightlab.records import Verdict


@pytest.fixture
def cache(tmp_path):
    return tmp_path / "cache"


@pytest.fixture
def begin(remote_address, cache, tmp_path, git):
    """Hold the study in a worker's clone, which is new and shallow each time."""
    made = []

    def begin(holder="x", folder=None, depth=("--depth", "1")):
        folder = folder or tmp_path / f"worker-{len(made)}"
        made.append(folder)
        git(tmp_path, "clone", "-q", *depth, f"file://{remote_address}", str(folder))
        ledger, remote = Ledger(folder, "first-light"), Remote(folder, "origin", "first-light")
        # The test's process lives on; that of a session that could not push is gone.
        waiting = Waiting(silence_of=lambda _: 0.0 if was_away(remote_address) else None)
        return ledger, hold_session(ledger, remote, holder, cache=cache, waiting=waiting), remote

    return begin


def away(remote_address):
    (remote_address / "was-away").touch()
    return remote_address.rename(remote_address.with_name("away"))


def was_away(remote_address):
    return (remote_address / "was-away").exists()


def back(remote_address):
    remote_address.with_name("away").rename(remote_address)


def started(ledger, session, remote):
    """As a session starts: fetch, take in, then choose numbers."""
    remote.fetch()
    session.bring_in_bundles()
    if not ledger.exists():
        ledger.create()


def standing(cache):
    return sorted(cache.rglob("*.bundle"))


def test_what_could_not_be_pushed_is_pushed_by_the_next_session_in_any_clone(
    begin, root, remote_address, cache, git, make
):
    ledger, holding, remote = begin()
    with holding as session:
        started(ledger, session, remote)
        make.trial(ledger, Verdict.KEEP)
        session.push()
        assert standing(cache) == []
        make.trial(ledger, Verdict.KEEP)
        idea = add_suggestion(ledger, "try this")
        parent = ledger.incumbent()
        ledger.mark(make.mark(2, parent, parent))
        away(remote_address)
        with pytest.raises(RemoteError, match=r"kept in .*\.bundle, .* `nightlab recover first-li"):
            session.push()
        (bundle,) = standing(cache)
        make.trial(ledger, Verdict.DISCARD, number=3)
        with pytest.raises(RemoteError, match=str(bundle)):
            session.push()
    person = ("-c", "user.name=a", "-c", "user.email=b")
    git(root, *person, "commit", "-q", "--allow-empty", "-m", "Next day")
    back(remote_address)
    git(root, "push", "-q", "origin", "main")
    before = git(ledger.root, "for-each-ref", "refs/nightlab", "refs/heads/nightlab")

    second, holding, remote = begin()
    said = []
    with listening(said.append), holding as session:
        started(second, session, remote)
        assert str(bundle) in said[0].text
        assert standing(cache) == []
        assert [record.number for record in second.records()] == [0, 1, 3]
        assert [mark.number for mark in second.marks()] == [2]
        assert second.next_number() == 4
        refs = git(remote_address, "for-each-ref", "refs/nightlab", "refs/heads/nightlab")
        assert set(before.splitlines()) <= set(refs.splitlines())
        assert idea.name in refs
    git(remote_address, "fsck", "--strict", "--no-dangling")


def test_a_shallow_clones_bundle_is_taken_in_by_one_of_another_day(
    begin, root, remote_address, cache, git, make
):
    """Neither has the history below its boundary, and the boundaries differ."""

    def next_day():
        person = ("-c", "user.name=a", "-c", "user.email=b")
        git(root, *person, "commit", "-q", "--allow-empty", "-m", "Next day")
        git(root, "push", "-q", "origin", "main")

    next_day()
    ledger, holding, remote = begin()
    with holding as session:
        assert git(ledger.root, "rev-parse", "--is-shallow-repository") == "true"
        started(ledger, session, remote)
        away(remote_address)
        make.trial(ledger, Verdict.KEEP)
        with pytest.raises(RemoteError):
            session.push()
    back(remote_address)
    next_day()
    second, holding, remote = begin()
    with holding as session:
        started(second, session, remote)
        assert len(second.records()) == 1
        assert standing(cache) == []


def test_a_push_that_succeeds_after_all_removes_its_bundle(begin, remote_address, cache, make):
    ledger, holding, remote = begin()
    with holding as session:
        started(ledger, session, remote)
        away(remote_address)
        make.trial(ledger, Verdict.KEEP)
        with pytest.raises(RemoteError):
            session.push()
        assert len(standing(cache)) == 1
        back(remote_address)
        session.push()
        assert standing(cache) == []


def test_a_session_that_lost_the_study_leaves_a_bundle_and_both_trials_stay(
    begin, remote_address, cache, make, git
):
    ledger, holding, remote = begin("one")
    with holding as session:
        started(ledger, session, remote)
        make.trial(ledger, Verdict.KEEP)
        session.push()
        make.trial(ledger, title="mine")
        git(remote_address, "update-ref", "-d", ledger.refs.session)
        other, held, others_remote = begin("two")
        with held as others:
            started(other, others, others_remote)
            make.trial(other, title="theirs")
            others.push()
            with pytest.raises(StudyBusy, match=r"two is working on it.*kept in .*bundle"):
                session.push()
    third, holding, remote = begin("three")
    with holding as session:
        started(third, session, remote)
        assert {record.title: record.number for record in third.records()} == {
            "Trial 0": 0,
            "theirs": 1,
            "mine": 2,
        }
        assert not remote.pending()
        assert standing(cache) == []


def test_a_bundle_stays_until_its_content_is_on_the_remote(begin, remote_address, cache, make):
    ledger, holding, remote = begin()
    with holding as session:
        started(ledger, session, remote)
        away(remote_address)
        make.trial(ledger, Verdict.KEEP)
        with pytest.raises(RemoteError):
            session.push()
    back(remote_address)
    (bundle,) = standing(cache)
    hook = remote_address / "hooks" / "update"
    hook.write_text('#!/bin/sh\ncase "$1" in */trials/*) exit 1;; esac\n')
    hook.chmod(0o755)
    second, holding, remote = begin()
    with holding as session:
        remote.fetch()
        with pytest.raises(RemoteError, match="atomic push failure"):
            session.bring_in_bundles()
        assert len(second.records()) == 1
        assert bundle in standing(cache)
        hook.unlink()
        session.push()
        assert standing(cache) == []


def test_what_another_session_writes_meanwhile_is_not_removed(begin, remote_address, cache, make):
    ledger, holding, remote = begin("one")
    with holding as session:
        started(ledger, session, remote)
        away(remote_address)
        make.trial(ledger, Verdict.KEEP)
        with pytest.raises(RemoteError):
            session.push()
        back(remote_address)
        _other, held, others_remote = begin("two")
        with held as others:
            others_remote.fetch()
            others._bundles.take_in()
            make.trial(ledger, title="later")
            with pytest.raises(StudyBusy):
                session.push()
            others.push()
        assert len(standing(cache)) == 1
    third, holding, remote = begin("three")
    with holding as session:
        started(third, session, remote)
        assert [record.title for record in third.records()] == ["Trial 0", "later"]


def test_a_broken_bundle_is_said_and_stays(begin, cache, remote_address, make):
    ledger, holding, remote = begin()
    folder = cache / "unpushed" / folder_name(remote.place)
    folder.mkdir(parents=True)
    broken = folder / "first-light.0123.bundle"
    broken.write_text("# v2 git bundle\nhalf")
    (folder / "first-light-2.0123.bundle").write_text("of another study")
    said = []
    with listening(said.append), holding as session:
        started(ledger, session, remote)
    assert len(said) == 1
    assert f"bundle {broken} could not be taken in, and stays" in said[0].text
    assert broken.exists()


def test_a_bundle_that_this_version_cannot_read_ends_no_session(
    begin, remote_address, cache, make, monkeypatch
):
    ledger, holding, remote = begin()
    with holding as session:
        started(ledger, session, remote)
        make.trial(ledger, Verdict.KEEP)
        away(remote_address)
        with pytest.raises(RemoteError):
            session.push()
    back(remote_address)

    def refuse(self, path):
        raise LedgerError("trial 0 was written by a newer Nightlab")

    monkeypatch.setattr(Bundles, "_fetch", refuse)
    ledger, holding, remote = begin()
    said = []
    with listening(said.append), holding as session:
        started(ledger, session, remote)
    assert "could not be taken in, and stays: trial 0 was written by a newer" in said[0].text
    assert len(standing(cache)) == 1


def test_a_cache_that_takes_nothing_does_not_hide_what_happened(begin, remote_address, cache):
    ledger, holding, remote = begin()
    with holding as session:
        started(ledger, session, remote)
        away(remote_address)
        cache.write_text("a file where a folder is needed")
        with pytest.raises(RemoteError, match=r"ls-remote.*could not be kept in .*NIGHTLAB_CACHE"):
            session.push()


def test_what_there_is_is_listed(begin, remote_address, cache, root, make):
    assert bundles_in(cache, Ledger(root, "x").plumbing) == ()
    ledger, holding, remote = begin()
    with holding as session:
        started(ledger, session, remote)
        away(remote_address)
        make.trial(ledger, Verdict.KEEP)
        make.trial(ledger)
        with pytest.raises(RemoteError):
            session.push()
    (found,) = bundles_in(cache, Ledger(root, "x").plumbing)
    assert (found.study, found.trials, found.path) == ("first-light", 2, standing(cache)[0])


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("https://me:secret@GitHub.com/me/lab.git", "https://github.com/me/lab"),
        ("git@github.com:me/lab.git", "ssh://git@github.com/me/lab"),
        ("git@github.com:me/lab.git", "https://token@github.com/me/lab/"),
        ("https://me:a/canary@github.com/me/lab.git", "https://github.com/me/lab"),
    ],
)
def test_one_remote_is_one_place_however_it_is_written(one, other, tmp_path):
    assert place_of(one, tmp_path) == place_of(other, tmp_path) == "github.com/me/lab"


def test_a_place_on_this_machine_is_found_from_anywhere(tmp_path):
    (tmp_path / "hub.git").mkdir()
    (tmp_path / "clone").mkdir()
    place = str(tmp_path / "hub")
    for address in ("../hub.git", str(tmp_path / "hub.git"), f"file://{tmp_path}/hub.git"):
        assert place_of(address, tmp_path / "clone") == place


def test_places_have_folders_of_their_own_that_name_them():
    one, other = folder_name("github.com/me/lab"), folder_name("github.com/me-lab")
    assert one != other
    assert one.startswith("github.com-me-lab-")


def test_a_bundle_is_on_the_disk_before_it_stands_under_its_name(
    begin, remote_address, cache, monkeypatch
):
    """A power cut after the rename would else leave a name with nothing behind it."""
    ledger, holding, remote = begin()
    done, sync, replace = [], os.fsync, os.replace

    def note(what):
        def run(*arguments):
            path = arguments[0]
            done.append((what, Path(f"/proc/self/fd/{path}").resolve() if what == "sync" else path))
            return (sync if what == "sync" else replace)(*arguments)

        return run

    with holding as session:
        started(ledger, session, remote)
        away(remote_address)
        monkeypatch.setattr(os, "fsync", note("sync"))
        monkeypatch.setattr(os, "replace", note("replace"))
        with pytest.raises(RemoteError):
            session.push()
        monkeypatch.undo()
    (bundle,) = standing(cache)
    beside = bundle.with_name(f".{bundle.name}.new")
    steps = [(what, path) for what, path in done if cache in Path(path).parents]
    assert steps == [("sync", beside), ("replace", beside), ("sync", bundle.parent)]


def test_a_bundle_that_somebody_removed_is_written_again(begin, remote_address, cache):
    ledger, holding, remote = begin()
    with holding as session:
        started(ledger, session, remote)
        away(remote_address)
        for _ in range(2):
            with pytest.raises(RemoteError):
                session.push()
            (bundle,) = standing(cache)
            bundle.unlink()


def test_bundles_are_taken_in_as_they_were_written_with_the_branch_that_is_offered(
    begin, remote_address, cache, git
):
    ledger, holding, remote = begin()
    with holding as session:
        started(ledger, session, remote)
        git(ledger.root, "branch", f"{ledger.branch}-consolidated", ledger.branch)
        away(remote_address)
        with pytest.raises(RemoteError):
            session.push()
    (bundle,) = standing(cache)
    assert ledger.refs.consolidated in git(ledger.root, "bundle", "list-heads", str(bundle))
    for name, age in (("first-light.zz.bundle", 7200), ("first-light.aa.bundle", 3600)):
        bundle.with_name(name).write_bytes(bundle.read_bytes())
        os.utime(bundle.with_name(name), (time.time() - age,) * 2)
    found = Bundles(cache, remote, "x").standing()
    assert [path.name.split(".")[1] for path in found][:2] == ["zz", "aa"]
    assert found[2] == bundle
