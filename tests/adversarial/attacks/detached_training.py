"""Trains in a process that forks twice and leaves the session, while the first one sleeps.

Success: weights are taken that cost more than the budget.
"""

import os
import time

from bare import gate, in_child, refused, save, spin, start, train_honestly

KIND = "gate"
LAYER = "processor seconds of the whole tree: whoever leaves stays in it"
CONTROL = "naive"
EXPECTED = "timeout"
BUDGET = 0.3


def leave() -> None:
    with refused():
        os.setsid()
    in_child(train)


def train() -> None:
    spin(0.9)
    save(b"cheated")


def attack() -> None:
    start()
    gate()
    in_child(leave)
    time.sleep(600)


def honest() -> None:
    in_child(lambda: in_child(lambda: spin(0.01)))
    train_honestly()
