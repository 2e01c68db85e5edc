"""The ledger of one study, on real repositories."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from nightlab.errors import LedgerError, RemoteError, UsageError
from nightlab.ledger import Ledger, Remote, hold_session, studies, studies_without_branch
from nightlab.records import Verdict


def test_a_study_begins_at_head(ledger, root, git, check_health):
    assert not ledger.exists()
    assert ledger.next_number() == 0
    assert ledger.create() == git(root, "rev-parse", "HEAD") == ledger.incumbent()
    assert ledger.exists()
    assert studies(root) == ("first-light",)
    check_health(root)


def test_a_study_that_starts_with_other_source_has_one_commit_more(ledger, root, git, check_health):
    commit = ledger.create("DEPTH = 8\r\n", "Preset\nlaptop")
    assert git(root, "rev-parse", f"{commit}^") == git(root, "rev-parse", "HEAD")
    assert git(root, "diff", "--name-only", "HEAD", commit) == "trainer/train.py"
    assert ledger.source(commit) == "DEPTH = 8\r\n"
    assert git(root, "log", "-1", "--format=%s", commit) == "Preset laptop"
    check_health(root)


def test_a_study_begins_once(ledger):
    ledger.create()
    with pytest.raises(LedgerError, match="needs to be new"):
        ledger.create()


def test_an_unknown_study_names_those_that_exist(ledger, root):
    ledger.create()
    with pytest.raises(LedgerError, match=r"studies: first-light.*nightlab research"):
        Ledger(root, "other").incumbent()


def test_no_commit_and_no_repository_are_said(tmp_path, git):
    with pytest.raises(LedgerError, match="git init"):
        Ledger(tmp_path, "x")
    git(tmp_path, "init", "-q")
    with pytest.raises(LedgerError, match="git commit"):
        Ledger(tmp_path, "x").create()


def test_a_candidate_changes_one_file_and_touches_nothing_else(ledger, root, git, check_health):
    parent = ledger.create()
    (root / "trainer" / "train.py").write_text("the user's own edit\n")
    git(root, "add", "trainer/train.py")
    before = git(root, "status", "--porcelain=v2", "--branch"), (root / ".git/index").read_bytes()
    commit = ledger.write_candidate(parent, "DEPTH = 4\nWIDTH = 128\n", "Wider\nnow", "Because.")
    after = git(root, "status", "--porcelain=v2", "--branch"), (root / ".git/index").read_bytes()
    assert before == after
    assert git(root, "log", "-1", "--format=%B", commit) == "Wider now\n\nBecause."
    assert git(root, "show", f"{commit}:program.md") == "Learn."
    counts = ledger.line_counts(parent, commit)
    assert (counts.added, counts.removed) == (1, 1)
    git(root, "checkout", "-q", "-f", "main")
    check_health(root)


def test_a_candidate_keeps_the_files_mode_and_odd_neighbours(ledger, root, git):
    (root / "trainer" / "train.py").chmod(0o755)
    (root / "trainer" / "odd \t n\u00e4me").write_text("x")
    git(root, "add", ".")
    git(root, "-c", "user.name=a", "-c", "user.email=b", "commit", "-q", "-m", "odd")
    commit = ledger.write_candidate(ledger.create(), "y = 1\n", "t")
    assert git(root, "diff", "--raw", "HEAD", commit).startswith(":100755 100755")
    assert git(root, "diff", "--name-only", "HEAD", commit) == "trainer/train.py"


def test_a_source_that_is_no_text_is_refused(ledger):
    with pytest.raises(LedgerError, match="lone surrogate"):
        ledger.write_candidate(ledger.create(), "x = '\ud83d'\n", "t")


def test_a_trial_from_mark_to_record(ledger, root, git, make, check_health):
    parent = ledger.create()
    commit = ledger.write_candidate(parent, "DEPTH = 5\n", "Deeper")
    mark = make.mark(0, parent, commit, replicates=(make.replicate(),))
    ledger.mark(make.mark(0, parent, parent))
    ledger.mark(mark)
    assert ledger.marks() == (mark,)
    assert ledger.next_number() == 1
    record = make.record(0, parent, commit)
    evidence = make.evidence(7, 3, 7)
    again = make.evidence(7, 8).replicates
    evidence = evidence.model_copy(update={"incumbent_replicates": again})
    ledger.finish(record, evidence)
    assert ledger.marks() == ()
    assert ledger.evidence(0) == evidence
    stored = ledger.record(0)
    assert ledger.records() == (stored,)
    assert stored.replicates[0].training.log == ""
    assert stored.replicates[0].training.curve == ()
    assert stored.model_copy(update={"replicates": record.replicates}) == record
    assert "+DEPTH = 5" in ledger.diff(stored)
    assert git(root, "cat-file", "-t", "refs/nightlab/first-light/trials/0000") == "tag"
    assert git(root, "rev-parse", "refs/nightlab/first-light/trials/0000^{commit}") == commit
    check_health(root)


def test_a_mark_that_is_to_be_the_first_replaces_none(ledger, make):
    parent = ledger.create()
    begun = make.mark(1, parent, parent, attempts=2)
    ledger.mark(begun, is_new=True)
    with pytest.raises(LedgerError):
        ledger.mark(make.mark(1, parent, parent), is_new=True)
    assert ledger.marks() == (begun,)


def test_evidence_is_files_that_a_person_reads(ledger, root, git, make):
    ledger.create()
    make.trial(ledger)
    ref = "refs/nightlab/first-light/evidence/0000"
    assert git(root, "ls-tree", "--name-only", ref).split() == [
        "answer-1.md",
        "answer-2.md",
        "manifest.json",
        "prompt-1.md",
        "prompt-2.md",
        "proposal.json",
        "replicate-0.json",
        "replicate-0.log",
    ]
    assert git(root, "show", f"{ref}:prompt-1.md") == "Improve \u00fc."
    assert json.loads(git(root, "show", f"{ref}:replicate-0.json"))["training"]["curve"]
    assert git(root, "rev-list", "--count", ref) == "1"


def test_only_a_keep_moves_the_branch(ledger, make):
    start = ledger.create()
    make.trial(ledger, Verdict.KEEP)
    assert ledger.incumbent() == start
    make.trial(ledger, Verdict.CRASH)
    assert ledger.incumbent() == start
    kept = make.trial(ledger, Verdict.KEEP)
    assert ledger.incumbent() == kept.commit
    assert kept.number == 2


def test_a_keep_on_a_parent_that_no_longer_stands_changes_nothing(ledger, make, root, git):
    start = ledger.create()
    make.trial(ledger, Verdict.KEEP)
    late = ledger.write_candidate(start, "DEPTH = 9\n", "late")
    make.trial(ledger, Verdict.KEEP)
    ledger.mark(make.mark(2, start, late))
    before = git(root, "for-each-ref")
    with pytest.raises(LedgerError, match="but expected"):
        ledger.finish(make.record(2, start, late, Verdict.KEEP), make.evidence())
    assert git(root, "for-each-ref") == before
    stray = ledger.write_candidate(start, "DEPTH = 10\n", "stray")
    with pytest.raises(LedgerError, match="on top of its parent"):
        ledger.finish(make.record(2, late, stray, Verdict.KEEP), make.evidence())
    assert git(root, "for-each-ref") == before


def test_a_record_is_written_once(ledger, make):
    ledger.create()
    record = make.trial(ledger)
    with pytest.raises(LedgerError, match="written once"):
        ledger.finish(record, make.evidence())
    with pytest.raises(LedgerError, match="recorded and cannot be in flight"):
        ledger.mark(make.mark(0, record.parent, record.commit))


def test_a_missing_trial_names_what_exists(ledger, make):
    ledger.create()
    with pytest.raises(UsageError, match="no recorded trial yet"):
        ledger.record(0)
    make.trial(ledger)
    make.trial(ledger)
    with pytest.raises(UsageError, match=r"trial 7; it has 0, 1\."):
        ledger.record(7)
    with pytest.raises(UsageError, match="no evidence of a trial 7"):
        ledger.evidence(7)


@pytest.mark.parametrize(
    ("message", "sentence"),
    [
        (b'{"schema_version": 2}', "newer Nightlab"),
        (b"no json", "needs to hold JSON"),
        (b'{"schema_version": 1, "study": "first-light"}', "not a readable TrialRecord: number"),
    ],
)
def test_an_unreadable_record_is_an_error(ledger, make, message, sentence):
    commit = ledger.create()
    make.trial(ledger)
    tag = ledger.plumbing.write_tag("nightlab/x", commit, message)
    ledger.plumbing.transaction([f"create {ledger.refs.trial(1)} {tag}"])
    with pytest.raises(LedgerError, match=sentence):
        ledger.records()


def test_a_record_under_another_number_is_an_error(ledger, make, root, git):
    ledger.create()
    make.trial(ledger)
    git(root, "update-ref", ledger.refs.trial(5), ledger.refs.trial(0))
    with pytest.raises(LedgerError, match="holds trial 0 of"):
        ledger.records()


def test_numbers_are_ordered_past_four_digits(ledger, make):
    ledger.create()
    make.trial(ledger, number=9999)
    make.trial(ledger)
    assert [record.number for record in ledger.records()] == [9999, 10000]


def test_what_json_cannot_hold_does_not_lose_a_trial(ledger, make):
    commit = ledger.create()
    record = make.record(0, commit, commit, knobs={"RATE": float("inf")}, title="half \ud83d")
    ledger.finish(record, make.evidence())
    assert ledger.record(0).knobs == {"RATE": None}
    assert ledger.record(0).title == "half ?"


def test_two_hundred_records_are_read_by_two_processes(ledger, make, monkeypatch):
    commit = ledger.create()
    tags = []
    for number in range(200):
        text = make.record(number, commit, commit).model_dump_json().encode()
        tags.append(ledger.plumbing.write_tag(f"nightlab/{number}", commit, text))
    creations = [f"create {ledger.refs.trial(n)} {tag}" for n, tag in enumerate(tags)]
    ledger.plumbing.transaction(creations)
    started = []
    attempt = ledger.plumbing.attempt

    def counted(*arguments, **options):
        started.append(arguments[0])
        return attempt(*arguments, **options)

    monkeypatch.setattr(ledger.plumbing, "attempt", counted)
    assert len(ledger.records()) == 200
    assert started == ["for-each-ref", "cat-file"]
    # What was read once is not read again; what came since is.
    text = make.record(200, commit, commit).model_dump_json().encode()
    extra = ledger.plumbing.write_tag("nightlab/200", commit, text)
    ledger.plumbing.transaction([f"create {ledger.refs.trial(200)} {extra}"])
    started.clear()
    read = []
    contents = ledger.plumbing.contents

    def read_again(names):
        read.extend(names)
        return contents(names)

    monkeypatch.setattr(ledger.plumbing, "contents", read_again)
    assert len(ledger.records()) == 201
    assert len(ledger.records()) == 201
    assert read == [extra]
    assert started == ["for-each-ref", "cat-file", "for-each-ref"]


@pytest.mark.parametrize("clone_options", [("--bare",), ("--depth", "1"), ()])
def test_any_kind_of_clone_will_do(root, tmp_path, git, make, clone_options):
    make_second = ("-c", "user.name=a", "-c", "user.email=b", "commit", "-q", "--allow-empty")
    git(root, *make_second, "-m", "second")
    other = tmp_path / "other"
    git(tmp_path, "clone", "-q", *clone_options, f"file://{root}", str(other))
    if not clone_options:
        git(other, "checkout", "-q", "--detach")
    ledger = Ledger(other, "first-light")
    ledger.create("DEPTH = 2\n")
    make.trial(ledger, Verdict.KEEP)
    kept = make.trial(ledger, Verdict.KEEP)
    assert ledger.incumbent() == kept.commit
    assert len(ledger.records()) == 2
    git(other, "fsck", "--strict", "--no-dangling")


def test_a_linked_worktree_shares_its_studies(ledger, root, tmp_path, git, make):
    git(root, "worktree", "add", "-q", "--detach", str(tmp_path / "linked"))
    ledger.create()
    linked = Ledger(tmp_path / "linked", "first-light")
    make.trial(linked)
    assert ledger.records() == linked.records()
    assert linked.plumbing.common_directory == ledger.plumbing.common_directory


def test_without_identity_nightlab_signs_and_configures_nothing(ledger, root, git, make):
    commit = ledger.create("x = 1\n")
    make.trial(ledger)
    config = (root / ".git" / "config").read_text()
    name = git(root, "log", "-1", "--format=%an <%ae> %cn <%ce>", commit)
    assert name == "Nightlab <nightlab@localhost> Nightlab <nightlab@localhost>"
    tag = git(root, "cat-file", "-p", ledger.refs.trial(0))
    assert "\ntagger Nightlab <nightlab@localhost> " in tag
    assert "user" not in config


def test_a_users_identity_is_used(ledger, root, git, monkeypatch):
    git(root, "config", "user.name", "Grace")
    git(root, "config", "user.email", "grace@example.org")
    monkeypatch.setenv("GIT_COMMITTER_NAME", "Robot")
    commit = ledger.create("x = 1\n")
    name = git(root, "log", "-1", "--format=%an <%ae> %cn <%ce>", commit)
    assert name == "Grace <grace@example.org> Robot <grace@example.org>"


def test_odd_settings_of_a_user_do_not_matter(ledger, root, git, make, check_health):
    hooks = root / ".git" / "refusing"
    hooks.mkdir()
    for hook in ("pre-commit", "commit-msg", "reference-transaction", "post-rewrite"):
        (hooks / hook).write_text("#!/bin/sh\nexit 1\n")
        (hooks / hook).chmod(0o755)
    settings = {
        "core.hooksPath": str(hooks),
        "commit.gpgSign": "true",
        "tag.gpgSign": "true",
        "tag.forceSignAnnotated": "true",
        "gpg.program": "/bin/false",
        "core.autocrlf": "true",
        "i18n.commitEncoding": "ISO-8859-1",
        "diff.external": "/bin/false",
        "diff.noprefix": "true",
        "color.ui": "always",
        "core.splitIndex": "true",
        "user.useConfigOnly": "true",
        "core.logAllRefUpdates": "always",
        "log.showSignature": "true",
    }
    for key, value in settings.items():
        git(root, "config", key, value)
    start = ledger.create("DEPTH = 1\nA = 2\n", "Z\u00fcrich")
    make.trial(ledger, Verdict.KEEP)
    kept = make.trial(ledger, Verdict.KEEP)
    assert ledger.source(start) == "DEPTH = 1\nA = 2\n"
    assert ledger.diff(kept).startswith("diff --git a/trainer/train.py b/trainer/train.py")
    assert git(root, "cat-file", "commit", start).endswith("Z\u00fcrich")
    assert ledger.line_counts(start, kept.commit).removed == 1
    git(root, "config", "--unset", "core.hooksPath")
    check_health(root)


def test_another_repository_in_the_environment_does_not_mislead(
    ledger, tmp_path, git, make, monkeypatch
):
    git(tmp_path, "init", "-q", "elsewhere")
    monkeypatch.setenv("GIT_DIR", str(tmp_path / "elsewhere" / ".git"))
    ledger.create()
    make.trial(ledger)
    assert len(ledger.records()) == 1


@pytest.mark.parametrize(
    ("other", "name", "remedy"),
    [
        ("refs/heads/nightlab", "nightlab", "git branch -m nightlab OTHER"),
        (
            "refs/heads/nightlab/first-light/mine",
            "nightlab/first-light/mine",
            "git branch -m nightlab/first-light/mine OTHER",
        ),
        (
            "refs/heads/nightlab/first-light-consolidated/mine",
            "nightlab/first-light-consolidated/mine",
            "git branch -m nightlab/first-light-consolidated/mine OTHER",
        ),
        ("refs/nightlab", "refs/nightlab", "git update-ref -d refs/nightlab"),
        (
            "refs/nightlab/first-light",
            "refs/nightlab/first-light",
            "git update-ref -d refs/nightlab/first-light",
        ),
    ],
)
def test_a_ref_that_leaves_no_room_is_named_with_what_makes_room(
    ledger, root, git, other, name, remedy
):
    git(root, "update-ref", other, "HEAD")
    sentence = f"no records of it beside {name}, which is here: `{remedy}` makes room"
    for begin in (ledger.create, hold_session(ledger, None, "x").__enter__):
        with pytest.raises(UsageError, match=sentence):
            begin()
    subprocess.run(remedy, shell=True, cwd=root, check=True)
    with hold_session(ledger, None, "x"):
        ledger.create()


def test_names_that_only_look_alike_are_no_trouble(ledger, root, remote_address, git, make):
    for ref in (
        "refs/tags/nightlab/first-light",
        "refs/tags/refs/heads/nightlab/first-light",
        "refs/tags/HEAD",
        "refs/heads/origin",
        "refs/heads/nightlab-2",
        "refs/heads/refs/heads/nightlab/first-light",
        "refs/nightlab/first-light-2/trials/0000",
        "refs/nightlab/first-light/notes/mine",
        "refs/nightlab/first-light/trials/mine",
    ):
        git(root, "update-ref", ref, "HEAD")
    remote = Remote(root, "origin", "first-light")
    with hold_session(ledger, remote, "x") as session:
        remote.fetch()
        ledger.create()
        make.trial(ledger, Verdict.KEEP)
        kept = make.trial(ledger, Verdict.KEEP)
        session.push()
    remote.fetch()
    assert ledger.incumbent() == kept.commit
    assert len(ledger.records()) == 2
    assert studies(root) == ("first-light",)
    assert not remote.pending()
    assert git(remote_address, "rev-parse", "refs/heads/nightlab/first-light") == kept.commit


def test_a_repository_of_another_user_gets_gits_own_remedy(
    ledger, root, remote_address, git, monkeypatch
):
    monkeypatch.setenv("GIT_TEST_ASSUME_DIFFERENT_OWNER", "1")
    remedy = f"trust it with `git config --global --add safe.directory {root}`"
    for action in (ledger.exists, ledger.next_number, ledger.create):
        with pytest.raises(LedgerError, match=f"{root}, which belongs to another user.*{remedy}"):
            action()
    with pytest.raises(LedgerError, match="--add safe"):
        studies(root)
    git(root, "config", "--file", str(root.parent / "gitconfig"), "safe.directory", str(root))
    assert not ledger.exists()
    with pytest.raises(RemoteError, match=f"origin' belongs to another.*{remote_address}`"):
        Remote(root, "origin", "first-light").fetch()


def test_gits_refusal_is_passed_on(ledger, root, git):
    ledger.create()
    (root / ".git/refs/heads/nightlab/first-light.lock").touch()
    with pytest.raises(LedgerError, match=r"git update-ref refused in .*first-light\.lock"):
        ledger.plumbing.transaction([f"delete {ledger.refs.branch}"])


def test_the_branch_in_a_checkout_is_found(ledger, root, git):
    ledger.create()
    assert ledger.checked_out_at() is None
    git(root, "checkout", "-q", ledger.branch)
    assert ledger.checked_out_at() == root


def test_without_git_it_says_what_to_install(ledger, monkeypatch):
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(LedgerError, match="install git"):
        ledger.exists()


def test_on_a_machine_without_git_a_command_is_one_sentence(root, monkeypatch):
    monkeypatch.setenv("PATH", "/nowhere")
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[2]))
    done = subprocess.run(
        [sys.executable, "-m", "flows.command_line", "studies"],
        cwd=root,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode != 0
    assert "Nightlab needs the `git` command and found none on PATH: install git." in done.stderr
    assert done.stderr.count("\n") == 1


def test_importing_the_ledger_loads_no_tracker_and_no_orchestrator():
    code = "import sys, nightlab.ledger; print({'mlflow', 'prefect', 'torch'} & set(sys.modules))"
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert done.stdout.strip() == "set()"


def test_what_consolidation_offers_is_no_study_until_one_is_begun_on_it(ledger, root, git, make):
    ledger.create()
    make.trial(ledger)
    git(root, "branch", "nightlab/first-light-consolidated", ledger.incumbent())
    git(root, "branch", "nightlab/own-consolidated", ledger.incumbent())
    assert studies(root) == ("first-light", "own-consolidated")
    git(root, "update-ref", "refs/nightlab/first-light-consolidated/inflight/0000", "HEAD")
    assert "first-light-consolidated" in studies(root)


def test_records_whose_branch_is_gone_are_refused_by_name(ledger, root, git, make):
    ledger.create()
    make.trial(ledger, Verdict.KEEP)
    kept = make.trial(ledger, Verdict.KEEP)
    make.trial(ledger, Verdict.DISCARD)
    git(root, "branch", "-D", ledger.branch)
    remedy = (
        r"Study 'first-light' has 3 records here and its branch nightlab/first-light is gone: "
        rf"`git branch nightlab/first-light {kept.commit[:12]}` .*`nightlab fetch first-light "
        r"--remote origin`.*`nightlab delete first-light`"
    )
    for action in (ledger.create, ledger.incumbent, ledger.require_branch_of_records):
        with pytest.raises(UsageError, match=remedy):
            action()
    assert studies(root) == ()
    assert studies_without_branch(root) == ("first-light",)
    git(root, "branch", ledger.branch, kept.commit)
    ledger.require_branch_of_records()
    assert studies_without_branch(root) == ()
