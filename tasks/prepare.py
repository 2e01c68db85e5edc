"""Prepare the corpus."""

from prefect import task
from prefect.cache_policies import NO_CACHE

from nightlab import events
from nightlab.corpus import prepare_corpus
from nightlab.study.session import Session
from tasks.finished import finished


@task(
    name="prepare corpus", task_run_name="prepare {session.settings.corpus}", cache_policy=NO_CACHE
)
def prepare(session: Session) -> None:
    """Prepare the session's corpus; a prepared one is found again in the user's cache."""

    def say(sentence: str, fraction: float | None = None) -> None:
        share = "" if fraction is None else f"{fraction:.0%}"
        events.publish(
            events.StepBegun(
                study=session.ledger.study, number=None, step="corpus", title=sentence, detail=share
            )
        )

    corpus = prepare_corpus(session.corpus_request(), session.places.cache, say)
    session.use_corpus(corpus.folder)
    return finished(None, f"corpus {corpus.fingerprint[:12]}")
