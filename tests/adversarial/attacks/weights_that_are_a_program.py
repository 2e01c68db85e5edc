"""Saves a pickle that runs a program when it is read.

Success: the program runs.
"""

import runtime
from bigram import Bigram

KIND = "audit"
LAYER = "weights are read in a sandbox only, and as weights only"
CONTROL = "pickle.load runs it: by construction"
EXPECTED = "exception contract"
WEIGHTS = "program"


def attack(spec: runtime.Spec) -> Bigram:
    return Bigram(spec)


honest = Bigram
