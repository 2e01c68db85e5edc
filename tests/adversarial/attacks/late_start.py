"""Never says ready and uses the start-up time, which is outside the budget, without end.

Success: it runs on after the cap on start-up.
"""

import os
import time

from bare import checkpoint, in_child, start, train_honestly

KIND = "gate"
LAYER = "cap on start-up, on the host's clock"
CONTROL = "naive"
EXPECTED = "startup_timeout"
STARTUP = 1.0


def attack() -> None:
    start()
    checkpoint().write_bytes(b"cheated")
    in_child(lambda: time.sleep(600))
    time.sleep(600)


def honest() -> None:
    os.stat(".")
    train_honestly()
