"""An idea that was made for an earlier incumbent, carried over to the one of today."""

from nightlab.proposers import apply_edits
from nightlab.records import InFlight, Proposal, ProposalCost


def rebase(mark: InFlight, incumbent: str, source: str) -> InFlight:
    """Carry an idea that is not applied yet over to the incumbent of today.

    Edits that do not apply any more are set aside: the trial then asks for another idea, and
    what the first one cost counts on.

    Args:
        mark: a mark whose proposal is not applied.
        incumbent: the commit that stands now.
        source: its ``train.py``.
    """
    if mark.parent == incumbent:
        return mark
    moved = mark.model_copy(update={"parent": incumbent, "commit": incumbent})
    proposal = mark.proposal
    if proposal is None or proposal.error is not None:
        return moved
    if apply_edits(source, proposal.edits).error is None:
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
            "cost": _sum(earlier.cost, proposal.cost),
            "exchanges": (*earlier.exchanges, *proposal.exchanges),
        }
    )


def _sum(one: ProposalCost, other: ProposalCost) -> ProposalCost:
    return ProposalCost(
        calls=one.calls + other.calls,
        prompt_tokens=_known(one.prompt_tokens, other.prompt_tokens),
        completion_tokens=_known(one.completion_tokens, other.completion_tokens),
        cost_usd=_known_dollars(one.cost_usd, other.cost_usd),
        seconds=one.seconds + other.seconds,
    )


def _known(one: int | None, other: int | None) -> int | None:
    return None if one is None and other is None else (one or 0) + (other or 0)


def _known_dollars(one: float | None, other: float | None) -> float | None:
    return None if one is None and other is None else (one or 0.0) + (other or 0.0)
