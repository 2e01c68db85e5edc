"""Kept models in MLflow: a logged model of the trial's run, and a version of the study's model.

The registered model is ``nightlab-<study>``; its alias ``champion`` is the incumbent's version, and
``baseline`` the baseline's. A version is found by the commit of the code that builds it.
"""

import shutil
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from nightlab.errors import TrackingError
from nightlab.judging.score_text import format_score
from nightlab.records import KeptModel
from nightlab.shown import Markdown
from nightlab.tracking.connection import connect, failures, import_mlflow, shown_address
from nightlab.tracking.failures import explain
from nightlab.tracking.store import Store
from nightlab.tracking.tags import LONGEST_TAG, STUDY_TAG, TRIAL_TAG, note_tag

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import LoggedModel
    from mlflow.entities.model_registry import ModelVersion

CHAMPION, BASELINE = "champion", "baseline"
COMMIT_TAG = "nightlab.commit"
LOGGED_TAG = "nightlab.logged_model"
"""A version's logged model, which a registry in a database does not tell."""
CARD = "README.md"
_SYNC = "then `nightlab sync {study}` on this machine puts it there"


def registered_name(study: str) -> str:
    """What a study's model is called in MLflow's registry."""
    return f"nightlab-{study}"


def show_model(
    store: Store, tracking_uri: str, folder: Path, model: KeptModel, *, only_champion: bool
) -> None:
    """Put the model of the new incumbent, or of the baseline, into MLflow.

    Args:
        store: the study's.
        tracking_uri: of the store.
        folder: of the model.
        model: what it is.
        only_champion: whether other versions than the two with an alias are removed there.

    Raises:
        TrackingError: MLflow did not answer, or is too old for it.
    """
    with _told(tracking_uri, _SYNC.format(study=model.study)):
        register(store, folder, model)
        name_champion(store, model.commit)
        if only_champion:
            _retire(store)


def register(store: Store, folder: Path, model: KeptModel) -> bool:
    """Put a kept model into MLflow, where its trial's run is there and it is not; whether so.

    Raises:
        Exception: whatever ``connection.failures`` lists.
    """
    client, run = store.client, store.trial(model.trial).run
    if run is None or _version_of(client, model.study, model.commit) is not None:
        return False
    # It was written by this engine, for this folder.
    card = Markdown((folder / CARD).read_text(encoding="utf-8"))
    tags = {
        TRIAL_TAG: str(model.trial),
        "val_bpb": format_score(model.study_bpb),
        COMMIT_TAG: model.commit,
    }
    logged = _logged(store, folder, model, run.info.run_id, tags | note_tag(card))
    _make_registered(client, model.study)
    version = client.create_model_version(
        registered_name(model.study),
        logged.artifact_location,
        run_id=run.info.run_id,
        tags={**tags, LOGGED_TAG: logged.model_id},
        description=card[:LONGEST_TAG],
        model_id=logged.model_id,
    )
    if model.is_baseline:
        client.set_registered_model_alias(version.name, BASELINE, version.version)
    return True


def _logged(
    store: Store, folder: Path, model: KeptModel, run_id: str, tags: Mapping[str, str]
) -> "LoggedModel":
    """The logged model of a trial's run, with its files; one that was cut off is taken up again."""
    client, experiment = store.client, store.experiment_id
    begun = client.search_logged_models([experiment], f"tags.`{COMMIT_TAG}` = '{model.commit}'")
    known = model.model_dump(mode="json").items()
    params = {key: str(value)[:LONGEST_TAG] for key, value in known}
    logged = next(iter(begun), None) or client.create_logged_model(
        experiment,
        f"trial-{model.trial}",
        source_run_id=run_id,
        tags=dict(tags),
        params=params,
        model_type="nightlab",
    )
    client.log_model_artifacts(logged.model_id, str(folder))
    return client.finalize_logged_model(logged.model_id, "READY")


def name_champion(store: Store, commit: str) -> None:
    """Give the alias to the version of the incumbent's commit, if there is one."""
    version = _version_of(store.client, store.study, commit)
    if version is not None:
        name = registered_name(store.study)
        store.client.set_registered_model_alias(name, CHAMPION, version.version)


def register_all(
    tracking_uri: str,
    mlruns: Path,
    study: str,
    kept: Iterable[tuple[Path, KeptModel]],
    incumbent: str,
) -> int:
    """Put models into MLflow that are missing there, and name the champion; how many there were.

    Args:
        tracking_uri: MLflow's store.
        mlruns: where a local store keeps its artifacts.
        study: the study's name.
        kept: folders of its models.
        incumbent: its commit.

    Raises:
        TrackingError: MLflow did not answer, or refused.
    """
    import_mlflow()
    with _told(tracking_uri, _SYNC.format(study=study)):
        store = Store(tracking_uri, mlruns, study)
        added = sum(register(store, folder, model) for folder, model in kept)
        name_champion(store, incumbent)
    return added


def commit_of(tracking_uri: str, mlruns: Path, study: str, alias: str) -> str | None:
    """The commit of the version of a study's model that has an alias; None where none has.

    Raises:
        TrackingError: MLflow did not answer.
    """
    with _asked(tracking_uri, mlruns) as client:
        found = _of_alias(client, study, alias) if client is not None else None
        return found.tags.get(COMMIT_TAG) if found is not None else None


def fetch_model(tracking_uri: str, mlruns: Path, study: str, commit: str, into: Path) -> bool:
    """Download the model of a code; whether MLflow has it.

    Args:
        tracking_uri: MLflow's store.
        mlruns: where a local store keeps its artifacts.
        study: the study's name.
        commit: of the code.
        into: a folder for the model's files.

    Raises:
        TrackingError: MLflow did not answer, or does not find the files.
    """
    with _asked(tracking_uri, mlruns) as client:
        found = _version_of(client, study, commit) if client is not None else None
        if client is None or found is None:
            return False
        name = registered_name(study)
        with tempfile.TemporaryDirectory(dir=into.parent) as folder:
            there = import_mlflow().artifacts.download_artifacts(
                artifact_uri=client.get_model_version_download_uri(name, found.version),
                dst_path=folder,
                tracking_uri=tracking_uri,
            )
            for file in Path(there).iterdir():
                shutil.move(file, into / file.name)
    return True


def delete_registered(tracking_uri: str, mlruns: Path, study: str) -> None:
    """Remove a study's model from the registry, if it is there.

    Raises:
        TrackingError: MLflow did not answer, or refused.
    """
    with _asked(tracking_uri, mlruns) as client:
        name = registered_name(study)
        if client is not None and client.search_registered_models(f"name = '{name}'"):
            client.delete_registered_model(name)


@contextmanager
def _asked(tracking_uri: str, mlruns: Path) -> "Iterator[MlflowClient | None]":
    """Connect for a question; None where there is no local store, which is not made for it."""
    scheme, _, path = tracking_uri.partition(":///")
    if scheme == "sqlite" and not Path(path).is_file():
        yield None
        return
    import_mlflow()
    with _told(tracking_uri, "then try again"):
        yield connect(tracking_uri, mlruns)


def _retire(store: Store) -> None:
    """Remove the versions that have no alias, with their logged models, but for other people's."""
    client, name = store.client, registered_name(store.study)
    named = {str(version) for version in client.get_registered_model(name).aliases.values()}
    for version in client.search_model_versions(f"name = '{name}'"):
        if str(version.version) not in named and LOGGED_TAG in version.tags:
            client.delete_model_version(name, version.version)
            client.delete_logged_model(version.tags[LOGGED_TAG])


def _make_registered(client: "MlflowClient", study: str) -> None:
    from mlflow.exceptions import MlflowException

    about = f"Models of study {study}: `nightlab sample {study} TEXT` continues a text with them."
    try:
        client.create_registered_model(registered_name(study), {STUDY_TAG: study}, about)
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise


def _version_of(client: "MlflowClient", study: str, commit: str) -> "ModelVersion | None":
    wanted = f"name = '{registered_name(study)}' and tags.`{COMMIT_TAG}` = '{commit}'"
    found = client.search_model_versions(wanted)
    return found[0] if found else None


def _of_alias(client: "MlflowClient", study: str, alias: str) -> "ModelVersion | None":
    from mlflow.exceptions import MlflowException

    try:
        return client.get_model_version_by_alias(registered_name(study), alias)
    except MlflowException as error:
        if error.error_code not in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
            raise
        return None


@contextmanager
def _told(tracking_uri: str, what_then: str) -> Iterator[None]:
    """Turn a failure of MLflow's into a sentence."""
    try:
        yield
    except failures() as error:
        failure = explain(error, tracking_uri)
        raise TrackingError(
            f"MLflow at {shown_address(tracking_uri)} {failure.what}: {failure.remedy}; "
            f"{what_then}."
        ) from error
