"""Sends messages of the protocol where they have no place.

Success: the engine starts the clock anew, scores what is not there, or fails by itself.
"""

import time

from bare import gate, host, scene, start, train_honestly

KIND = "protocol"
LAYER = "one state at a time"
CONTROL = "a host without states: by construction"
EXPECTED = "contract"
VARIANTS = ("ready twice", "loaded", "losses", "saved first", "step first", "verdict")


def attack() -> None:
    start()
    variant = scene["variant"]
    if variant in ("ready twice", "loaded", "losses"):
        gate()
    match variant:
        case "ready twice":
            host.send(type="ready")
        case "loaded":
            host.send(type="loaded", num_params=1)
        case "losses":
            host.send(type="losses", rows=1)
        case "saved first":
            host.send(type="saved", final=True)
        case "step first":
            host.send(type="step", step=1, loss=0.0, tokens=1)
        case "verdict":
            host.send(type="verdict", val_bpb=0.1)
    time.sleep(60)


def honest() -> None:
    train_honestly()
