from pathlib import Path
from typing import Any

import pytest

from nightlab import events
from nightlab.errors import UsageError
from nightlab.ledger import Ledger
from nightlab.records import Proposal, Verdict
from nightlab.settings import Places, SessionSettings
from nightlab.study.checks import (
    check_last_settings,
    check_remote_is_named,
    check_settings,
    say_local_tracking,
)
from nightlab.study.conditions import continue_settings
from tests.conftest import git
from tests.session_samples import STUDY, finish_trial, sample_session


@pytest.fixture
def session(tmp_path: Path) -> Any:
    return sample_session(tmp_path / "clone")


@pytest.fixture
def places(session: Any, tmp_path: Path) -> Places:
    return Places.find(session.places.root, {"NIGHTLAB_CACHE": str(tmp_path / "cache")})


def test_settings_that_work_here_pass_and_leave_nothing(session: Any, places: Places) -> None:
    git(places.root, "remote", "add", "origin", "https://host.invalid/never-asked.git")
    for settings in (
        SessionSettings(study=STUDY),
        SessionSettings(study="new"),
        SessionSettings(study="new", remote="origin", corpus="climbmix", device="cuda:1"),
    ):
        check_settings(settings, places)
    assert not places.cache.exists()
    assert git(places.root, "status", "--porcelain") == ""


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({"remote": "backup"}, "`git remote add backup ADDRESS`"),
        ({"program": "brief.md"}, "The research brief 'brief.md' needs to be a readable"),
        ({"device": "gpu"}, "A device is 'auto', 'cpu', 'cuda' or 'cuda:N', and 'gpu'"),
        ({"device": "cuda:"}, "and 'cuda:' was asked for"),
        ({"device": "cuda:²"}, "was asked for"),
        ({"corpus": "path:/no/such"}, "there is no such folder: correct --corpus"),
        ({"corpus": "pile"}, "a corpus is 'embedded', 'path:DIR'"),
        ({"preset": "h100"}, "needs 503.57 MB of text and embedded has"),
    ],
)
@pytest.mark.usefixtures("session")
def test_what_cannot_work_is_told_at_once(
    places: Places, given: dict[str, str], sentence: str
) -> None:
    with pytest.raises(UsageError) as refused:
        check_settings(SessionSettings.model_validate({"study": STUDY, **given}), places)
    assert sentence in str(refused.value)


def test_a_new_study_needs_its_file_committed(session: Any, places: Places) -> None:
    git(places.root, "rm", "-q", "--cached", "trainer/train.py")
    git(places.root, "-c", "user.name=A", "-c", "user.email=a@localhost", "commit", "-qm", "Out")
    check_settings(SessionSettings(study=STUDY), places)
    with pytest.raises(UsageError, match=r"begins from the committed trainer/train\.py"):
        check_settings(SessionSettings(study="new"), places)


def test_a_study_is_checked_with_what_it_was_begun_with(session: Any, places: Places) -> None:
    begin(session, corpus="path:/gone", preset="laptop")
    with pytest.raises(UsageError, match="path:/gone"):
        check_settings(SessionSettings(study=STUDY), places)
    with pytest.raises(UsageError, match="was begun with preset 'laptop' and is now given 'quick'"):
        check_settings(SessionSettings(study=STUDY, preset="quick"), places)
    with pytest.raises(UsageError, match="path:/gone"):
        check_last_settings(session.ledger, None, places)


def test_what_continues_a_study_needs_the_remote_that_is_named(
    session: Any, places: Places
) -> None:
    check_last_settings(session.ledger, None, places)
    begin(session)
    check_last_settings(session.ledger, None, places)
    for ledger in (session.ledger, Ledger(places.root, "only-at-the-remote")):
        with pytest.raises(UsageError, match="git remote add hub ADDRESS"):
            check_last_settings(ledger, "hub", places)


def begin(session: Any, **settings: str) -> None:
    """Record a baseline that was measured with settings."""
    given = SessionSettings.model_validate({"study": STUDY, **settings})
    session.settings = continue_settings(given, None)
    finish_trial(session, Proposal(title="Baseline", proposer="none"), Verdict.KEEP)


def test_a_record_that_names_no_study_is_of_the_one_it_stands_in(
    session: Any, places: Places, monkeypatch: pytest.MonkeyPatch
) -> None:
    begin(session)
    (record,) = session.ledger.records()
    settings = {key: value for key, value in record.settings.items() if key != "study"}
    bare = record.model_copy(update={"settings": settings})
    asked: list[str] = []
    monkeypatch.setattr(Ledger, "records", lambda _: (bare,))
    monkeypatch.setattr(
        "nightlab.study.checks.check_settings", lambda given, _: asked.append(given.study)
    )
    check_last_settings(Ledger(places.root, "other"), None, places)
    assert asked == ["other"]


@pytest.mark.parametrize("remote", [None, ""])
def test_a_deployment_without_a_remote_is_refused(remote: str | None) -> None:
    check_remote_is_named("night", "origin")
    with pytest.raises(UsageError, match=r"study 'night' .*--param remote=origin.*prefect\.yaml"):
        check_remote_is_named("night", remote)


@pytest.mark.parametrize(
    ("uri", "said"),
    [
        (None, "lies in a clone that is thrown away after the run"),
        ("sqlite:////var/lib/mlflow.db", "is a file of this machine alone"),
        ("/var/lib/mlruns", "is a file of this machine alone"),
        ("file:///var/lib/mlruns", "is a file of this machine alone"),
        ("http://host:5000", None),
        ("https://host/mlflow", None),
        ("postgresql://host/mlflow", None),
    ],
)
def test_a_tracking_store_that_others_cannot_see_is_said(
    places: Places, uri: str | None, said: str | None
) -> None:
    if uri is not None:
        places = places.model_copy(update={"tracking_uri": uri})
    heard: list[events.Event] = []
    with events.listening(heard.append):
        say_local_tracking("night", "origin", places)
    texts = [each.text for each in heard if isinstance(each, events.Notice)]
    assert len(texts) == (said is not None)
    for text in texts:
        assert f"MLflow's store {said}: start the worker with NIGHTLAB_TRACKING_URI" in text
        assert "`nightlab sync night`" in text
