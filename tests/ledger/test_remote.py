"""A study in two clones and a bare remote."""

import contextlib
import socket
import subprocess
import sys
import threading
from types import SimpleNamespace

import pytest

from nightlab.errors import RemoteError, UsageError
from nightlab.ledger import Ledger, Remote, hold_session
from nightlab.ledger.git_process import WaitLimits
from nightlab.records import Verdict


@pytest.fixture
def remote(root, remote_address):
    return Remote(root, "origin", "first-light")


@pytest.fixture
def second(second_root):
    return Ledger(second_root, "first-light")


@pytest.fixture
def second_remote(second_root):
    return Remote(second_root, "origin", "first-light")


def study_refs(git, root):
    return git(root, "for-each-ref", "refs/heads/nightlab", "refs/nightlab").splitlines()


def test_an_unknown_remote_names_the_command(root):
    with pytest.raises(UsageError, match=r"has none: add it with `git remote add backup"):
        Remote(root, "backup", "first-light")


def test_a_remote_without_the_study_is_fine(remote, ledger, root, git, make):
    remote.fetch()
    assert not remote.pending()
    ledger.create()
    make.trial(ledger, Verdict.KEEP)
    before = study_refs(git, root)
    remote.fetch()
    assert study_refs(git, root) == before
    assert remote.pending()


def test_a_study_goes_on_in_another_clone(
    remote,
    ledger,
    root,
    second,
    second_remote,
    second_root,
    remote_address,
    git,
    make,
    check_health,
):
    ledger.create("DEPTH = 1\n")
    make.trial(ledger, Verdict.KEEP)
    make.trial(ledger, Verdict.KEEP)
    parent = ledger.incumbent()
    ledger.mark(make.mark(2, parent, parent))
    remote.push()
    assert not remote.pending()
    assert study_refs(git, remote_address) == study_refs(git, root)

    second_remote.fetch()
    assert second.records() == ledger.records()
    assert second.marks() == ledger.marks()
    assert second.evidence(1) == ledger.evidence(1)
    mark = second.marks()[0]
    kept = second.write_candidate(parent, "DEPTH = 7\n", "Deeper")
    second.mark(mark.model_copy(update={"attempts": 2, "commit": kept}))
    second_remote.push()
    second.finish(make.record(2, parent, kept, Verdict.KEEP), make.evidence())
    second_remote.push()
    assert study_refs(git, remote_address) == study_refs(git, second_root)

    remote.fetch()
    assert study_refs(git, root) == study_refs(git, second_root)
    assert ledger.incumbent() == kept
    assert ledger.marks() == ()
    for folder in (root, second_root):
        check_health(folder)
    git(remote_address, "fsck", "--strict", "--no-dangling")


def test_only_this_study_travels(remote, root, remote_address, git, make):
    for name in ("first-light", "first-light-2"):
        Ledger(root, name).create()
    make.trial(Ledger(root, "first-light"))
    remote.push()
    git(root, "push", "-q", "origin", "nightlab/first-light-2")
    git(root, "branch", "-D", "nightlab/first-light-2")
    remote.fetch()
    assert "first-light-2" not in git(root, "for-each-ref", "refs/heads")
    assert len(study_refs(git, remote_address)) == 4


def test_unpushed_records_survive_a_fetch(
    remote, ledger, second, second_remote, root, second_root, git, make
):
    ledger.create()
    make.trial(ledger, Verdict.KEEP)
    remote.push()
    second_remote.fetch()
    kept = make.trial(ledger, Verdict.KEEP)  # then the session is killed before its push
    ledger.mark(make.mark(2, kept.commit, kept.commit))
    before = study_refs(git, root)
    remote.fetch()
    assert study_refs(git, root) == before
    remote.push()
    second_remote.fetch()
    assert study_refs(git, second_root) == before


def test_a_mark_that_got_further_elsewhere_replaces_ours(
    remote, ledger, second, second_remote, make
):
    commit = ledger.create()
    mine = make.mark(0, commit, commit, attempts=2)
    ledger.mark(mine)
    remote.push()
    second_remote.fetch()
    further = mine.model_copy(update={"replicates": (make.replicate(),)})
    second.mark(further)
    second_remote.push()
    remote.fetch()
    assert ledger.marks() == (further,)
    ours = mine.model_copy(update={"attempts": 3})
    ledger.mark(ours)
    remote.fetch()
    assert ledger.marks() == (ours,)
    remote.push()
    second_remote.fetch()
    assert second.marks() == (ours,)


def test_a_push_that_would_replace_anothers_trial_changes_nothing(
    remote, ledger, second, second_remote, root, remote_address, git, make
):
    ledger.create()
    remote.push()
    second_remote.fetch()
    make.trial(ledger)
    make.trial(second, title="Something else")
    second_remote.push()
    before = study_refs(git, root), study_refs(git, remote_address)
    with pytest.raises(RemoteError, match=r"has another trial 0\. Run the same command again"):
        remote.push()
    assert (study_refs(git, root), study_refs(git, remote_address)) == before


def test_a_push_of_a_diverged_branch_changes_nothing(
    remote, ledger, second, second_remote, remote_address, git, make
):
    start = ledger.create()
    make.trial(ledger, Verdict.KEEP)
    remote.push()
    second_remote.fetch()
    mine = ledger.write_candidate(start, "A = 1\n", "mine")
    ledger.finish(make.record(1, start, mine, Verdict.KEEP), make.evidence())
    theirs = second.write_candidate(start, "A = 2\n", "theirs")
    second.finish(make.record(2, start, theirs, Verdict.KEEP), make.evidence())
    second_remote.push()
    before = study_refs(git, remote_address)
    with pytest.raises(RemoteError, match=r"went on at remote .* Run the same command again"):
        remote.push()
    assert study_refs(git, remote_address) == before


def test_a_refused_push_loses_nothing_and_is_tried_again(
    remote, ledger, root, remote_address, git, make
):
    hook = remote_address / "hooks" / "pre-receive"
    hook.write_text("#!/bin/sh\nexit 1\n")
    hook.chmod(0o755)
    ledger.create()
    make.trial(ledger)
    with pytest.raises(RemoteError, match=r"pre-receive hook declined.*next push"):
        remote.push()
    assert remote.pending()
    assert study_refs(git, remote_address) == []
    hook.unlink()
    remote.push()
    assert not remote.pending()
    remote.push()


def test_a_push_is_all_or_nothing(remote, ledger, remote_address, git, make):
    hook = remote_address / "hooks" / "update"
    hook.write_text('#!/bin/sh\ncase "$1" in */trials/*) exit 1;; esac\n')
    hook.chmod(0o755)
    ledger.create()
    make.trial(ledger)
    with pytest.raises(RemoteError):
        remote.push()
    assert study_refs(git, remote_address) == []


def test_a_remote_without_atomic_pushes_gets_the_record_before_its_branch(
    remote, ledger, remote_address, git, make
):
    git(remote_address, "config", "receive.advertiseAtomic", "false")
    ledger.create()
    make.trial(ledger, Verdict.KEEP)
    make.trial(ledger, Verdict.KEEP)
    hook = remote_address / "hooks" / "update"
    hook.write_text('#!/bin/sh\ncase "$1" in refs/heads/*) exit 1;; esac\n')
    hook.chmod(0o755)
    with pytest.raises(RemoteError):
        remote.push()
    kinds = {line.split("/")[-2] for line in study_refs(git, remote_address)}
    assert kinds == {"evidence", "trials"}
    hook.unlink()
    remote.push()
    assert not remote.pending()


def test_a_users_failing_push_hook_and_signing_do_not_matter(remote, ledger, root, git, make):
    hook = root / ".git" / "hooks" / "pre-push"
    hook.parent.mkdir(exist_ok=True)
    hook.write_text("#!/bin/sh\nexit 1\n")
    hook.chmod(0o755)
    git(root, "config", "push.gpgSign", "true")
    git(root, "config", "push.followTags", "true")
    git(root, "config", "fetch.prune", "true")
    ledger.create()
    make.trial(ledger)
    remote.push()
    make.trial(ledger)
    remote.fetch()
    assert len(ledger.records()) == 2


def test_a_shallow_clone_takes_part(remote, ledger, root, remote_address, tmp_path, git, make):
    git(root, "-c", "user.name=a", "-c", "user.email=b", "commit", "-q", "--allow-empty", "-m", "2")
    git(root, "push", "-q", "origin", "main")
    ledger.create()
    make.trial(ledger, Verdict.KEEP)
    remote.push()
    git(tmp_path, "clone", "-q", "--depth", "1", f"file://{remote_address}", "shallow")
    other = Ledger(tmp_path / "shallow", "first-light")
    other_remote = Remote(tmp_path / "shallow", "origin", "first-light")
    other_remote.fetch()
    make.trial(other, Verdict.KEEP)
    other_remote.push()
    remote.fetch()
    assert ledger.records() == other.records()
    assert ledger.incumbent() == other.incumbent()


def test_a_remote_that_is_gone_is_an_error(remote, ledger, remote_address, make):
    ledger.create()
    remote_address.rename(remote_address.with_name("moved"))
    for action in (remote.fetch, remote.push, remote.pending):
        with pytest.raises(RemoteError, match="git ls-remote origin"):
            action()


@pytest.mark.parametrize(
    "address",
    ["http://me:s3cr/et@127.0.0.1:9/x.git", "ssh://me:s3cr-et@127.0.0.1:9/x", "foo://me:s3cr@h/x"],
)
def test_a_password_in_a_remotes_address_is_not_said(root, git, ledger, address):
    git(root, "remote", "add", "away", address)
    remote = Remote(root, "away", "first-light")
    ledger.create()
    for exchange in (remote.fetch, remote.push):
        with pytest.raises(RemoteError) as caught:
            exchange()
        assert "s3cr" not in str(caught.value)


@pytest.fixture
def swallower():
    """A listener that takes connections and says nothing; it counts those that were made."""
    server = socket.create_server(("127.0.0.1", 0))
    taken = []

    def take():
        with contextlib.suppress(OSError):
            while True:
                taken.append(server.accept()[0])

    threading.Thread(target=take, daemon=True).start()
    yield SimpleNamespace(port=server.getsockname()[1], taken=taken)
    server.shutdown(socket.SHUT_RDWR)
    server.close()
    for each in taken:
        each.close()


@pytest.mark.parametrize("scheme", ["http", "git", "ssh"])
def test_a_remote_that_swallows_all_is_given_up_and_not_asked_again_at_once(
    root, git, ledger, swallower, scheme, monkeypatch
):
    if scheme == "ssh":  # whose connection goes through a proxy's command, say
        code = f"import socket; socket.create_connection(('127.0.0.1', {swallower.port})).recv(1)"
        monkeypatch.setenv("GIT_SSH_COMMAND", f'{sys.executable} -c "{code}" #')
    git(root, "remote", "add", "slow", f"{scheme}://127.0.0.1:{swallower.port}/x.git")
    limits = WaitLimits(seconds=600.0, silent_seconds=1.5)
    remote = Remote(root, "slow", "first-light", limits=limits)
    ledger.create()
    for exchange in (remote.fetch, remote.push, remote.study_refs, remote.try_push):
        with pytest.raises(RemoteError, match=r"did not: no answer within 1.5 seconds"):
            exchange()
    assert len(swallower.taken) == 1


def test_a_remote_that_rested_is_asked_again(root, git, remote_address, swallower, monkeypatch):
    monkeypatch.setattr("nightlab.ledger.exchange.REST_SECONDS", 0.0)
    git(root, "remote", "set-url", "origin", f"http://127.0.0.1:{swallower.port}/x.git")
    limits = WaitLimits(seconds=600.0, silent_seconds=1.0)
    remote = Remote(root, "origin", "first-light", limits=limits)
    with pytest.raises(RemoteError):
        remote.study_refs()
    git(root, "remote", "set-url", "origin", str(remote_address))
    assert remote.study_refs() == {}


def test_hundreds_of_records_are_pushed_in_commands_of_a_bounded_length(
    remote, ledger, remote_address, git, make, monkeypatch
):
    commit = ledger.create()
    tags = [
        ledger.plumbing.write_tag(
            f"nightlab/{number}",
            commit,
            make.record(number, commit, commit).model_dump_json().encode(),
        )
        for number in range(3)
    ]
    names = [ledger.refs.trial(number) for number in range(1200)]
    ledger.plumbing.transaction([f"create {n} {tags[i % 3]}" for i, n in enumerate(names)])
    pushed, attempt = [], remote.plumbing.attempt

    def counted(*arguments, **options):
        if arguments[0] == "push":
            pushed.append(sum("--force-with-lease" in each for each in arguments))
        return attempt(*arguments, **options)

    monkeypatch.setattr(remote.plumbing, "attempt", counted)
    remote.push()
    assert pushed == [500, 500, 201]
    assert not remote.pending()
    assert len(study_refs(git, remote_address)) == 1201


@pytest.mark.parametrize("other", ["refs/heads/nightlab", "refs/heads/nightlab/first-light/mine"])
def test_a_branch_of_the_remote_that_leaves_no_room_is_named_before_anything(
    remote, ledger, root, remote_address, git, other
):
    git(remote_address, "update-ref", other, "HEAD")
    with pytest.raises(UsageError, match=f"beside its {other}: .*`git push origin") as error:
        hold_session(ledger, remote, "x").__enter__()
    subprocess.run(str(error.value).split("`")[1], shell=True, cwd=root, check=True)
    with hold_session(ledger, remote, "x") as session:
        ledger.create()
        session.push()


def test_a_push_leaves_the_mark_of_a_trial_that_is_not_recorded_here(
    remote, ledger, second, second_remote, remote_address, git, make
):
    commit = ledger.create()
    remote.push()
    second_remote.fetch()
    second.mark(make.mark(5, commit, commit))
    second_remote.push()
    make.trial(ledger)
    remote.push()
    assert ledger.refs.inflight(5) in git(remote_address, "for-each-ref")
