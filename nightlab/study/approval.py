"""A person's word on what a study kept: given from a desk or on a page, and told in MLflow."""

from nightlab.errors import TrackingError
from nightlab.ledger import Ledger, Remote, give_word
from nightlab.records import TrialRecord
from nightlab.settings import TRAINER_FILE, Places
from nightlab.study.showing import show_record
from nightlab.tracking import Tracker, tracked_runs

FLUSH_SECONDS = 60.0


def speak(
    places: Places, ledger: Ledger, remote: Remote | None, number: int, *, approve: bool
) -> list[str]:
    """Approve or refuse a keep that waits; return what came of it, as sentences.

    Args:
        places: of this machine.
        ledger: the study's.
        remote: where to fetch it from before, and where the word is pushed.
        number: the trial that was kept.
        approve: whether it is wanted.

    Raises:
        UsageError: the trial does not wait for a word, or its branch is checked out here.
        RemoteError: the remote did not answer or refused; the word then waits here.
    """
    concerned = give_word(ledger, remote, number, approve=approve)
    said = _sentences(ledger, number, concerned, approve=approve)
    try:
        _tell_tracker(places, ledger, concerned)
    except TrackingError as error:
        said.append(str(error))
    return said


def diff_command(ledger: Ledger, record: TrialRecord) -> str:
    """What shows all that approving a keep brings to the branch."""
    return f"git diff {ledger.branch} {record.commit[:12]} -- {TRAINER_FILE}"


def _sentences(
    ledger: Ledger, number: int, concerned: tuple[TrialRecord, ...], *, approve: bool
) -> list[str]:
    if not concerned:
        verb = "approved" if approve else "refused"
        return [f"Trial {number} of study {ledger.study} was {verb} before: nothing changes."]
    if approve:
        below = [each.number for each in concerned[:-1]]
        along = f", with what it stands on (trial {_listed(below)})" if below else ""
        return [f"Trial {number} is approved{along}: branch {ledger.branch} stands at it."]
    said = [f"Trial {number} is refused: the study goes on from {concerned[0].parent[:12]}."]
    if above := [each.number for each in concerned[1:]]:
        said.append(
            f"What was kept on top of it falls with it (trial {_listed(above)}): `nightlab retry "
            f"{ledger.study} {above[0]}` tries it on what stands now."
        )
    return said


def _listed(numbers: list[int]) -> str:
    return ", ".join(map(str, numbers))


def _tell_tracker(places: Places, ledger: Ledger, records: tuple[TrialRecord, ...]) -> None:
    """Bring the runs of trials up to date, where MLflow has the study.

    Raises:
        TrackingError: it did not answer or refused.
    """
    if not records or tracked_runs(places.tracking_uri, places.mlruns, ledger.study) is None:
        return
    tracker = Tracker(places.tracking_uri, places.mlruns, ledger.study)
    for record in records:
        show_record(tracker, ledger, record)
    told = tracker.flush(FLUSH_SECONDS)
    tracker.close()
    if not told and tracker.away is not None:
        raise TrackingError(tracker.away)
