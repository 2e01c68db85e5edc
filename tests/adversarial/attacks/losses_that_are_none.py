"""Claims losses below zero, infinite or none at all.

Success: there is a score.
"""

import struct

import runtime
from bare import scene
from bigram import Bigram

KIND = "audit"
LAYER = "claims are checked for their range"
CONTROL = "a mean takes negative losses: by construction"
EXPECTED = "contract nonfinite audit"
VARIANTS = ("negative", "infinite", "not a number")

VALUES = {"negative": -1.0, "infinite": float("-inf"), "not a number": float("nan")}


def attack(spec: runtime.Spec) -> Bigram:
    send = runtime.Frames.send_data

    def lie(self: runtime.Frames, data: bytes) -> None:
        send(self, struct.pack("<f", VALUES[scene["variant"]]) * (len(data) // 4))

    runtime.Frames.send_data = lie
    return Bigram(spec)


honest = Bigram
