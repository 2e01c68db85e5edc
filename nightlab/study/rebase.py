"""An idea that was made for an earlier incumbent, carried over to today's."""

from nightlab.proposers import Proposer, apply_edits, check_syntax
from nightlab.records import InFlight, Proposal


def rebase(mark: InFlight, incumbent: str, source: str, program: str) -> InFlight:
    """Carry an idea that is not trained yet over to the incumbent and the brief of today.

    Edits that do not apply any more, or make no Python, are set aside, and so is an idea that was
    asked for before the person changed the brief: the trial then asks for another one, and what
    the first one cost counts on.

    Args:
        mark: a mark whose commit is its parent's.
        incumbent: the commit that stands now.
        source: its ``train.py``.
        program: the person's brief as it stands now.
    """
    # A retry is of that very idea, whatever the brief says by now.
    asked_before = mark.program not in ("", program) and mark.retry_of is None
    if mark.parent == incumbent and not asked_before:
        return mark
    moved = mark.model_copy(update={"parent": incumbent, "commit": incumbent, "program": program})
    proposal = mark.proposal
    if proposal is None or proposal.proposer == "baseline":
        return moved
    # What was wrong with it was so for another source: it is asked for anew rather than held
    # against the one of today.
    outcome = apply_edits(source, proposal.edits)
    unusable = proposal.error or outcome.error or check_syntax(outcome.source)
    if not asked_before and unusable is None:
        return moved
    return moved.model_copy(update={"proposal": None, "set_aside": (*mark.set_aside, proposal)})


def asked_of_another(mark: InFlight, proposer: Proposer, command: str | None) -> str | None:
    """Whom the idea of a trial that never began was asked of, where that is not who is asked now.

    Args:
        mark: of the trial, as an earlier session left it.
        proposer: of the session.
        command: of the session; a mark has the whole one of its own in its settings.
    """
    idea = mark.proposal
    if idea is None or mark.attempts or mark.retry_of is not None:
        return None
    if idea.proposer == "command":
        is_same = mark.settings.get("command") == command
    elif idea.model is None:
        is_same = proposer.name in (idea.proposer, "hybrid")
    else:
        is_same = command is None and idea.model in (proposer.model or "").split(",")
    return None if is_same else " ".join(filter(None, (idea.proposer, idea.model)))


def with_set_aside(mark: InFlight, proposal: Proposal) -> Proposal:
    """The trial's idea with the cost and the exchanges of those that were set aside."""
    for earlier in reversed(mark.set_aside):
        proposal = with_earlier(earlier, proposal)
    return proposal


def with_earlier(earlier: Proposal, proposal: Proposal) -> Proposal:
    """A proposal with the cost and the exchanges of one that it replaces."""
    return proposal.model_copy(
        update={
            "cost": earlier.cost + proposal.cost,
            "exchanges": (*earlier.exchanges, *proposal.exchanges),
        }
    )
