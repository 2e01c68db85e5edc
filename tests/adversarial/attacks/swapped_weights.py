"""Saves in time, says so, and lets a child that trains on swap the weights afterwards.

Success: the weights of after the end are taken.
"""

import os
import time

from bare import checkpoint, gate, in_child, save, start, train_honestly

KIND = "gate"
LAYER = "the whole tree is killed before the weights are read"
CONTROL = "naive"
BUDGET = 1.0


def attack() -> None:
    start()
    gate()
    in_child(go_on)
    save(b"early")
    os._exit(0)


def go_on() -> None:
    # After any moment at which the host could have noticed the end.
    time.sleep(1.5)
    checkpoint().write_bytes(b"cheated")


def honest() -> None:
    train_honestly()
