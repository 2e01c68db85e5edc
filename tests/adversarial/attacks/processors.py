"""Computes on every processor of the machine at once, while one is meant for it.

Success: weights are taken that cost more than the budget.
"""

import os

from bare import gate, in_child, refused, save, spin, start, train_honestly

KIND = "gate"
LAYER = "processor seconds of the whole tree: each processor's count"
CONTROL = "naive"
EXPECTED = "timeout"
BUDGET = 0.3


def attack() -> None:
    with refused():
        os.sched_setaffinity(0, range(os.cpu_count() or 1))
    start()
    gate()
    children = [in_child(lambda: spin(0.5)) for _ in range(max(2, os.cpu_count() or 1))]
    for child in children:
        os.waitpid(child, 0)
    save(b"cheated")


def honest() -> None:
    assert os.sched_getaffinity(0)
    train_honestly()
