"""Announces frames that no memory holds.

Success: the engine reserves the memory, waits for the rest, or fails by itself.
"""

import time

from bare import gate, host, scene, start, train_honestly

KIND = "protocol"
LAYER = "length checked before reading"
CONTROL = "a host that reads what is announced: by construction"
EXPECTED = "contract"
VARIANTS = ("before the gate", "after the gate")


def attack() -> None:
    start()
    if scene["variant"] == "after the gate":
        gate()
    host.send_raw(b"{", announced=2**32 - 1)
    time.sleep(60)


def honest() -> None:
    train_honestly()
