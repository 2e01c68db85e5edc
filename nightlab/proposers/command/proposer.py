"""The proposer that runs a command: any coding agent, or script, that edits a file.

It gets a throw-away folder with the trainer and the brief, and bounds on its time, output and
disk. Only the change to ``train.py`` is taken, and it is measured like any other.
"""

import os
from collections.abc import Mapping, Sequence

from nightlab.errors import ModelError
from nightlab.models.spending import Spending
from nightlab.models.texts import one_line
from nightlab.proposers.brief import Brief
from nightlab.proposers.command.agent import RUNTIME_FILE, Agent, Run
from nightlab.proposers.command.workshop import IDEA_FILE
from nightlab.proposers.edits import apply_edits, edit_between
from nightlab.proposers.history import TITLE_CHARACTERS
from nightlab.proposers.idea import Idea, read_idea
from nightlab.proposers.novelty import near_trial
from nightlab.proposers.prompts import (
    PROMPT_VERSION,
    dry_run_text,
    mode_of,
    question,
    shown_suggestions,
    study_parts,
    task_text,
)
from nightlab.records import Edit, Exchange, Proposal, ProposalCost
from nightlab.records.counting import counted
from nightlab.settings import TRAINER_FILE, SessionSettings

REPAIR_ROUNDS = 1
"""A file that breaks the contract is given back so often."""
HYPOTHESIS_CHARACTERS = 300
_HOW = """\
# How to answer

You are in a folder of your own that is thrown away afterwards. Edit {trainer_file} there, in \
place: that file is all that is taken. {runtime_file} is there to be read; whatever else you \
change or add is dropped. Write {idea_file} with three lines:

TITLE: what you change, in at most {title_characters} characters
HYPOTHESIS: why it lowers val_bpb within this budget
EXPECTED: the change of val_bpb that you expect, as one number, such as -0.012

One idea; do not repeat a tried one unless you say what is different. You have {seconds:g} \
seconds, there is no one to ask, and to end with a status other than 0, or with a file that \
trains as it did before, says that you failed. Do not train: the engine does."""

_MEND = f"""\
# To be mended

{TRAINER_FILE} lies here as you left it, not as it is shown above, and"""


class CommandProposer:
    """Runs a shell command that edits ``train.py``.

    Args:
        command: for ``/bin/sh -c``.
        timeout_seconds: longest time for one run.
        environment: of the command; None for this process's.
        spending: counts the runs, as calls; None counts from nothing, without a cap.
    """

    name = "command"
    reads = True
    needs_money = True

    def __init__(
        self,
        command: str,
        timeout_seconds: float,
        environment: Mapping[str, str] | None = None,
        spending: Spending | None = None,
    ) -> None:
        environment = os.environ if environment is None else environment
        spending = spending or Spending(SessionSettings())
        self._agent = Agent(command, timeout_seconds, environment, spending)

    @property
    def model(self) -> str | None:
        """The command."""
        return self._agent.name

    @property
    def where(self) -> str:
        """The command, for sentences."""
        return self._agent.where

    def propose(self, brief: Brief) -> Proposal:
        """Run the command on the incumbent; once more on a file that breaks the contract.

        Returns:
            A proposal with the change; with ``error`` where it cannot be used.

        Raises:
            ModelRefused, NoEdit, NoModelAnswers, BudgetReached: as ``Agent.run``.
        """
        return self._proposal(brief, brief.incumbent_source, "")

    def repair(self, brief: Brief, proposal: Proposal, problem: str) -> Proposal | None:
        """Run the command on the file that failed its dry run, with what it printed.

        Raises:
            ModelRefused, NoEdit, NoModelAnswers, BudgetReached: as ``Agent.run``.
        """
        applied = apply_edits(brief.incumbent_source, proposal.edits)
        if applied.error is not None:
            return None
        return self._proposal(brief, applied.source, f"{_MEND} it {dry_run_text(problem)}")

    def _proposal(self, brief: Brief, source: str, problem: str) -> Proposal:
        runs: list[Run] = []
        exchanges: list[Exchange] = []
        error: str | None = None
        while len(runs) <= REPAIR_ROUNDS:
            text = _brief_text(brief, self._agent.timeout_seconds)
            task = self._agent.redact(f"{text}\n\n{problem}")
            try:
                done = self._agent.run(brief, source, task)
            except ModelError as failure:
                if not runs:
                    raise
                error = f"{error} It could not be given back: {failure}"
                break
            runs.append(done)
            exchanges.append(Exchange(prompt=task, answer=done.answer))
            error = done.error
            if error is None or done.is_final:
                break
            source = done.source
            problem = f"{_MEND} it cannot be used: {error}"
        return self._told(brief, runs, exchanges, error)

    def _told(
        self, brief: Brief, runs: Sequence[Run], exchanges: Sequence[Exchange], error: str | None
    ) -> Proposal:
        """What the runs came to, the last one above all."""
        done = runs[-1]
        edits = () if error is not None else edit_between(brief.incumbent_source, done.source)
        idea = _idea(done, edits)
        seconds = sum(run.outcome.seconds for run in runs)
        return Proposal(
            title=idea.title,
            hypothesis=idea.hypothesis,
            edits=edits,
            proposer=self.name,
            model=self.model,
            mode=mode_of(brief),
            expected_bpb=idea.expected_bpb,
            prompt_version=PROMPT_VERSION,
            suggestions=shown_suggestions(brief),
            note=_note(brief, done, idea.title),
            cost=ProposalCost(calls=len(runs), seconds=seconds),
            exchanges=tuple(exchanges),
            error=error,
        )


def _brief_text(brief: Brief, seconds: float) -> str:
    how = _HOW.format(
        trainer_file=TRAINER_FILE,
        runtime_file=RUNTIME_FILE,
        idea_file=IDEA_FILE,
        title_characters=TITLE_CHARACTERS,
        seconds=seconds,
    )
    return "\n\n".join((task_text(brief), *study_parts(brief), how, question(brief)))


def _idea(done: Run, edits: tuple[Edit, ...]) -> Idea:
    """From its file; else from what it printed; a title is made up from the change."""
    for text in (done.idea, done.outcome.log):
        if "TITLE" in text.upper():
            return read_idea(text)
    if not edits:
        return Idea("No change that could be taken", "", None)
    new = next((line for line in edits[0].replace.split("\n") if line.strip()), "")
    title = one_line(f"A change of {counted(len(edits), 'place')}: {new}", TITLE_CHARACTERS)
    return Idea(title, one_line(done.idea, HYPOTHESIS_CHARACTERS), None)


def _note(brief: Brief, done: Run, title: str) -> str:
    notes = []
    if done.touched:
        notes.append(f"It touched other files, which were dropped: {done.touched}.")
    near = near_trial(brief, done.source, title) if done.error is None else None
    if near is not None:
        notes.append(f"It is near trial {near.number} by its {near.by}.")
    return " ".join(notes)
