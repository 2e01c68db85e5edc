"""A job that is asked one thing and gives one answer: what is done with a kept model."""

from collections.abc import Callable
from typing import Any, TypeVar

from nightlab.records import Reason
from nightlab.sandbox.failure import Failure, classify_crash
from nightlab.sandbox.job import Job, Layout
from nightlab.sandbox.ladder import Sandbox
from nightlab.sandbox.process import SandboxedProcess
from nightlab.sandbox.protocol import ContractBreach, Deadline, Message, PeerClosed, PeerLate

EXIT_SECONDS = 10.0
"""How long a job that closed its socket may take to end, at most."""

AnswerT = TypeVar("AnswerT", bound=Message)
TakenT = TypeVar("TakenT")


def run_errand(
    sandbox: Sandbox,
    job: Job,
    question: Callable[[Layout], dict[str, Any]],
    answer: type[AnswerT],
    take: Callable[[SandboxedProcess, AnswerT], TakenT],
    *,
    timeout_seconds: float,
) -> TakenT | Failure:
    """Run a job for one answer, and end every process of it.

    Args:
        sandbox: where it runs.
        job: what it is.
        question: the message that it is sent; it is told the job's paths.
        answer: the message that is due.
        take: what is made of the answer, while the job's folder still stands.
        timeout_seconds: the longest that it may take.

    Raises:
        SandboxError: the sandbox broke.
    """
    deadline = Deadline.after(timeout_seconds)
    with sandbox.start(job) as process:
        try:
            process.channel.send(question(process.layout), deadline)
            message = process.channel.receive(deadline)
        except PeerClosed:
            code = process.wait(min(EXIT_SECONDS, deadline.remaining_seconds))
            return process.exceeded or classify_crash(code or 0, process.log)
        except PeerLate:
            text = f"It was not done within {timeout_seconds:.0f} seconds."
            return process.exceeded or Failure(reason=Reason.TIMEOUT, message=text)
        except ContractBreach as breach:
            return process.exceeded or Failure(reason=Reason.CONTRACT, message=f"{breach}.")
        process.kill()
        if not isinstance(message, answer):
            text = f"It sent {message.type!r} where another answer was due."
            return Failure(reason=Reason.CONTRACT, message=text)
        return take(process, message)
