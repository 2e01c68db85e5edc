"""An idea that was made for an earlier incumbent, carried over to today's."""

from nightlab.proposers import apply_edits, check_syntax
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
