"""When a session stops: at a person's request, or at a number of trials, a time or a cost."""

from nightlab.records import Reason, TrialRecord
from nightlab.records.counting import counted
from nightlab.records.durations import SECONDS_PER_HOUR
from nightlab.study.confirmation import seconds_of_round, seconds_to_confirm
from nightlab.study.session import Session
from nightlab.study.steering import hours_used, stop_asked


class Limits:
    """A session's limits against what its own records say, so that a retried run counts on."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def reached(self, under_way: int = 0) -> str | None:
        """The limit that was reached, as a sentence, or None.

        Args:
            under_way: trials that have begun and will count as done.
        """
        settings = self._session.settings
        request = stop_asked(self._session)
        if request is not None:
            return request.sentence()
        ours = self._own_trials()
        if settings.trials is not None and len(ours) + under_way >= settings.trials:
            return _trials_sentence(settings.trials, len(ours))
        hours = hours_used(self._session, self._session.ledger.records())
        if settings.hours is not None:
            ahead = seconds_to_confirm(self._session) + seconds_of_round(self._session)
            if hours + ahead / SECONDS_PER_HOUR >= settings.hours:
                kept = (
                    ", but for less than another trial and the confirmation take" if ahead else ""
                )
                return f"The time given, {settings.hours:g} h, is over{kept}."
        if not self._session.proposer.needs_money:
            return None
        return self._session.spending.reached()

    def _own_trials(self) -> list[TrialRecord]:
        return [
            record
            for record in self._session.ledger.records()
            if record.session == self._session.identifier and record.reason is not Reason.BASELINE
        ]


def _trials_sentence(wanted: int, done: int) -> str:
    asked = f"{counted(wanted, 'trial was', 'trials were')} asked for and"
    if done <= wanted:
        return f"{asked} {'is' if wanted == 1 else 'are'} done."
    return f"{asked} {done} are done: interrupted ones were resumed."
