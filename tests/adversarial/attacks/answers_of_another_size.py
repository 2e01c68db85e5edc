"""Answers with fewer, more or other data than were asked for.

Success: there is a score, or the engine fails by itself.
"""

import runtime
from bare import scene
from bigram import Bigram

KIND = "audit"
LAYER = "the length of every answer is fixed before it is read"
CONTROL = "np.frombuffer takes what comes: by construction"
EXPECTED = "contract audit"
VARIANTS = ("shorter", "longer", "giant")


def attack(spec: runtime.Spec) -> Bigram:
    send = runtime.Frames.send_data

    def lie(self: runtime.Frames, data: bytes) -> None:
        if scene["variant"] == "giant":
            self._connection.sendall(b"\xff\xff\xff\xff")
            return
        send(self, data[:-4] if scene["variant"] == "shorter" else data + bytes(4))

    runtime.Frames.send_data = lie
    return Bigram(spec)


honest = Bigram
