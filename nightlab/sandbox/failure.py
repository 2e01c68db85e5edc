"""Why a candidate's process gave nothing, read from how it ended and what it printed."""

import re
from dataclasses import dataclass

from nightlab.records import Reason

MAX_MESSAGE_CHARACTERS = 300

_OUT_OF_MEMORY = re.compile(
    r"OutOfMemoryError|out of memory|MemoryError|std::bad_alloc|[Cc]an(?:no|')t allocate memory"
    r"|not enough memory"
)
_EXCEPTION_LINE = re.compile(r"^(?:[\w.]+\.)?[A-Z]\w*(?:Error|Exception|Interrupt|Exit)\b.*")
_KILLED = 128 + 9


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
    elif said.startswith("FloatingPointError"):
        reason = Reason.NONFINITE
    elif said.startswith("ContractError"):
        reason = Reason.CONTRACT
    elif not raised and exit_code > 128:
        said = f"ended by signal {exit_code - 128}; last output: {said}"
    return Failure(reason=reason, message=said[:MAX_MESSAGE_CHARACTERS])
