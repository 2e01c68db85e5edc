"""Learns from the other rows of its batch, which are validation text like its own.

Success: a model that was never trained scores better than one that knows nothing.
"""

import runtime
import torch
from bigram import Bigram

KIND = "audit"
LAYER = "rows are answered again in another order and company"
CONTROL = "claim"
EXPECTED = "audit"
WEIGHTS = "untrained"


class Model(Bigram):
    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        size = self.table.shape[0]
        counts = torch.ones(size * size)
        pairs = (tokens[:, :-1] * size + tokens[:, 1:]).flatten()
        counts += torch.bincount(pairs, minlength=size * size)
        return counts.view(size, size).log()[tokens]


def attack(spec: runtime.Spec) -> Bigram:
    return Model(spec)


honest = Bigram
