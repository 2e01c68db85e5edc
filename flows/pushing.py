"""Pushes that may fail without stopping what they follow."""

from nightlab import events
from nightlab.errors import RemoteError
from nightlab.study.session import Session
from tasks.record import push


def push_or_say(session: Session) -> None:
    """Push the study; a push that fails is said and loses nothing: the next one carries it.

    What is under way goes along: a worker's clone may be gone with the worker.
    """
    if session.remote is None:
        return
    try:
        push(session)
    except RemoteError as error:
        events.publish(
            events.Notice(
                text=f"Not pushed yet; all is kept here and the next push tries again: {error}"
            )
        )
