"""Keeps the time of one job and ends the job when it is over, in a process of its own.

Run by path as ``python -I -S -B timekeeper.py ORDER``. Whatever holds up the engine's interpreter
(a slow regular expression, an extension that keeps Python's lock) neither keeps it from looking
nor from ending the job. ``ORDER`` is JSON::

    {"socket": 7,                     to the engine; it keeps messages apart
     "clock": "processor" | "wall",   what seconds are
     "pid": 4711, "cgroup": "/sys/fs/cgroup/…" | null, "cpus": [0, 1],
     "kill": 8 | null,                the process whose death is the job's, as a descriptor
     "tell": 9 | null}                or the event that the job's warden waits for

Each request of the engine is answered with the numbers of the last look::

    {"do": "begin", "seconds": 20, "cap_seconds": 123}   count from now, and end the job after so
                                 many seconds of the clock, or of the wall clock (null: never)
    {"do": "look"}               look now; for moments that the candidate cannot choose often
    {"do": "tell"}
    {"do": "stop"}               look a last time, and end without ending the job

Unasked comes one more answer, once it has ended the job. It ends it too where it breaks down
itself, and where the engine is gone.
"""

import importlib
import json
import os
import random
import select
import signal
import socket
import sys
import time
import types

TYPE_CHECKING = False  # as in typing, which takes longer to import than all of this
if TYPE_CHECKING:
    from typing import Any

    from nightlab.sandbox.processor_time import ProcessorTime

LOOK_SECONDS = 0.05
"""Mean time between two looks."""
LONGEST_LOOK_SECONDS = 0.2

MESSAGE_BYTES = 4096


class Timekeeper:
    """One job's; see the module.

    Args:
        order: as above.
        connection: to the engine.
        used: what the kernel says of the job; None where the wall clock counts.
    """

    def __init__(
        self, order: "dict[str, Any]", connection: socket.socket, used: "ProcessorTime | None"
    ) -> None:
        self._order = order
        self._connection = connection
        self._used = used
        self._began = self._look_began = self._looked = self._due = time.monotonic()
        self._unseen_seconds = self._kill_seconds = 0.0
        self._at: str | None = None
        self._limits: dict[str, Any] = {"seconds": None, "cap_seconds": None}
        self._from = (0.0, 0.0)

    def run(self) -> None:
        """Look and answer until the time is over, the engine says stop, or it is gone.

        Raises:
            EOFError: it is gone.
        """
        is_stopped = False
        try:
            while self._at is None and not is_stopped:
                request = self._next_request()
                if request["do"] != "tell" or self._used is None:
                    self._look()
                if request["do"] == "begin":
                    self._limits, self._from = request, self._numbers()
                is_stopped = request["do"] == "stop"
                if request["do"] != "due" and (self._at is None or is_stopped):
                    self._answer()
        finally:
            if not is_stopped:
                end_job(self._order)
                self._kill_seconds = time.monotonic() - self._looked
        if not is_stopped:
            self._answer()
        # Were something of the engine's left unread, it could not read that answer.
        while self._connection.recv(MESSAGE_BYTES):
            pass

    def _next_request(self) -> "dict[str, Any]":
        """What the engine asks for, or ``due`` once it is time to look, which goes first."""
        left = self._due - time.monotonic()
        asked = select.poll()
        asked.register(self._connection, select.POLLIN)
        if left <= 0 or not asked.poll(1000 * left):
            return {"do": "due"}
        data = self._connection.recv(MESSAGE_BYTES)
        if not data:
            raise EOFError("the engine is gone")
        request: dict[str, Any] = json.loads(data)
        return request

    def _answer(self) -> None:
        used, wall = self._numbers()
        answer = {
            "used_seconds": used,
            "wall_seconds": wall,
            "waited_seconds": 0.0 if self._used is None else self._used.waited_seconds,
            "at": self._at,
            "unseen_seconds": self._unseen_seconds,
            "kill_seconds": self._kill_seconds,
        }
        self._connection.send(json.dumps(answer).encode())

    def _numbers(self) -> tuple[float, float]:
        """Seconds since the start as of the last look: of the clock, and of the wall clock."""
        wall = self._looked - self._began
        return (wall if self._used is None else self._used.used_seconds), wall

    def _look(self) -> None:
        began = time.monotonic()
        if self._used is not None:
            self._used.look()
        self._looked = time.monotonic()
        # From before that one, lest time between a number and its moment is in no stretch.
        self._unseen_seconds = self._looked - self._look_began
        self._look_began = began
        used, wall = (now - then for now, then in zip(self._numbers(), self._from, strict=True))
        seconds, cap = self._limits["seconds"], self._limits["cap_seconds"]
        if seconds is not None and used >= seconds:
            self._at = "budget"
        elif cap is not None and wall >= cap:
            self._at = "wall cap"
        # Exponentially distributed, so that no moment is safer than another: see ProcessorTime.
        wait = min(random.expovariate(1 / LOOK_SECONDS), LONGEST_LOOK_SECONDS)
        if self._used is None and seconds is not None:
            wait = min(wait, seconds - used)
        self._due = self._looked + wait


def end_job(order: "dict[str, Any]") -> None:
    """End every process of the job, without waiting until they are gone."""
    if order["cgroup"] is not None:
        try:
            with open(f"{order['cgroup']}/cgroup.kill", "w", encoding="ascii") as file:
                file.write("1")
        except OSError:  # of an older kernel, or the job is over
            pass
    if order["kill"] is not None:
        try:
            signal.pidfd_send_signal(order["kill"], signal.SIGKILL)
        except ProcessLookupError:
            return
    if order["tell"] is not None:
        os.eventfd_write(order["tell"], 1)


def main() -> int:
    """Keep the time of one job."""
    order = json.loads(sys.argv[1])
    used = None
    if order["clock"] == "processor":
        module = _import_alone("nightlab.sandbox.processor_time")
        used = module.ProcessorTime(order["pid"], order["cgroup"], order["cpus"])
    with socket.socket(fileno=order["socket"]) as connection:
        try:
            Timekeeper(order, connection, used).run()
        except (EOFError, ConnectionError):
            return 1
    return 0


def _import_alone(name: str) -> "Any":
    """Import a module of the engine's without what its packages' own files bring along."""
    folder = os.path.dirname(os.path.abspath(__file__))
    for package, path in (("nightlab.sandbox", folder), ("nightlab", os.path.dirname(folder))):
        bare = types.ModuleType(package)
        bare.__path__ = [path]
        sys.modules[package] = bare
    return importlib.import_module(name)


if __name__ == "__main__":
    sys.exit(main())
