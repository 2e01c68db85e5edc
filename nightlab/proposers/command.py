"""The proposer that runs a command: any coding agent, or script, that edits a file.

It gets a throw-away folder with the trainer and the brief, and bounds on its time, output and
disk. Only the change to ``train.py`` is taken, and it is measured like any other.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass, replace

from nightlab import events
from nightlab.errors import ModelRefused
from nightlab.proposers.answer import Idea, read_idea
from nightlab.proposers.brief import Brief
from nightlab.proposers.edits import apply_edits, edit_between
from nightlab.proposers.endpoint_errors import EndpointError
from nightlab.proposers.history import TITLE_CHARACTERS
from nightlab.proposers.leash import Bounds, Outcome, run_on_leash
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
from nightlab.proposers.texts import one_line
from nightlab.proposers.workshop import BRIEF_FILE, IDEA_FILE, Workshop, open_workshop
from nightlab.records import Edit, Exchange, Proposal, ProposalCost
from nightlab.redaction import Redaction
from nightlab.settings import TRAINER_FILE
from nightlab.source.contract import check_source

BRIEF_VARIABLE = "NIGHTLAB_BRIEF"
RUNTIME_FILE = "trainer/runtime.py"
REPAIR_ROUNDS = 1
"""A file that breaks the contract is given back so often."""
FOLDER_BYTES = 2**30
FOLDER_FILES = 50_000
COMMAND_CHARACTERS = 120
LAST_WORDS_CHARACTERS = 300
NOT_FOUND = (126, 127)
"""Exit status of a shell whose command does not exist or may not be run."""
# They would lead git in the folder to another repository.
_GIT_PLACES = (
    "GIT_DIR",
    "GIT_WORK_TREE",
    "GIT_INDEX_FILE",
    "GIT_OBJECT_DIRECTORY",
    "GIT_COMMON_DIR",
    "GIT_NAMESPACE",
)
_HOW = """\
# How to answer

You are in a folder of your own that is thrown away afterwards. Edit {trainer_file} there, in \
place: that file is all that is taken. {runtime_file} is there to be read; whatever else you \
change or add is dropped. Write {idea_file} with three lines:

TITLE: what you change, in at most {title_characters} characters
HYPOTHESIS: why it lowers val_bpb within this budget
EXPECTED: the change of val_bpb that you expect, as one number, such as -0.012

One idea; do not repeat a tried one unless you say what is different. You have {seconds:g} \
seconds, there is no one to ask, and to end with a status other than 0 says that you failed. Do \
not train: the engine does."""

_MEND = f"""\
# To be mended

{TRAINER_FILE} lies here as you left it, not as it is shown above, and"""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Try:
    """What one run of the command came to."""

    outcome: Outcome
    idea: str
    touched: str
    source: str
    """Of ``train.py`` afterwards, the incumbent's where it cannot be taken."""
    error: str | None
    is_final: bool = False
    """Whether giving it back cannot help."""


class CommandProposer:
    """Runs a shell command that edits ``train.py``.

    Args:
        command: for ``/bin/sh -c``.
        timeout_seconds: longest time for one run.
        environment: of the command; None for this process's.
    """

    name = "command"
    reads = True
    needs_money = False

    def __init__(
        self, command: str, timeout_seconds: float, environment: Mapping[str, str] | None = None
    ) -> None:
        self._command = command
        self._timeout_seconds = timeout_seconds
        self._environment = dict(os.environ if environment is None else environment)
        self._redact = Redaction.of(None, self._environment)

    @property
    def model(self) -> str | None:
        """The command."""
        return one_line(self._command, COMMAND_CHARACTERS)

    @property
    def where(self) -> str:
        """The command, for sentences."""
        return f"command `{self.model}`"

    def propose(self, brief: Brief) -> Proposal:
        """Run the command on the incumbent; once more on a file that breaks the contract.

        Returns:
            A proposal with the change; with ``error`` where the command was ended, changed
            nothing, or left a file that cannot be used.

        Raises:
            ModelRefused: there is no such command.
            EndpointError: it ended with a status other than 0, which may be temporary.
        """
        return self._proposal(brief, brief.incumbent_source, "")

    def repair(self, brief: Brief, proposal: Proposal, problem: str) -> Proposal | None:
        """Run the command on the file that failed its dry run, with what it printed.

        Raises:
            ModelRefused, EndpointError: as ``propose``.
        """
        applied = apply_edits(brief.incumbent_source, proposal.edits)
        if applied.error is not None:
            return None
        return self._proposal(brief, applied.source, f"{_MEND} it {dry_run_text(problem)}")

    def _proposal(self, brief: Brief, source: str, problem: str) -> Proposal:
        exchanges: list[Exchange] = []
        seconds = 0.0
        for _ in range(1 + REPAIR_ROUNDS):
            task = self._redact("\n\n".join((_brief_text(brief, self._timeout_seconds), problem)))
            done = self._run(brief, source, task)
            seconds += done.outcome.seconds
            exchanges.append(Exchange(prompt=task, answer=_answer(done)))
            if done.error is None or done.is_final:
                break
            source = done.source
            problem = f"{_MEND} it cannot be used: {done.error}"
        edits = self._edits(brief, done)
        idea = _idea(done, edits)
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
            cost=ProposalCost(seconds=seconds),
            exchanges=tuple(exchanges),
            error=done.error,
        )

    def _edits(self, brief: Brief, done: _Try) -> tuple[Edit, ...]:
        return () if done.error is not None else edit_between(brief.incumbent_source, done.source)

    def _run(self, brief: Brief, source: str, task: str) -> _Try:
        texts = {TRAINER_FILE: source, BRIEF_FILE: task, RUNTIME_FILE: brief.runtime_source}
        with open_workshop(texts) as workshop:
            kept = {k: v for k, v in self._environment.items() if k not in _GIT_PLACES}
            outcome = run_on_leash(
                ["/bin/sh", "-c", self._command],
                folder=workshop.folder,
                environment={**kept, BRIEF_VARIABLE: str(workshop.folder / BRIEF_FILE)},
                bounds=Bounds(
                    seconds=self._timeout_seconds,
                    folder_bytes=FOLDER_BYTES,
                    folder_files=FOLDER_FILES,
                ),
            )
            done = self._looked_at(brief, workshop, outcome)
        if done.touched:
            text = (
                f"The command of trial {brief.number} touched other files, which are dropped: "
                f"{done.touched}."
            )
            events.publish(events.Notice(text=text))
        if outcome.broke is None and outcome.code != 0:
            raise self._failure(outcome)
        return done

    def _failure(self, outcome: Outcome) -> ModelRefused | EndpointError:
        words = one_line(self._redact(outcome.log[-LAST_WORDS_CHARACTERS:]), LAST_WORDS_CHARACTERS)
        said = f"{self.where} ended with status {outcome.code} ({words or 'it printed nothing'})"
        if outcome.code in NOT_FOUND:
            return ModelRefused(
                f"The {said}: the command must exist on this machine, so correct --command."
            )
        return EndpointError(
            f"The {said}: nothing was taken from it, since it must end with status 0 when it is "
            "done."
        )

    def _looked_at(self, brief: Brief, workshop: Workshop, outcome: Outcome) -> _Try:
        """Take what the command left, without secrets."""
        source, error, is_final = brief.incumbent_source, None, False
        if outcome.broke is not None:
            error, is_final = f"The command was ended: {outcome.broke}.", True
        else:
            try:
                source = workshop.edited_source()
            except ValueError as problem:
                error, is_final = f"The command left no file to take: {problem}", True
        secrets = self._redact.secrets
        if any(key in source and key not in brief.incumbent_source for key in secrets):
            source, is_final = brief.incumbent_source, True
            error = f"The command wrote a key of its environment into {TRAINER_FILE}."
        if error is None and source.rstrip() == brief.incumbent_source.rstrip():
            error, is_final = f"The command changed nothing in {TRAINER_FILE}.", True
        if error is None:
            error = check_source(source)
        return _Try(
            outcome=replace(outcome, log=self._redact(outcome.log)),
            idea=self._redact(workshop.idea()),
            touched=self._redact(workshop.touched()),
            source=source,
            error=error,
            is_final=is_final,
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


def _answer(done: _Try) -> str:
    return f"{done.idea}\n\n[what it printed]\n{done.outcome.log}".strip()


def _idea(done: _Try, edits: tuple[Edit, ...]) -> Idea:
    """From its file; else from what it printed; a title is made up from the change."""
    for text in (done.idea, done.outcome.log):
        if "TITLE" in text.upper():
            return read_idea(text)
    if not edits:
        return Idea("No change that could be taken", "", None)
    new = next((line for line in edits[0].replace.split("\n") if line.strip()), "")
    title = one_line(f"A change of {len(edits)} places: {new}", TITLE_CHARACTERS)
    return Idea(title, one_line(done.idea, LAST_WORDS_CHARACTERS), None)


def _note(brief: Brief, done: _Try, title: str) -> str:
    notes = []
    if done.touched:
        notes.append(f"It touched other files, which were dropped: {done.touched}.")
    near = near_trial(brief, done.source, title) if done.error is None else None
    if near is not None:
        notes.append(f"It is near trial {near.number} by its {near.by}.")
    return " ".join(notes)
