"""How an attempt is made, told and kept apart from the next."""

import ctypes
import json
import os
from collections.abc import Callable, Iterable
from typing import Any

Bait = dict[str, Any]
Attempt = Callable[[Bait], str]


class Held(Exception):  # noqa: N818 - a refusal, which is no error here
    """Refused without an answer of the system's."""


def outcome(attempt: Attempt, bait: Bait) -> tuple[bool, str]:
    """Whether an attempt was held, and what is to be told of it."""
    try:
        return False, attempt(bait)
    except OSError as refusal:
        return True, os.strerror(refusal.errno or 0)
    except Held as refusal:
        return True, str(refusal)


def first(tries: Iterable[Callable[[], str]]) -> str:
    """What the first try reaches; Held with every refusal when none does."""
    refusals: dict[str, None] = {}
    for attempt in tries:
        try:
            return attempt()
        except OSError as refusal:
            refusals[os.strerror(refusal.errno or 0)] = None
        except Held as refusal:
            refusals[str(refusal)] = None
    raise Held("; ".join(refusals) or "nothing to try")


def in_child(action: Callable[[], str]) -> str:
    """Run an action that changes its process in a process of its own."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        held, said = outcome(lambda _: action(), {})
        os.write(writing, json.dumps([held, said]).encode())
        os._exit(0)
    os.close(writing)
    with open(reading, "rb") as pipe:
        answer = pipe.read()
    os.waitpid(child, 0)
    if not answer:
        raise Held("the process was killed")
    held, said = json.loads(answer)
    if held:
        raise Held(said)
    return str(said)


def checked(result: int) -> int:
    """The result of a C function, or its errno as an exception."""
    if result == -1:
        raise OSError(ctypes.get_errno(), "")
    return result


def libc() -> ctypes.CDLL:
    """The C library, whose errors can be read."""
    return ctypes.CDLL(None, use_errno=True)


def call(number: int, *arguments: object) -> int:
    """A system call by number; every argument a full word."""
    words = [
        ctypes.c_long(argument) if isinstance(argument, int) else argument for argument in arguments
    ]
    function = libc().syscall
    function.restype = ctypes.c_long
    return checked(function(ctypes.c_long(number), *words))
