"""What is said of a study before it is removed, beside others whose names are parts of its own."""

from pathlib import Path
from typing import Any

import pytest

from nightlab.errors import UsageError
from nightlab.ledger import Ledger
from nightlab.ledger.bundles import FOLDER, folder_name
from nightlab.ledger.exchange import Exchange
from nightlab.settings import Places
from nightlab.study.consolidation import begin_consolidation, finish_consolidation, offer
from nightlab.study.removal import remains_of, remove
from tests.conftest import git
from tests.consolidation_samples import DEEPER, STUDY, WIDER, run, studied

OFFERED = f"nightlab/{STUDY}-consolidated"


def places_of(session: Any, folder: Path) -> Places:
    root = session.ledger.root
    return Places(
        root=root,
        cache=folder / "cache",
        tracking_uri=f"sqlite:///{folder}/mlflow.db",
        mlruns=folder,
    )


def test_what_its_consolidation_offers_goes_with_it_and_is_no_study(tmp_path: Path) -> None:
    session = studied(tmp_path / "clone", DEEPER, WIDER)
    found = finish_consolidation(session, run(session, begin_consolidation(session, 6)))
    assert offer(session.ledger, found) is None
    places = places_of(session, tmp_path)
    with pytest.raises(UsageError, match=rf"{OFFERED} is what .* of study '{STUDY}' offers"):
        remains_of(places, f"{STUDY}-consolidated", None)
    remains = remains_of(places, STUDY, None)
    assert "the consolidated branch" in remains.sentences(None)[0]
    remove(places, remains, None)
    assert "nightlab/" not in git(places.root, "for-each-ref")


def test_a_branch_that_a_person_made_stays_and_is_named(tmp_path: Path) -> None:
    session = studied(tmp_path / "clone")
    git(session.ledger.root, "branch", OFFERED, "main")
    places = places_of(session, tmp_path)
    remains = remains_of(places, STUDY, None)
    assert remains.sentences(None)[-1].startswith(f"Branch {OFFERED} stays: ")
    remove(places, remains, None)
    left = git(places.root, "for-each-ref", "--format=%(refname)").split()
    assert left == ["refs/heads/main", f"refs/heads/{OFFERED}"]


def test_bundles_and_reports_of_names_that_begin_alike_stay(tmp_path: Path) -> None:
    session = studied(tmp_path / "clone")
    places = places_of(session, tmp_path)
    git(tmp_path, "init", "-q", "--bare", "hub.git")
    git(places.root, "remote", "add", "origin", str(tmp_path / "hub.git"))
    place = Exchange(session.ledger.plumbing, "origin").place
    made = []
    for study in (STUDY, f"{STUDY}-2", f"{STUDY}-consolidated", f"a-{STUDY}"):
        for path in (
            places.cache / FOLDER / folder_name(place) / f"{study}.0123abcd.bundle",
            places.mlruns / "reports" / f"{study}.html",
        ):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
            made.append(path)
    remains = remains_of(places, STUDY, None)
    assert set(remains.files) == set(made[:2])
    remove(places, remains, None)
    assert [path.exists() for path in made] == [False, False, *[True] * 6]
    assert not Ledger(places.root, STUDY).exists()
