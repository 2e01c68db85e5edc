"""The proposer that divides its trials between a model and the optimiser.

Published comparisons find that optimisers beat models at numbers, that models find what
optimisers cannot (structure), and that both together beat either. So each trial goes to one of
three arms, drawn by what each gained for its candidates' training seconds
(nightlab/proposers/arms.py): the model edits the code; the optimiser moves the knobs around
what stands; or an edit of the model's that just missed is tried again with other knobs, since new
structure rarely meets the settings that suit it at the first try.
"""

from dataclasses import dataclass

from nightlab import events
from nightlab.errors import BudgetReached, NightlabError, NoEdit, UsageError
from nightlab.models.endpoint_errors import EndpointError
from nightlab.models.texts import one_line
from nightlab.proposers.arms import Arm, arm_records, choose_arm, shares
from nightlab.proposers.brief import Brief, NearMiss, Proposer
from nightlab.proposers.edits import apply_edits, edit_between
from nightlab.proposers.history import TITLE_CHARACTERS
from nightlab.proposers.knobs.proposer import KnobProposer
from nightlab.records import Mode, Proposal
from nightlab.records.counting import counted
from nightlab.source.knobs import read_knobs


@dataclass(slots=True)
class HybridProposer:
    """Draws an arm for each trial, and has it propose."""

    structure: Proposer
    tuner: KnobProposer
    name: str = "hybrid"
    reads: bool = True
    needs_money: bool = False
    """The optimiser goes on without."""

    @property
    def model(self) -> str | None:
        """What edits the code."""
        return self.structure.model

    def propose(self, brief: Brief) -> Proposal:
        """Return the proposal of the arm whose turn it is.

        A person's suggestion is for the model, so it has the turn while one waits. Where the
        model's caps are reached, no endpoint answers or the agent fails, the optimiser has the
        turn, and where the optimiser has nothing left to move, the model; the proposal's note
        says so.

        Raises:
            ModelRefused: every model refuses these settings.
            BudgetReached, EndpointError, NoEdit: as the model, where the optimiser has nothing
                to move.
        """
        miss = _rescuable(brief)
        chosen, note = _turn(brief, miss)
        if chosen is not Arm.STRUCTURE:
            try:
                if chosen is Arm.RESCUE and miss is not None:
                    return _noted(self._rescue(brief, miss), note)
                return _noted(self.tuner.propose(brief), note)
            except UsageError as error:
                return _noted(self.structure.propose(brief), f"{note} {_taken('model', error)}")
        try:
            return _noted(self.structure.propose(brief), note)
        except (BudgetReached, EndpointError, NoEdit) as error:
            if not read_knobs(brief.incumbent_source):
                raise
            told = _taken("optimiser", error, waiting=len(brief.suggestions))
            try:
                return _noted(self.tuner.propose(brief), f"{note} {told}")
            except UsageError:
                raise error from None

    def repair(self, brief: Brief, proposal: Proposal, problem: str) -> Proposal | None:
        """Have the model mend what it wrote; None for what the optimiser proposed."""
        if proposal.proposer != self.structure.name:
            return None
        return self.structure.repair(brief, proposal, problem)

    def _rescue(self, brief: Brief, miss: NearMiss) -> Proposal:
        """The missed edit on today's incumbent, with knobs moved, its own ones first."""
        edited = apply_edits(brief.incumbent_source, miss.edits).source
        own = read_knobs(edited).keys() - read_knobs(brief.incumbent_source).keys()
        tuned = self.tuner.propose(brief.model_copy(update={"incumbent_source": edited}), own)
        final = apply_edits(edited, tuned.edits).source
        title = one_line(f"{tuned.title}, with trial {miss.number}: {miss.title}", TITLE_CHARACTERS)
        return tuned.model_copy(
            update={
                "title": title,
                "hypothesis": f"Trial {miss.number} missed by {miss.difference_bpb:+.4f} bpb with "
                f"knobs that were tuned without its edit: {tuned.title} may suit it better.",
                "edits": edit_between(brief.incumbent_source, final),
                "mode": Mode.RESCUE,
                "rescue_of": miss.number,
            }
        )


def _turn(brief: Brief, miss: NearMiss | None) -> tuple[Arm, str]:
    """Whose turn it is, and why."""
    if brief.suggestions:
        return Arm.STRUCTURE, "Hybrid: the model had the turn, since a suggestion waited."
    arms = arm_records(brief.records)
    if miss is None:
        del arms[Arm.RESCUE]
    if not read_knobs(brief.incumbent_source):
        del arms[Arm.TUNING]
    chosen = choose_arm(arms, brief.draw_seed("arm"))
    share = shares(arms)
    told = ", ".join(f"{arm} {share[arm]:.0%}" for arm in arms)
    return chosen, f"Hybrid: {chosen} had the turn (chances: {told})."


def _taken(who: str, error: NightlabError, waiting: int = 0) -> str:
    """Say that one has another's turn, and why."""
    other = "model" if who == "optimiser" else "optimiser"
    text = f"The {who} takes the turn of the {other}: {error}"
    if waiting:
        text += f" {counted(waiting, 'suggestion waits', 'suggestions wait')} for the model."
    events.publish(events.Notice(text=text))
    return text


def _rescuable(brief: Brief) -> NearMiss | None:
    """The nearest miss whose edit still applies and leaves knobs to move."""
    for miss in sorted(brief.near_misses, key=lambda miss: miss.difference_bpb):
        applied = apply_edits(brief.incumbent_source, miss.edits)
        if applied.error is None and read_knobs(applied.source):
            return miss
    return None


def _noted(proposal: Proposal, note: str) -> Proposal:
    return proposal.model_copy(update={"note": f"{note} {proposal.note}".strip()})
