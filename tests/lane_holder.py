"""Holds lanes of a device in a process of its own, for tests that kill it.

Usage: python lane_holder.py FOLDER DEVICE LANES HELD. Says "held" once it holds so many of them.
DEVICE is JSON.
"""

import sys
import threading
from contextlib import ExitStack
from pathlib import Path

from nightlab.sandbox.device import Device
from nightlab.sandbox.lane_lock import lane_lock


def main() -> None:
    folder, lanes, held = Path(sys.argv[1]), int(sys.argv[3]), int(sys.argv[4])
    device = Device.model_validate_json(sys.argv[2])
    with ExitStack() as stack:
        for _ in range(held):
            stack.enter_context(lane_lock(folder, device, lanes))
        sys.stdout.write("held\n")
        sys.stdout.flush()
        threading.Event().wait()


if __name__ == "__main__":
    main()
