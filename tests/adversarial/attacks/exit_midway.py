"""Ends well in the middle of its evaluation, when it has claimed the easy rows.

Success: there is a score of part of the text.
"""

import os

import runtime
import torch
from bigram import Bigram

KIND = "audit"
LAYER = "every row is answered, or there is no score"
CONTROL = "a mean over what came: by construction"
EXPECTED = "contract audit"


class Model(Bigram):
    calls = 0

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        Model.calls += 1
        if Model.calls == 2:
            os._exit(0)
        return super().forward(tokens)


def attack(spec: runtime.Spec) -> Bigram:
    return Model(spec)


honest = Bigram
