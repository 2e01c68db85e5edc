"""Trains in children one after the other, so that its own processor time stands still.

Success: weights are taken that cost more than the budget.
"""

import os

from bare import gate, in_child, save, spin, start, train_honestly

KIND = "gate"
LAYER = "processor seconds of the whole tree, read from the kernel"
CONTROL = "naive"
EXPECTED = "timeout"
BUDGET = 0.3


def attack() -> None:
    start()
    gate()
    for _ in range(6):
        os.waitpid(in_child(lambda: spin(0.15)), 0)
    save(b"cheated")


def honest() -> None:
    os.waitpid(in_child(lambda: spin(0.02)), 0)
    train_honestly()
