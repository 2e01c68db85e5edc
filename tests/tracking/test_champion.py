"""Kept models in MLflow: on a server and in a local store, put there, found again, fetched."""

import contextlib
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from mlflow import MlflowClient

from nightlab import events
from nightlab.errors import TrackingError
from nightlab.study.model_folder import read_model
from nightlab.tracking import Tracker, champion, delete_experiment
from nightlab.tracking.store import Store
from tests.kept_samples import BASELINE, CHAMPION, fill_folder, kept_model
from tests.kept_samples import champion as champion_model
from tests.tracking.samples import DIFF, SOURCE, evidence, record

SECONDS = 60
NEXT = "d" * 40


@pytest.fixture(autouse=True)
def _patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine that runs other work takes more than the two seconds of other tests to answer."""
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "120")


@pytest.fixture(params=["local", "served"])
def uri(request: pytest.FixtureRequest, local_uri: str) -> str:
    if request.param == "local":
        return local_uri
    served: str = request.getfixturevalue("server")
    return served


@contextlib.contextmanager
def tracking(uri: str, mlruns: Path, study: str) -> Iterator[Tracker]:
    tracker = Tracker(uri, mlruns, study)
    try:
        yield tracker
    finally:
        tracker.close()


def keep(tracker: Tracker, folder: Path, **fields: object) -> None:
    model = kept_model(study=tracker.study, **fields)
    tracker.trial_ended(record(tracker.study, model.trial), evidence(), DIFF, SOURCE)
    fill_folder(folder, model)
    tracker.model_kept(folder, model, only_champion=fields.get("commit") == NEXT)


def fetched(uri: str, mlruns: Path, study: str, commit: str, into: Path) -> bool:
    into.mkdir()
    return champion.fetch_model(uri, mlruns, study, commit, into)


def test_a_model_that_a_session_kept_is_fetched_from_mlflow_alone(
    uri: str, mlruns: Path, study: str, tmp_path: Path
) -> None:
    with tracking(uri, mlruns, study) as tracker:
        keep(tracker, tmp_path / "0")
        keep(tracker, tmp_path / "3", trial=3, commit=CHAMPION, reason="improved", title="Wider")
        assert tracker.flush(SECONDS), tracker.away
    client, name = MlflowClient(tracking_uri=uri), f"nightlab-{study}"
    aliases = client.get_registered_model(name).aliases
    assert {alias: int(version) for alias, version in aliases.items()} == {
        "baseline": 1,
        "champion": 2,
    }
    version = client.get_model_version(name, "2")
    assert "The card of trial 3" in version.description
    logged = client.get_logged_model(version.tags["nightlab.logged_model"])
    assert logged.source_run_id == version.run_id
    assert client.get_run(version.run_id).data.tags["nightlab.trial"] == "3"
    assert (logged.status, logged.params["title"]) == ("READY", "Wider")

    assert champion.commit_of(uri, mlruns, study, "baseline") == BASELINE
    assert champion.commit_of(uri, mlruns, study, "champion") == CHAMPION
    assert fetched(uri, mlruns, study, CHAMPION, tmp_path / "there")
    assert read_model(tmp_path / "there").title == "Wider"
    for path in (tmp_path / "3").iterdir():
        assert (tmp_path / "there" / path.name).read_bytes() == path.read_bytes()

    assert not fetched(uri, mlruns, study, NEXT, tmp_path / "no version")
    assert not fetched(uri, mlruns, "unknown", CHAMPION, tmp_path / "no model")
    assert champion.commit_of(uri, mlruns, "unknown", "champion") is None
    champion.delete_registered(uri, mlruns, study)
    champion.delete_registered(uri, mlruns, study)
    assert champion.commit_of(uri, mlruns, study, "champion") is None


def test_only_the_champion_and_the_baseline_stay_where_that_is_asked_for(
    uri: str, mlruns: Path, study: str, tmp_path: Path
) -> None:
    with tracking(uri, mlruns, study) as tracker:
        keep(tracker, tmp_path / "0")
        keep(tracker, tmp_path / "3", trial=3, commit=CHAMPION, reason="improved")
        keep(tracker, tmp_path / "4", trial=4, commit=NEXT, reason="improved")
        assert tracker.flush(SECONDS), tracker.away
    client = MlflowClient(tracking_uri=uri)
    versions = client.search_model_versions(f"name = 'nightlab-{study}'")
    assert {each.tags["nightlab.commit"] for each in versions} == {BASELINE, NEXT}
    experiment = client.get_experiment_by_name(f"nightlab/{study}")
    logged = client.search_logged_models([experiment.experiment_id])
    assert {each.tags["nightlab.commit"] for each in logged} == {BASELINE, NEXT}


def test_a_synchronisation_puts_there_what_is_missing_and_no_more(
    uri: str, mlruns: Path, study: str, tmp_path: Path
) -> None:
    models = [kept_model(study=study), champion_model(study=study)]
    kept = [(fill_folder(tmp_path / str(model.trial), model), model) for model in models]
    assert champion.register_all(uri, mlruns, study, kept, CHAMPION) == 0, "there is no run yet"
    with tracking(uri, mlruns, study) as tracker:
        for model in models:
            tracker.trial_ended(record(study, model.trial), evidence(), DIFF, SOURCE)
    store = Store(uri, mlruns, study)
    begun = store.client.create_logged_model(
        store.experiment_id, "cut off", tags={"nightlab.commit": CHAMPION}
    )
    assert champion.register_all(uri, mlruns, study, kept, CHAMPION) == 2
    assert champion.register_all(uri, mlruns, study, kept, CHAMPION) == 0
    assert champion.commit_of(uri, mlruns, study, "champion") == CHAMPION
    logged = store.client.search_logged_models([store.experiment_id])
    assert len(logged) == 2, "one that was cut off is taken up again"
    assert {each.status for each in logged} == {"READY"}
    assert begun.model_id in {each.model_id for each in logged}
    # The incumbent may have no model here: the alias stays with what there is.
    assert champion.register_all(uri, mlruns, study, kept, NEXT) == 0
    assert champion.commit_of(uri, mlruns, study, "champion") == CHAMPION
    # A study that is begun anew under its name has nothing of the former one's.
    champion.delete_registered(uri, mlruns, study)
    delete_experiment(uri, mlruns, study)
    assert champion.register_all(uri, mlruns, study, kept, BASELINE) == 0
    with tracking(uri, mlruns, study) as tracker:
        tracker.trial_ended(record(study, 0), evidence(), DIFF, SOURCE)
    assert champion.register_all(uri, mlruns, study, kept, BASELINE) == 1


def test_a_local_store_is_not_made_to_be_asked(tmp_path: Path) -> None:
    uri = f"sqlite:///{tmp_path / 'mlruns' / 'mlflow.db'}"
    assert champion.commit_of(uri, tmp_path / "mlruns", "night", "champion") is None
    champion.delete_registered(uri, tmp_path / "mlruns", "night")
    assert not (tmp_path / "mlruns").exists()


class Older(BaseHTTPRequestHandler):
    """Passes everything on to a server, but for what it is too old to know."""

    server_address_behind = ""

    def _answer(self) -> None:
        import httpx

        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if "logged-models" in self.path:
            self.send_response(404)
            self.end_headers()
            return
        kept = {key: value for key, value in self.headers.items() if key.lower() != "host"}
        answer = httpx.request(
            self.command, f"{self.server_address_behind}{self.path}", content=body, headers=kept
        )
        self.send_response(answer.status_code)
        self.send_header("Content-Type", answer.headers.get("Content-Type", ""))
        self.end_headers()
        self.wfile.write(answer.content)

    do_GET = do_POST = do_PATCH = do_PUT = do_DELETE = _answer  # noqa: N815

    def log_message(self, *_: object) -> None:
        pass


def test_an_older_server_is_said_and_costs_nothing_else(
    server: str, mlruns: Path, study: str, tmp_path: Path
) -> None:
    handler = type("OlderServer", (Older,), {"server_address_behind": server})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as older:
        threading.Thread(target=older.serve_forever, daemon=True).start()
        uri = f"http://127.0.0.1:{older.server_address[1]}"
        said: list[events.Event] = []
        with events.listening(said.append), tracking(uri, mlruns, study) as tracker:
            keep(tracker, tmp_path / "0")
            assert tracker.flush(SECONDS), tracker.away
        texts = [each.text for each in said if isinstance(each, events.Notice)]
        assert len(texts) == 1
        assert texts[0].startswith(f"The model of trial 0 is not in MLflow: MLflow at {uri} ")
        assert f"`nightlab sync {study}` on this machine puts it there" in texts[0]
        with pytest.raises(TrackingError, match="on this machine puts it there"):
            champion.register_all(
                uri, mlruns, study, [(tmp_path / "0", kept_model(study=study))], BASELINE
            )
        older.shutdown()
    # Upgraded, it gets what it missed.
    models = [(tmp_path / "0", kept_model(study=study))]
    assert champion.register_all(server, mlruns, study, models, BASELINE) == 1
