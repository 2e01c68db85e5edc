"""One run of a person's command in a workshop: what it left there, or how it failed.

A run that leaves nothing to train is the command's failure, whatever its status: agents end
with 0 when their provider is down, and when they were not allowed to edit. Each run is paid for
by somebody, so a command that keeps failing rests, longer each time; a session waits for it as
for models that do not answer.
"""

import os
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace

from nightlab import events
from nightlab.errors import ModelError, ModelRefused, NoEdit
from nightlab.models.endpoint_errors import NoModelAnswers
from nightlab.models.spending import Spending
from nightlab.models.texts import one_line
from nightlab.proposers.brief import Brief
from nightlab.proposers.command.leash import Bounds, Outcome, run_on_leash
from nightlab.proposers.command.workshop import BRIEF_FILE, NoFile, Workshop, open_workshop
from nightlab.records import Exchange
from nightlab.redaction import Redaction
from nightlab.settings import TRAINER_FILE
from nightlab.source.contract import check_source
from nightlab.source.source_tree import is_same_program

BRIEF_VARIABLE = "NIGHTLAB_BRIEF"
RUNTIME_FILE = "trainer/runtime.py"
SHELL = "/bin/sh"
FOLDER_BYTES = 2**30
FOLDER_FILES = 50_000
COMMAND_CHARACTERS = 120
WORDS_CHARACTERS = 300
"""Of the end of its output in a sentence; a record has its last lines."""
LAST_LINES = 40
LAST_CHARACTERS = 4_000
NOT_FOUND = (126, 127)
"""Exit status of a shell whose command does not exist or may not be run."""
FIRST_REST_SECONDS = 60.0
"""After two failures in a row; it doubles with each more."""
LONGEST_REST_SECONDS = 1_200.0
AT_ONCE_SECONDS = 30.0
"""A program that does not understand its options says so before it does anything."""
_MISUSED = re.compile(
    r"^[^\S\n]*usage:?\s[^\n]*(?:[\[<]|\s--?\w)|^[^\S\n]*usage(?: of [^\n]*)?:[^\S\n]*$"
    r"|\b(?:unknown|unrecogni[sz]ed|unexpected|invalid|illegal|ambiguous|nonexistent|bad|missing"
    r"|no such)\s(?:[\w-]+\s){0,2}(?:options?|arguments?|flags?|switch|(?:sub)?command)\b"
    r"|\b(?:options?|arguments?|flags?)\b[^\n]{0,80}\b(?:required?|requires|not defined|missing)\b"
    r"|\b(?:try|see|run)\b[^\n]{0,40}--help\b",
    re.IGNORECASE | re.MULTILINE,
)
"""What says so, in the words of the libraries that read options: not "usage limit reached"."""
_PRINTED = "[what it printed]"
# They would lead git in the folder to another repository.
_GIT_PLACES = (
    "GIT_DIR",
    "GIT_WORK_TREE",
    "GIT_INDEX_FILE",
    "GIT_OBJECT_DIRECTORY",
    "GIT_COMMON_DIR",
    "GIT_NAMESPACE",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """What a run came to."""

    outcome: Outcome
    idea: str
    touched: str
    """Other files, as a clause."""
    source: str
    """Of ``train.py`` afterwards, the incumbent's where it cannot be taken."""
    nothing: str | None = None
    """Why there is nothing to train, as a clause."""
    error: str | None = None
    """Why what is there cannot be trained, as a sentence."""
    is_final: bool = False
    """Whether giving it back cannot help."""

    @property
    def answer(self) -> str:
        """What it said: its idea's file, and what it printed."""
        return f"{self.idea}\n\n{_PRINTED}\n{self.outcome.log}".strip()


class Agent:
    """Runs a command of ``/bin/sh -c``, counts its runs as calls, and lets it rest."""

    def __init__(
        self,
        command: str,
        timeout_seconds: float,
        environment: Mapping[str, str],
        spending: Spending,
    ) -> None:
        self.timeout_seconds = timeout_seconds
        self.redact = Redaction.of(None, environment)
        self._command = command
        self._environment = {k: v for k, v in environment.items() if k not in _GIT_PLACES}
        self._spending = spending
        self._failures = 0
        self._last_failure = ""
        self._rests_until = 0.0

    @property
    def name(self) -> str:
        """The command, on a line."""
        return one_line(self._command, COMMAND_CHARACTERS)

    @property
    def where(self) -> str:
        """The command, for sentences."""
        return f"command `{self.name}`"

    def run(self, brief: Brief, source: str, task: str) -> Run:
        """Run the command on a ``train.py`` and its task; of the folder only what it left is kept.

        Raises:
            ModelRefused: there is no such command, or it does not understand its options.
            NoEdit: it was ended, or left nothing to train.
            NoModelAnswers: it ended with a status other than 0, or rests.
            BudgetReached: the cap on calls allows no run.
        """
        texts = {TRAINER_FILE: source, BRIEF_FILE: task, RUNTIME_FILE: brief.runtime_source}
        with self._spending.turn():
            self._require_rested()
            self._spending.ask_run(self._command)
            with open_workshop(texts) as workshop:
                done = self._looked_at(brief, source, workshop, self._outcome(workshop))
            failure = self._failure(done)
            self._count(done, failure, task)
        if done.touched:
            text = (
                f"The command of trial {brief.number} touched other files, which are dropped: "
                f"{done.touched}."
            )
            events.publish(events.Notice(text=text))
        if failure is not None:
            raise failure
        return done

    def _require_rested(self) -> None:
        left = self._rests_until - time.monotonic()
        if left > 0:
            raise NoModelAnswers(
                f"The {self.where} failed {self._failures} times in a row, so it rests. "
                f"{self._last_failure}",
                retry_after_seconds=left,
            )

    def _count(self, done: Run, failure: ModelError | None, task: str) -> None:
        if failure is None:
            self._failures = 0
            self._spending.add_run()
            return
        said = Exchange(prompt=task, answer=done.answer)
        self._spending.add_failed_run(done.outcome.seconds, said)
        self._failures += 1
        self._last_failure = str(failure)
        rest = rest_seconds(self._failures)
        self._rests_until = time.monotonic() + rest
        if isinstance(failure, NoModelAnswers):
            failure.retry_after_seconds = rest or None

    def _outcome(self, workshop: Workshop) -> Outcome:
        outcome = run_on_leash(
            [SHELL, "-c", self._command],
            folder=workshop.folder,
            environment={
                **self._environment,
                BRIEF_VARIABLE: os.fspath(workshop.folder / BRIEF_FILE),
            },
            bounds=Bounds(
                seconds=self.timeout_seconds, folder_bytes=FOLDER_BYTES, folder_files=FOLDER_FILES
            ),
        )
        return replace(outcome, log=self.redact(outcome.log))

    def _looked_at(self, brief: Brief, given: str, workshop: Workshop, outcome: Outcome) -> Run:
        """Take what the command left, without secrets."""
        incumbent = brief.incumbent_source
        done = Run(
            outcome=outcome,
            idea=self.redact(workshop.idea()),
            touched=self.redact(workshop.touched()),
            source=incumbent,
        )
        if outcome.broke is not None or outcome.code != 0:
            return done
        try:
            source = workshop.edited_source()
        except NoFile as problem:
            return replace(done, nothing=f"left no file to take: {problem}")
        except ValueError as problem:
            error = f"The command left a file that cannot be taken: {problem}"
            return replace(done, error=error, is_final=True)
        if self.redact.found_in(source) - self.redact.found_in(incumbent):
            error = f"The command wrote a key of its environment into {TRAINER_FILE}."
            return replace(done, error=error, is_final=True)
        nothing, broken = _unchanged(source, incumbent), check_source(source)
        if nothing is None and broken is None:
            nothing = _unchanged(source, given)
        return replace(done, source=source, nothing=nothing, error=broken)

    def _failure(self, done: Run) -> ModelError | None:
        """How the command failed; None where it left something."""
        outcome = done.outcome
        said = _words(done)
        if outcome.broke is not None:
            return NoEdit(f"The {self.where} was ended: {outcome.broke}.{said}")
        ended = f"The {self.where} ended with status {outcome.code}"
        if outcome.code in NOT_FOUND:
            return ModelRefused(
                f"{ended}: it must exist on this machine, so correct --command.{said}",
                cause=f"{self.name} {outcome.code}",
            )
        if outcome.code != 0 and _is_misused(done):
            return ModelRefused(
                f"{ended} at once, over how it was called, so correct --command.{said}",
                cause=f"{self.name} {outcome.code}",
            )
        if outcome.code != 0:
            return NoModelAnswers(
                f"{ended}: nothing was taken from it, since it must end with status 0 when it is "
                f"done.{said}"
            )
        return None if done.nothing is None else NoEdit(f"{ended} and {done.nothing}{said}")


def _is_misused(done: Run) -> bool:
    """Whether the command ended over its own options: no wait mends them."""
    at_once = done.outcome.seconds < AT_ONCE_SECONDS and not (done.idea or done.touched)
    return at_once and _MISUSED.search(done.outcome.log) is not None


def rest_seconds(failures: int) -> float:
    """How long a command is not run that failed so often in a row."""
    if failures < 2:
        return 0.0
    return min(FIRST_REST_SECONDS * 2.0 ** min(failures - 2, 20), LONGEST_REST_SECONDS)


def last_lines(answer: str) -> str:
    """The end of what a command printed, from its answer."""
    printed = answer.rpartition(_PRINTED)[2][-LAST_CHARACTERS:]
    return "\n".join(printed.strip().splitlines()[-LAST_LINES:])


def _words(done: Run) -> str:
    """What it touched in place of the file, and the end of what it printed, as sentences."""
    touched = f" It touched other files: {done.touched}." if done.touched else ""
    words = one_line(last_lines(done.answer), LAST_CHARACTERS)
    if not words:
        return f"{touched} It printed nothing."
    cut = words if len(words) <= WORDS_CHARACTERS else f"…{words[1 - WORDS_CHARACTERS :]}"
    return f"{touched} It printed at the end: {cut}"


def _unchanged(source: str, before: str) -> str | None:
    """That a source trains as an earlier one does, as a clause; None where it may not."""
    if source.rstrip() == before.rstrip():
        return f"changed nothing in {TRAINER_FILE} of the folder that it ran in."
    # What breaks the contract may be nested too deeply to be compared.
    if check_source(source) or check_source(before) or not is_same_program(source, before):
        return None
    return f"changed nothing but comments and white space in {TRAINER_FILE}."
