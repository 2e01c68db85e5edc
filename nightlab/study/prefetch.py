"""The next trial's idea, asked for while the present trial trains.

A model takes seconds to minutes to answer, in which the device would stand idle. What it
answers is put into the next trial's in-flight mark at once: it is paid for, so it outlives
a kill and the session's end. It was made for the incumbent of that moment; where another
stands when the trial begins, ``rebase`` carries it over or sets it aside.
"""

import threading

from nightlab import events
from nightlab.errors import NightlabError
from nightlab.ledger import Ledger
from nightlab.proposers import UnderWay
from nightlab.records import InFlight
from nightlab.study.briefing import brief
from nightlab.study.session import Session
from nightlab.study.trial import new_mark


class Prefetch:
    """At most one idea at a time, found in a thread of its own."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._thread: threading.Thread | None = None

    def begin(self, number: int, under_way: InFlight) -> None:
        """Ask for the idea of trial ``number``, where a model has to be waited for.

        Args:
            number: the trial after the one that is about to train.
            under_way: the mark of the one that trains, which no record tells of yet.
        """
        if not self._session.proposer.reads or self._thread is not None:
            return
        self._thread = threading.Thread(
            target=self._run, args=(number, under_way), name="nightlab-prefetch", daemon=True
        )
        self._thread.start()

    def wait(self) -> None:
        """Return once the idea is in its mark, or has failed to come."""
        if self._thread is not None:
            self._thread.join()
            self._thread = None

    def _run(self, number: int, under_way: InFlight) -> None:
        session = self._session
        try:
            # Git's helpers serve one thread each, so this one has its own.
            ledger = Ledger(session.places.root, session.ledger.study)
            mark = new_mark(session, number, ledger)
            title = under_way.proposal.title if under_way.proposal is not None else ""
            change = ledger.candidate_diff(under_way.parent, under_way.commit)
            meanwhile = UnderWay(number=under_way.number, title=title, diff=change)
            told = brief(session, mark, ledger, under_way=meanwhile)
            with session.tracker.model_calls(number):
                idea = session.proposer.propose(told)
            ledger.mark(mark.model_copy(update={"proposal": idea}), is_new=True)
        except NightlabError as error:
            # The trial asks again when its turn comes, with the retries that asking has.
            events.publish(events.Notice(text=f"No idea for trial {number} ahead of time: {error}"))


def is_prefetched(mark: InFlight) -> bool:
    """Whether the trial has an idea and was never begun."""
    return mark.attempts == 0
