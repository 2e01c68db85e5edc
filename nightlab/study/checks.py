"""What can be said of a session's settings before Prefect starts: in less than a second."""

from urllib.parse import urlsplit

from nightlab import events
from nightlab.errors import LedgerError, UsageError
from nightlab.ledger import Ledger, Remote
from nightlab.proposers.program import read_program
from nightlab.sandbox.device import check_device_name
from nightlab.settings import TRAINER_FILE, Places, SessionSettings, recorded_settings
from nightlab.study.conditions import begun_with, continue_settings
from nightlab.study.fit import check_fit


def check_settings(settings: SessionSettings, places: Places) -> None:
    """Refuse settings that cannot work here, as far as files and git can tell.

    Nothing is fetched, built, imported for long or asked of a network.

    Raises:
        UsageError: they cannot, with the sentence that mends them.
    """
    ledger = Ledger(places.root, settings.study)
    if settings.remote is not None:
        Remote(places.root, settings.remote, settings.study)
    elif not ledger.exists():
        first_file(ledger)
    check_device_name(settings.device)
    read_program(settings, places)
    begun = begun_with(ledger.records(), ledger.marks())
    check_fit(continue_settings(settings, begun), places.cache, root=places.root)


def check_last_settings(ledger: Ledger, remote: str | None, places: Places) -> None:
    """The same for what goes on with a study as its last session left it.

    Args:
        ledger: of the study; what stands at the remote alone is checked once it is fetched.
        remote: the git remote that is named for it.
        places: of this machine.

    Raises:
        UsageError: it cannot go on here.
    """
    if remote is not None:
        Remote(places.root, remote, ledger.study)
    records = ledger.records()
    if records:
        settings = recorded_settings(records[-1].settings)
        named = {"study": ledger.study, **({} if remote is None else {"remote": remote})}
        check_settings(settings.model_copy(update=named), places)


def first_file(ledger: Ledger) -> str:
    """The committed train.py that a new study begins from.

    Raises:
        UsageError: there is none.
    """
    try:
        return ledger.source("HEAD", TRAINER_FILE)
    except LedgerError as error:
        raise UsageError(
            f"A study begins from the committed {TRAINER_FILE}, and git has none at HEAD: commit "
            "it first."
        ) from error


def check_remote_is_named(study: str, remote: str | None) -> None:
    """Refuse a deployment's run that nothing would be left of.

    Raises:
        UsageError: no remote is named for the study.
    """
    if not remote:
        raise UsageError(
            "A deployment's run works in a clone that is thrown away after it, and no remote is "
            f"named that study {study!r} could be pushed to: `--param remote=origin`, or "
            "`remote: origin` among the deployment's parameters in prefect.yaml."
        )


def say_local_tracking(study: str, remote: str | None, places: Places) -> None:
    """Say that nobody at another machine will see a deployment's run in MLflow."""
    if not is_of_this_machine(places.tracking_uri):
        return
    where = (
        "lies in a clone that is thrown away after the run"
        if places.tracking_is_local
        else "is a file of this machine alone"
    )
    events.publish(
        events.Notice(
            text=f"MLflow's store {where}: start the worker with NIGHTLAB_TRACKING_URI="
            f"http://HOST:5000, and `nightlab sync {study}` in a clone that has fetched the study "
            f"from {remote} shows this session there."
        )
    )


def is_of_this_machine(tracking_uri: str) -> bool:
    """Whether MLflow's store is files, and neither a server nor a database."""
    return urlsplit(tracking_uri).scheme in ("sqlite", "file", "")
