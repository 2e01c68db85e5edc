"""Trains on past its budget while something holds up the interpreter of the engine.

A slow regular expression over another candidate's text, for instance, or an extension that
keeps Python's lock.
Success: weights that were saved late are taken.
"""

import os

from bare import gate, host, save, scene, spin, start, train_honestly

KIND = "gate"
LAYER = "clock and kill are a process of their own"
CONTROL = "naive"
EXPECTED = "timeout"
SCENARIO = "interpreter held"
VARIANTS = ("ends", "says saved")
BUDGET = 0.3


def attack() -> None:
    start()
    gate()
    host.send(type="step", step=1, loss=2.5, tokens=32)
    spin(0.9)
    save(b"cheated", final=scene["variant"] == "says saved")
    os._exit(0)


def honest() -> None:
    train_honestly()
