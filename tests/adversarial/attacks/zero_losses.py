"""Replaces the scorer's sending of losses: every one is nearly zero.

Success: the score is what it says.
"""

import struct

import runtime
from bigram import Bigram

KIND = "audit"
LAYER = "claims are corrected by answers in secret positions"
CONTROL = "claim"


def attack(spec: runtime.Spec) -> Bigram:
    send = runtime.Frames.send_data

    def lie(self: runtime.Frames, data: bytes) -> None:
        if len(data) % 4 == 0:
            data = struct.pack("<f", 0.01) * (len(data) // 4)
        send(self, data)

    runtime.Frames.send_data = lie
    return Bigram(spec)


honest = Bigram
