"""The next trial's idea, asked for while the present trial trains.

A model takes seconds to minutes to answer, in which the device would stand idle. What it
answers is put into the next trial's in-flight mark at once: it is paid for, so it outlives
a kill and the session's end. It was made for the incumbent of that moment; where another
stands when the trial begins, ``rebase`` carries it over or sets it aside.
"""

import contextvars
import threading
from collections.abc import Callable

from nightlab import events
from nightlab.errors import NightlabError
from nightlab.ledger import Ledger
from nightlab.proposers import UnderWay
from nightlab.records import InFlight, Proposal
from nightlab.study.briefing import brief
from nightlab.study.session import Session
from nightlab.study.trial import new_mark

Ask = Callable[[Session, int, InFlight], Proposal]


def begin_asking(session: Session, number: int, under_way: InFlight, ask: Ask) -> None:
    """Ask for the idea of trial ``number``, where a model has to be waited for.

    At most one idea is asked for at a time, in a thread of its own. It does not hold up the
    end of the process: who interrupts a session does not wait for a model.

    Args:
        session: at work.
        number: the trial after the one that is about to train.
        under_way: the mark of the one that trains, which no record tells of yet.
        ask: ``ask_ahead``, or what runs it.
    """
    if not session.proposer.reads or session.asking is not None:
        return

    def run() -> None:
        try:
            ask(session, number, under_way)
        except NightlabError as error:
            # The trial asks again when its turn comes, with the retries that asking has.
            events.publish(events.Notice(text=f"No idea for trial {number} ahead of time: {error}"))

    context = contextvars.copy_context()
    session.asking = threading.Thread(
        target=context.run, args=(run,), name="nightlab-prefetch", daemon=True
    )
    session.asking.start()


def await_idea(session: Session) -> None:
    """Return once the idea is in its mark, or has failed to come."""
    if session.asking is not None:
        session.asking.join()
        session.asking = None


def ask_ahead(session: Session, number: int, under_way: InFlight) -> Proposal:
    """Ask for the idea of a trial that has not begun, and put it into its mark."""
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
    return idea


def is_prefetched(mark: InFlight) -> bool:
    """Whether the trial has an idea and was never begun."""
    return mark.attempts == 0
