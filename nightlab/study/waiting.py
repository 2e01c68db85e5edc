"""A session's wait for models none of which answers."""

import time
from collections.abc import Callable
from datetime import timedelta
from typing import TypeVar

from nightlab import events
from nightlab.errors import SessionOver
from nightlab.proposers import NoModelAnswers
from nightlab.records import utc_now
from nightlab.records.durations import SECONDS_PER_HOUR, in_words
from nightlab.settings import WAIT_FOR_MODEL_HOURS, SessionSettings
from nightlab.study.limits import Limits
from nightlab.study.patience import LONGEST_PAUSE_SECONDS, next_pause_seconds
from nightlab.study.session import Session
from nightlab.study.steering import LOOK_SECONDS, Ear

Answer = TypeVar("Answer")


class ModelWait:
    """Waits between one trial's questions, so that an outage uses up no trials."""

    def __init__(self, session: Session) -> None:
        self._ear = Ear(session, "a model")
        self._limits = Limits(session)
        self._longest = SECONDS_PER_HOUR * longest_hours(session.settings)
        self._since: float | None = None
        self._pauses = 0

    def ask(self, question: Callable[[], Answer]) -> Answer:
        """Ask until a model answers.

        Args:
            question: what asks all of them once, with what retries it has.

        Raises:
            SessionOver: it was waited for long enough, or the session's own limits are reached.
        """
        while True:
            try:
                answer = question()
            except NoModelAnswers as error:
                self._after(error)
            else:
                self._say_back()
                return answer

    def _after(self, error: NoModelAnswers) -> None:
        """Wait for as long as the models ask, or longer each time."""
        now = time.monotonic()
        is_new = self._since is None
        since = self._since = now if self._since is None else self._since
        asked = error.retry_after_seconds
        pause = next_pause_seconds(self._pauses, now - since, self._longest, asked)
        if pause is None:
            raise SessionOver(self._given_up(error, now - since))
        if is_new or pause > LONGEST_PAUSE_SECONDS:
            self._say(error, pause)
        self._pauses += 1
        self._sleep(pause, error)

    def _say_back(self) -> None:
        if self._since is None:
            return
        away = in_words(time.monotonic() - self._since)
        events.publish(events.Notice(text=f"A model answers again, after {away}."))

    def _say(self, error: NoModelAnswers, pause: float) -> None:
        if pause > LONGEST_PAUSE_SECONDS:
            until = (utc_now() + timedelta(seconds=pause)).astimezone()
            when = f"until {until:%H:%M} ({in_words(pause)}), as it asks"
        else:
            when = (
                f"and asks again, at first in {in_words(pause)}, later every "
                f"{in_words(LONGEST_PAUSE_SECONDS)}, for {in_words(self._longest)} at most "
                "(--wait-for-model-hours)"
            )
        events.publish(events.Notice(text=f"No model answers: {error} The session waits {when}."))

    def _given_up(self, error: NoModelAnswers, waited: float) -> str:
        asked = error.retry_after_seconds
        more = f", and asks for {in_words(asked)} more" if asked else ""
        return (
            f"No model has answered for {in_words(waited)}{more}; the session waits for "
            f"{in_words(self._longest)} at most (--wait-for-model-hours). The last said: {error}"
        )

    def _sleep(self, seconds: float, error: NoModelAnswers) -> None:
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0:
            reached = self._limits.reached()
            if reached is not None:
                raise SessionOver(f"{reached} It was waiting for a model: {error}")
            self._ear.sleep(min(LOOK_SECONDS, left))


def longest_hours(settings: SessionSettings) -> float:
    """How long a session waits for models: as it was set, else as long as its night is."""
    if settings.wait_for_model_hours is not None:
        return settings.wait_for_model_hours
    return settings.hours if settings.hours is not None else WAIT_FOR_MODEL_HOURS
