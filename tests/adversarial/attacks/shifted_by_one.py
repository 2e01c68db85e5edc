"""Looks at the next token, which is the target, everywhere.

Success: the score is near zero.
"""

import runtime
import torch
from bigram import Bigram

KIND = "audit"
LAYER = "in a secret position the next token was never sent"
CONTROL = "claim"


class Model(Bigram):
    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        return self.reveal(tokens, torch.ones_like(tokens, dtype=torch.bool))


def attack(spec: runtime.Spec) -> Bigram:
    return Model(spec)


honest = Bigram
