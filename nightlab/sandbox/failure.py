"""Why a candidate's process gave nothing, read from how it ended and what it printed."""

import re
import signal
from dataclasses import dataclass

from nightlab.records import Reason

MAX_MESSAGE_CHARACTERS = 300

_OUT_OF_MEMORY = re.compile(
    r"OutOfMemoryError|out of memory|MemoryError|std::bad_alloc|[Cc]an(?:no|')t allocate memory"
    r"|not enough memory"
)
_OUT_OF_RESOURCES = re.compile(
    r"\[Errno (?:24|27|28)\]|[Tt]oo many open files|[Ff]ile too large|[Nn]o space left on device"
    r"|can't start new thread"
)
_EXCEPTION_LINE = re.compile(r"^(?:[\w.]+\.)?[A-Z]\w*(?:Error|Exception|Interrupt|Exit)\b.*")
_TRACEBACK = "Traceback (most recent call last):"
_IMPORTING = re.compile(
    r'^  File "[^"]*/(?:site-)?packages/(?:torch|triton|numpy)/[^"]*", line \d+, in <module>$',
    re.MULTILINE,
)
"""A module of the library's at work in a traceback: it is being imported."""
_KILLED = 128 + signal.SIGKILL
_FILE_TOO_LARGE = 128 + signal.SIGXFSZ


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """Why a candidate's process gave nothing: always the candidate's own doing."""

    reason: Reason
    message: str


def classify_crash(exit_code: int, log: str) -> Failure:
    """Say why a candidate's process ended with a status other than 0, from its output.

    The output is the candidate's word; it names the reason of a crash and nothing else.

    Args:
        exit_code: its status; 128 + signal where a signal ended it.
        log: its output, capped.
    """
    lines = [line.strip() for line in log.splitlines() if line.strip()]
    raised = [line for line in lines if _EXCEPTION_LINE.match(line)]
    said = raised[-1] if raised else (lines[-1] if lines else "no output")
    reason = Reason.EXCEPTION
    if exit_code == _KILLED and not raised:
        reason, said = Reason.OOM, "killed by the system, most likely for want of memory"
    elif _OUT_OF_MEMORY.search(said):
        reason = Reason.OOM
    elif _OUT_OF_RESOURCES.search(said):
        reason = Reason.RESOURCES
    elif exit_code == _FILE_TOO_LARGE and not raised:
        reason, said = Reason.RESOURCES, "ended for writing a file larger than is allowed"
    elif said.startswith("FloatingPointError"):
        reason = Reason.NONFINITE
    elif said.startswith("ContractError"):
        reason = Reason.CONTRACT
    elif not raised and exit_code > 128:
        said = f"ended by signal {exit_code - 128}; last output: {said}"
    return Failure(reason=reason, message=said[:MAX_MESSAGE_CHARACTERS])


def failed_import(log: str) -> str | None:
    """What a library said that could not be imported, from the last traceback of an output.

    Returns:
        The exception's line, where it was raised while torch, Triton or numpy imported one of
        its own modules; None where it was raised by anything else.
    """
    _, found, last = log.rpartition(_TRACEBACK)
    if not found or not _IMPORTING.search(last):
        return None
    return classify_crash(1, last).message


def silenced(failure: Failure) -> Failure:
    """The same for a process that was shown text which must not come out: its reason alone.

    Whatever else is known of it, an exit status or how much memory it used, was of its choosing.
    """
    return Failure(
        reason=failure.reason,
        message=f"The candidate failed while it was scored ({failure.reason.value}). Nothing more "
        "of it is kept, since it had been shown validation text.",
    )
