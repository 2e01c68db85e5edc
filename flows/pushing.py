"""Pushes that may fail without stopping what they follow, and the one that may not: the last."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

from nightlab import events
from nightlab.errors import NotPushed, RemoteError, SessionOver
from nightlab.records.counting import counted
from nightlab.records.durations import SECONDS_PER_HOUR
from nightlab.study.session import Session, say_once
from nightlab.study.steering import Ear

FIRST_PAUSE_SECONDS = 5.0
LONGEST_PAUSE_SECONDS = 300.0


def push_or_say(session: Session) -> None:
    """Push the study; a push that fails is said once and loses nothing: the next one carries it.

    What is under way goes along: a worker's clone may be gone with the worker.
    """
    if session.remote is None:
        return
    try:
        session.hold.push()
    except RemoteError as error:
        text = f"Not pushed yet; all is kept here and the next push tries again: {error}"
        say_once(session, "push", text)
    else:
        session.troubles.pop("push", None)


@contextmanager
def pushed_at_the_end(session: Session) -> Iterator[None]:
    """Run a block, and do not end before the study is on its remote, or long tried for.

    Raises:
        NotPushed: it could not be pushed; the sentence names where it is kept.
    """
    try:
        yield
    except BaseException:
        push_or_say(session)  # what ended the block is the news
        raise
    push_at_last(session)


def push_at_last(session: Session) -> None:
    """Push the study, and try for ``push_hours`` where that fails: its clone may be thrown away.

    Raises:
        NotPushed: it could not be pushed; the sentence names where it is kept.
    """
    hours = session.settings.push_hours
    ends = time.monotonic() + hours * SECONDS_PER_HOUR
    pause, hear = FIRST_PAUSE_SECONDS, Ear(session, "its remote")
    while True:
        try:
            session.hold.push()
        except RemoteError as error:
            left = ends - time.monotonic()
            if left <= 0:
                raise NotPushed(
                    "The end of this session is not on its remote, which was tried for "
                    f"{counted(hours, 'hour')} (--push-hours): {error}"
                ) from error
            if pause == FIRST_PAUSE_SECONDS:
                text = f"Trying for {counted(hours, 'hour')} (--push-hours) to push, as this failed"
                events.publish(events.Notice(text=f"{text}: {error}"))
            try:
                hear.sleep(min(pause, left))
            except SessionOver as over:
                raise NotPushed(f"{over} {error}") from error
            pause = min(2 * pause, LONGEST_PAUSE_SECONDS)
        else:
            return
