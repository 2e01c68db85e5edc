"""Everything that a study left, counted before it is removed.

its refs here and on a remote; its runs and its model in MLflow; its report; its models in the
cache; bundles that were not pushed; folders of sessions that were killed
"""

import shutil
from dataclasses import dataclass
from pathlib import Path

from nightlab.errors import UsageError
from nightlab.ledger import (
    Ledger,
    Remote,
    delete_study,
    offered_by,
    refs_in_words,
    remote_refs,
    standing_refs,
)
from nightlab.ledger.bundles import bundles_of
from nightlab.records.counting import counted
from nightlab.report.write import report_files
from nightlab.settings import Places
from nightlab.study.model_cache import ModelCache
from nightlab.tracking import delete_experiment, tracked_runs
from nightlab.tracking.champion import delete_registered


@dataclass(frozen=True, slots=True, kw_only=True)
class Remains:
    """What there is of a study."""

    study: str
    here: dict[str, str]
    there: dict[str, str]
    """On the remote, if one was asked."""
    runs: int | None
    """In MLflow; None where there is no experiment."""
    files: tuple[Path, ...]
    """Report and bundles."""
    stays: str | None
    """A branch of its name that is not its own."""
    models: tuple[Path, ...]
    """Folders of kept models in this machine's cache."""

    def sentences(self, remote: str | None) -> list[str]:
        """What is to be removed, a line each."""
        lines = [f"In this clone: {refs_in_words(self.study, self.here)}."] if self.here else []
        if remote is not None and self.there:
            lines.append(f"At remote {remote}: {refs_in_words(self.study, self.there)}.")
        if self.runs is not None:
            lines.append(
                f"In MLflow: {counted(self.runs, 'run')} (it keeps them as deleted: `mlflow gc`)."
            )
        lines += [f"File: {path}" for path in (*self.files, *self.models)]
        if self.stays is not None:
            lines.append(
                f"Branch {self.stays} stays: it is another study's, or no consolidation of this "
                "one has made it as it stands."
            )
        return lines


def remains_of(places: Places, study: str, remote: Remote | None) -> Remains:
    """Count what there is of a study.

    Raises:
        UsageError: there is nothing.
        RemoteError: the remote did not answer.
        TrackingError: MLflow did not answer.
    """
    ledger = Ledger(places.root, study)
    found = Remains(
        study=study,
        here=standing_refs(ledger.plumbing, study),
        there=remote_refs(remote) if remote is not None else {},
        runs=tracked_runs(places.tracking_uri, places.mlruns, study),
        files=tuple(_files(places, ledger)),
        stays=_staying(ledger),
        models=tuple(_models(places, ledger)),
    )
    if not (found.here or found.there or found.files or found.runs is not None):
        where = f" or at remote {remote.name!r}" if remote is not None else ""
        branch = ledger.plumbing.resolve(ledger.refs.branch)
        if (other := offered_by(ledger.plumbing, study, branch)) is not None:
            raise UsageError(
                f"There is no study {study!r} here: branch {ledger.branch} is what a consolidation "
                f"of study {other!r} offers, and goes with that one (`nightlab delete {other}`)."
            )
        raise UsageError(
            f"There is nothing of a study {study!r} here{where}: `nightlab studies` lists the "
            "studies here, and --remote names a git remote that has others."
        )
    return found


def remove(places: Places, remains: Remains, remote: Remote | None) -> None:
    """Remove all of it; done again after a failure, it goes on.

    Raises:
        StudyBusy: a session works on the study.
        UsageError: its branch is checked out.
        RemoteError: the remote did not answer or refused.
        TrackingError: MLflow did not answer or refused.
    """
    delete_study(Ledger(places.root, remains.study), remote)
    for path in remains.files:
        path.unlink(missing_ok=True)
    for folder in remains.models:
        shutil.rmtree(folder, ignore_errors=True)
    delete_registered(places.tracking_uri, places.mlruns, remains.study)
    delete_experiment(places.tracking_uri, places.mlruns, remains.study)


def _staying(ledger: Ledger) -> str | None:
    """What stands under the name of the branch that its consolidations offer, and is none of it."""
    ref = ledger.refs.consolidated
    is_other = ref not in standing_refs(ledger.plumbing, ledger.study)
    return ref.removeprefix("refs/heads/") if is_other and ledger.plumbing.resolve(ref) else None


def _models(places: Places, ledger: Ledger) -> list[Path]:
    commits = {record.commit for record in ledger.records()} if ledger.exists() else set()
    cache = ModelCache(places.cache, ledger.study)
    return [path for commit in commits for path in cache.folders_of(commit)]


def _files(places: Places, ledger: Ledger) -> list[Path]:
    report = report_files(places.mlruns / "reports", ledger.study)
    older = report.picture.with_suffix(".png")
    files = [path for path in (report.html, report.picture, older) if path.is_file()]
    return files + bundles_of(places.cache, ledger.plumbing, ledger.study)
