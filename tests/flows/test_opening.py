"""What a run looks into before its own session begins."""

from pathlib import Path

from flows.opening import fetched_study
from nightlab.ledger import Remote, add_suggestion, hold_clone, suggestions
from nightlab.settings import Places
from tests.conftest import git
from tests.session_samples import STUDY, sample_session


def test_a_look_moves_nothing_from_under_a_session_that_works_in_the_clone(tmp_path: Path) -> None:
    root, hub = tmp_path / "clone", tmp_path / "hub.git"
    session = sample_session(root)
    git(tmp_path, "init", "-q", "--bare", str(hub))
    git(root, "remote", "add", "origin", str(hub))
    add_suggestion(session.ledger, "an idea")
    Remote(root, "origin", STUDY).push()
    (ref,) = git(hub, "for-each-ref", "--format=%(refname)", "refs/nightlab").split()
    git(root, "update-ref", "-d", ref)
    places = Places.find(root, {"NIGHTLAB_CACHE": str(tmp_path / "cache")})
    with hold_clone(session.ledger), fetched_study(STUDY, "origin", places) as ledger:
        assert not suggestions(ledger)
    with fetched_study(STUDY, "origin", places) as ledger:
        assert len(suggestions(ledger)) == 1
