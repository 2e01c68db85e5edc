"""Who holds lanes, and whether one is free: for tests of them and of sessions."""

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

from nightlab import events
from nightlab.sandbox.device import Device
from nightlab.sandbox.lane_lock import lane_lock


def is_free(folder: Path, device: Device, lanes: int) -> bool:
    """Whether a lane can be had at once."""
    told: list[events.Event] = []
    entered = threading.Event()

    def enter() -> None:
        with events.listening(told.append), lane_lock(folder, device, lanes):
            entered.set()

    thread = threading.Thread(target=enter, daemon=True)
    thread.start()
    return entered.wait(timeout=0.5)


@contextmanager
def held(folder: Path, device: Device, lanes: int, count: int) -> Iterator[None]:
    """Hold some lanes, each in a thread as tasks do."""
    release, holding = threading.Event(), threading.Barrier(count + 1)

    def enter() -> None:
        with lane_lock(folder, device, lanes):
            holding.wait(timeout=30)
            assert release.wait(timeout=60)

    with ThreadPoolExecutor() as pool:
        running = [pool.submit(enter) for _ in range(count)]
        try:
            holding.wait(timeout=30)
            yield
        finally:
            release.set()
        for each in running:
            each.result()
