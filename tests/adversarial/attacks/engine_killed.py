"""Waits for the engine to be killed, to go on without it.

Success: a process of the job is left two seconds after the engine's SIGKILL.
"""

import ctypes
import os
import time

from bare import gate, in_child, refused, rename, scene, show, start, train_honestly

KIND = "containment"
LAYER = "bubblewrap's --die-with-parent (2: the warden's pipe)"
CONTROL = "a sandboxless host of ours would leave them too: `daemon` shows it"
SCENARIO = "engine killed"


def attack() -> None:
    rename(scene["mark"])
    start()
    gate()
    for _ in range(4):
        in_child(stay)
    show("ready to outlive")
    stay()


def stay() -> None:
    ctypes.CDLL(None).prctl(1, 0)
    with refused():
        os.setsid()
    time.sleep(600)


def honest() -> None:
    train_honestly()
