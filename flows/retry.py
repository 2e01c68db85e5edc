"""Try an earlier trial again."""

from prefect import flow
from prefect.runtime import flow_run

from flows.keys import read_api_key
from flows.killed_runs import close_killed_runs
from flows.progress import session_progress
from flows.pushing import push_or_say
from flows.trial import record_of, trial
from nightlab.ledger import Ledger, Remote
from nightlab.records import TrialRecord
from nightlab.settings import Places, recorded_settings
from nightlab.study.session import open_session
from nightlab.study.trial import check_retryable, number_of_retry, retry_proposal
from tasks.prepare import prepare
from tasks.report import show_trials


# The flow is named as its subject, so that its deployment reads trial/retry.
@flow(name="trial", flow_run_name="retry {study} {number}")
def retry(study: str, number: int, remote: str | None = None) -> TrialRecord:
    """Retry a failed trial as a new one, with its proposal and its session's settings.

    A record is written once: the new trial's record names the one that it retries. A trial
    that failed before it had a proposal gets one now.
    """
    places = Places.find()
    if remote is not None:
        Remote(places.root, remote, study).fetch()
    earlier = Ledger(places.root, study).record(number)
    check_retryable(earlier)
    settings = recorded_settings(earlier.settings)
    settings = settings.model_copy(update={"remote": remote or settings.remote, "trials": 1})
    key = read_api_key(settings.api_key_secret)
    identifier = flow_run.get_id() or ""
    with (
        open_session(settings, places, identifier=identifier, api_key=key) as session,
        session_progress(session),
    ):
        close_killed_runs(session)
        prepare(session)
        again = number_of_retry(session, number)
        proposal = retry_proposal(session, earlier)
        state = trial(session, study, again, proposal, number, return_state=True)
        record = record_of(session, again, state)
        show_trials(study, session.ledger.records(), session.tracker.run_url(again))
        push_or_say(session)
        return record
