"""What a person asks of a session while it runs: ideas for the proposer, and its end."""

from datetime import datetime

from nightlab import events
from nightlab.errors import LedgerError, RemoteError
from nightlab.ledger import (
    forget_stop,
    hear_stop,
    settle_suggestions,
    stop_request,
    waiting_suggestions,
)
from nightlab.proposers import KnobProposer
from nightlab.study.session import Session

NOT_HEARD = "Suggestions and stop requests from elsewhere cannot be read now"


def stop_asked_since(session: Session, moment: datetime) -> bool:
    """Whether a person asked, here or on the study's remote, that the session ends, since a moment.

    A request that came before ended the trials; what follows them then goes on.
    """
    if session.remote is not None:
        try:
            hear_stop(session.ledger, session.remote, session.identifier)
        except (RemoteError, LedgerError) as error:
            events.publish(events.Notice(text=f"{NOT_HEARD}: {error}"))
    request = stop_request(session.ledger, session.identifier)
    return request is not None and request.asked_at > moment


class Steering:
    """Hears what is asked of a session, between its trials.

    Nothing here stops a trial: where a remote does not answer, that is said, and it is asked again.
    """

    def __init__(self, session: Session) -> None:
        self._session = session
        self._is_said = False

    def begin(self) -> None:
        """Put away what earlier sessions were asked, and what a kill of them left half done."""
        session = self._session
        settle_suggestions(session.ledger, session.ledger.records())
        try:
            forget_stop(session.ledger, session.remote, unless=session.identifier)
        except RemoteError as error:
            self._say(error)

    def hear(self) -> None:
        """Bring in what was asked on the study's remote, and say what nobody can read."""
        session = self._session
        if session.remote is not None:
            try:
                hear_stop(session.ledger, session.remote, session.identifier)
                session.remote.fetch(("suggestions",))
            except (RemoteError, LedgerError) as error:
                self._say(error)
        if self._is_said or session.proposer.name != KnobProposer.name:
            return
        waiting = len(waiting_suggestions(session.ledger))
        if waiting:
            self._is_said = True
            what = "1 suggestion waits" if waiting == 1 else f"{waiting} suggestions wait"
            text = f"{what} for a proposer that reads: the knobs proposer only tunes constants."
            events.publish(events.Notice(text=text))

    def end(self) -> None:
        """Put away the request that ended the session, so that it stops no other."""
        try:
            forget_stop(self._session.ledger, self._session.remote)
        except RemoteError as error:
            self._say(error)

    def _say(self, error: Exception) -> None:
        events.publish(events.Notice(text=f"{NOT_HEARD}: {error}"))
