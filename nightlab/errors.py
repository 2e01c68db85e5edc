"""What can go wrong, as a tree.

A crash of the candidate is a *result* and never raised; what is raised here is either
a person's mistake or a failure of the machinery. Every message is one sentence: what
was needed, what was found, and the command or setting that mends it. The command line ends
with the error's ``exit_status``: 2 for a person's mistake, 1 where the same command may work
another time or on another machine.

    NightlabError
    ├── UsageError              bad input or settings; the person can mend it
    │   ├── CorpusError         the corpus cannot be built from what was given
    │   ├── SandboxUnavailable  no sandbox starts here, and the code was not trusted
    │   │   ├── LibraryIncomplete   candidates could not use the torch that is installed
    │   │   └── GpuUnusable         a layer between a job and its GPU fails
    │   └── StudyBusy           another session holds the study
    ├── SessionOver             a session ends as usual, by what the sentence says
    └── MachineryError          our fault, or a service's; another try may succeed
        ├── LedgerError         git refused or the repository is not as it must be
        ├── RemoteError         the study's git remote did not answer
        │   └── NotPushed       nor in the hours that followed the session's end
        ├── TrackingError       MLflow did not answer
        ├── SandboxError        the sandbox broke while it ran
        │   └── MachineBusy     other work kept a job from what it needed of the machine
        ├── EvaluationError     the evaluator broke, through no fault of the candidate
        └── ModelError          the model's endpoint did not answer
            ├── ModelRefused    it never will with these settings: wrong key, unknown model
            ├── BudgetReached   what was given for models does not pay for another call
            └── NoEdit          a person's command was run and left nothing to train
"""

from typing import ClassVar

from nightlab.redaction import redact
from nightlab.shown import for_terminal


class NightlabError(Exception):
    """Base of all errors that Nightlab raises; the message is meant for people.

    It may quote what git, a server or a model said, and it is stored and shown in many places:
    keys and passwords, and what steers a terminal, are taken out of it here, once.
    """

    exit_status: ClassVar[int] = 1

    def __init__(self, message: str = "") -> None:
        super().__init__(for_terminal(redact(message)))


class UsageError(NightlabError):
    """Bad input or settings."""

    exit_status = 2


class CorpusError(UsageError):
    """The corpus cannot be built from what was given."""


class SandboxUnavailable(UsageError):  # noqa: N818 - a state, not an error of the code
    """No sandbox can start on this machine, and the code was not declared trusted.

    Args:
        why: what was needed and what was found.
        remedy: what mends it, as a clause.
    """

    exit_status = 1

    def __init__(self, why: str, remedy: str = "") -> None:
        super().__init__(f"{why}: {remedy}" if remedy else why)
        self.why = why
        self.remedy = remedy


class LibraryIncomplete(SandboxUnavailable):
    """What a sandbox shows of Python and torch lacks something that they need."""


class GpuUnusable(SandboxUnavailable):
    """A layer between a sandboxed job and its GPU does not do what jobs need."""


class StudyBusy(UsageError):  # noqa: N818
    """Another session works on the study."""

    exit_status = 1


class SessionOver(NightlabError):  # noqa: N818 - a state, not an error
    """A session goes no further: what it found is confirmed and reported, and it ends."""


class MachineryError(NightlabError):
    """The machinery failed; the trial may be tried again."""


class LedgerError(MachineryError):
    """Git refused, or the repository is not as the ledger needs it."""


class RemoteError(MachineryError):
    """The study's git remote did not answer or refused."""


class NotPushed(RemoteError):  # noqa: N818
    """What a session did is not on its remote; the sentence says where it is kept."""


class TrackingError(MachineryError):
    """MLflow did not answer or refused."""


class SandboxError(MachineryError):
    """The sandbox broke while it ran."""


class MachineBusy(SandboxError):  # noqa: N818
    """Other work kept a job from what it needed of the machine; it is tried again."""


class EvaluationError(MachineryError):
    """The evaluation broke, through no fault of the candidate."""


class ModelError(MachineryError):
    """The model's endpoint did not give a usable response; it may on another try.

    Attributes:
        cause: the model and what it did, as a status, by which failures compare: their words may
            be new each time. Empty where nothing says.
    """

    def __init__(self, message: str, *, cause: str = "") -> None:
        super().__init__(message)
        self.cause = cause


class ModelRefused(ModelError):  # noqa: N818
    """The endpoint refuses these settings: another try cannot help."""


class BudgetReached(ModelError):  # noqa: N818
    """What was given for models does not pay for another call: the session ends by it."""


class NoEdit(ModelError):  # noqa: N818
    """A command that proposes left nothing to train: no change, no file, or it had to be ended.

    Its runs are paid for, so a trial has no second one.
    """
