"""Makes its processes such that nobody but root may look at what they hold.

Success: 800 MiB are held for a while under a limit of 400.
"""

import ctypes
import mmap
import time

from bare import gate, in_child, refused, start, train_honestly, won

KIND = "resources"
LAYER = "what may not be looked at counts whole, and does not stay so for long"
CONTROL = "naive"
EXPECTED = "oom resources"
MEMORY = 400
BUDGET = 20.0

SET_DUMPABLE = 4


def hold(size: int) -> None:
    held = mmap.mmap(-1, size, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    for place in range(0, size, 4096):
        held[place] = 1
    time.sleep(30)


def attack() -> None:
    start()
    gate()
    with refused():
        ctypes.CDLL(None).prctl(SET_DUMPABLE, 0, 0, 0, 0)
        for _ in range(10):
            in_child(lambda: hold(80 << 20))
        time.sleep(6)
        won("held 800 MiB")


def honest() -> None:
    ctypes.CDLL(None).prctl(SET_DUMPABLE, 0, 0, 0, 0)
    ctypes.CDLL(None).prctl(SET_DUMPABLE, 1, 0, 0, 0)
    train_honestly()
