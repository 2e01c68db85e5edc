"""Whose turn it is on the session's device."""

from collections.abc import Iterator
from contextlib import contextmanager

from nightlab.sandbox.lane_lock import lane_lock
from nightlab.study.session import Session
from nightlab.study.steering import Ear


@contextmanager
def device_turn(session: Session) -> Iterator[None]:
    """Hold a lane of the session's device: see nightlab/sandbox/lane_lock.py.

    Raises:
        SessionOver: none was free, and the session is to end meanwhile.
    """
    hear = Ear(session, f"a lane of {session.device.name}")
    with lane_lock(session.locks, session.device, session.lanes, hear):
        yield
