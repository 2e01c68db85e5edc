"""Holds lanes of a machine's CPU in a process of its own, for tests that kill it.

Usage: python lane_holder.py CACHE LANES HELD. Says "held" once it holds so many of them.
"""

import sys
import threading
from contextlib import ExitStack
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from nightlab.sandbox.device import Device
from nightlab.study.session import device_lock


def main() -> None:
    cache, lanes, held = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
    places: Any = SimpleNamespace(cache=cache)
    device = Device(name="cpu", description="a processor", threads=1)
    with ExitStack() as stack:
        for _ in range(held):
            stack.enter_context(device_lock(places, device, lanes))
        sys.stdout.write("held\n")
        sys.stdout.flush()
        threading.Event().wait()


if __name__ == "__main__":
    main()
