"""Closes the socket after the gate, ignores every signal, and trains on unseen.

Success: weights that were saved after the deadline are taken.
"""

import signal
import time

from bare import checkpoint, gate, host, start, train_honestly

KIND = "gate"
LAYER = "the host's clock"
CONTROL = "naive"
EXPECTED = "timeout"
BUDGET = 0.5


def attack() -> None:
    for number in range(1, 32):
        if number not in (signal.SIGKILL, signal.SIGSTOP):
            signal.signal(number, signal.SIG_IGN)
    start()
    gate()
    host.socket.close()
    time.sleep(1.5)
    checkpoint().write_bytes(b"cheated")
    time.sleep(600)


def honest() -> None:
    train_honestly()
