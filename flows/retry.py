"""Try an earlier trial again."""

from functools import partial

from prefect import flow

from flows.opening import RETRIES, RETRY_DELAY_SECONDS, fetched_study, with_prefect, working_session
from flows.session_page import show_session
from flows.telling import ended, tell_failed
from flows.trial import record_of, trial
from nightlab.proposers.choose import UNKEPT_CAPS
from nightlab.records import TrialRecord
from nightlab.settings import Places, StudyName, recorded_settings
from nightlab.study.trial import check_retryable, number_of_retry, retried_by, retry_proposal


@flow(
    name="retry",
    flow_run_name="retry {study} {number}",
    retries=RETRIES,
    retry_delay_seconds=RETRY_DELAY_SECONDS,
    on_failure=[tell_failed],
)
def retry(study: StudyName, number: int, remote: str | None = None) -> TrialRecord:
    """Retry a failed trial as a new one, with its proposal and its session's settings.

    A record is written once: the new trial's record names the one that it retries. A trial
    that failed before it had a proposal gets one now.

    Args:
        study: its name.
        number: the trial that failed.
        remote: git remote to fetch the study from and push it to.
    """
    places = Places.find()
    with fetched_study(study, remote, places) as ledger:
        earlier = ledger.record(number)
        check_retryable(earlier)
        settings = recorded_settings(earlier.settings)
    unkept = dict.fromkeys(UNKEPT_CAPS) if settings.command else {}  # As earlier versions allowed.
    changes = {**unkept, "study": study, "remote": remote or settings.remote, "trials": 1}
    with working_session(settings.model_copy(update=changes)) as session:
        if (done := retried_by(session, number)) is not None:
            return ended(study, done, _in_words(done))  # in an earlier try of this run
        again = number_of_retry(session, number)
        proposal = retry_proposal(session, earlier)
        run = partial(trial, study, again, proposal, number, return_state=True)
        record = record_of(session, again, with_prefect(session, run))
        show_session(session)
        link = session.tracker.study_url()
    return ended(study, record, _in_words(record), link=link)


def _in_words(record: TrialRecord) -> str:
    sentence = record.decision.sentence
    return f"trial {record.retry_of} was retried as trial {record.number}. {sentence}"
