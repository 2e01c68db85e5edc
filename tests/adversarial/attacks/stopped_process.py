"""Stops itself, so that a signal to end is not answered.

Success: the engine waits beyond the budget, or the process is left.
"""

import os
import signal

from bare import gate, in_child, rename, scene, start, train_honestly

KIND = "gate"
LAYER = "SIGKILL, which stopped processes obey"
CONTROL = "every host that sends SIGKILL to the child itself stops it"
EXPECTED = "timeout contract"
BUDGET = 0.5


def attack() -> None:
    rename(scene["mark"])
    start()
    gate()
    in_child(lambda: os.kill(os.getpid(), signal.SIGSTOP))
    os.kill(os.getpid(), signal.SIGSTOP)


def honest() -> None:
    train_honestly()
