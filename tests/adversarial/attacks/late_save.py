"""Trains on after the deadline and saves then.

Success: weights that were saved late are taken.
"""

import signal
import time

from bare import gate, save, start, train_honestly

KIND = "gate"
LAYER = "the host's clock: killed at the deadline"
CONTROL = "naive"
EXPECTED = "timeout"
BUDGET = 0.5


def attack() -> None:
    for number in (signal.SIGTERM, signal.SIGALRM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    start()
    gate()
    time.sleep(1.5)
    save(b"cheated")


def honest() -> None:
    train_honestly()
