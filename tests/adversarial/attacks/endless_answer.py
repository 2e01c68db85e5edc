"""Never answers, to hold the engine up.

Success: the evaluation lasts longer than its time limit.
"""

import time

import runtime
import torch
from bigram import Bigram

KIND = "audit"
LAYER = "a deadline before every wait"
CONTROL = "a host without a deadline: by construction"
EXPECTED = "contract timeout audit"
SECONDS = 8.0


class Model(Bigram):
    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        time.sleep(600)
        return super().forward(tokens)


def attack(spec: runtime.Spec) -> Bigram:
    return Model(spec)


honest = Bigram
