"""Prints without end, to fill the engine's memory and disk.

Success: what is kept of it is more than a screenful, or the deadline passes unseen.
"""

import os

from bare import gate, start, train_honestly, won

KIND = "resources"
LAYER = "a log of fixed size, read by a thread of its own"
CONTROL = "a host that keeps all output: by construction"
EXPECTED = "timeout"
BUDGET = 1.0


def attack() -> None:
    start()
    gate()
    noise = b"x" * 100_000 + b"\n"
    while os.write(1, noise):
        pass
    won("unreachable")


def honest() -> None:
    os.write(1, b"x" * 100_000)
    train_honestly()
