"""Trains on the validation rows that it has answered, for those that come.

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
    def __init__(self, spec: runtime.Spec) -> None:
        super().__init__(spec)
        self.counts = torch.ones(spec.vocab_size**2)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        size = self.table.shape[0]
        logits = self.counts.view(size, size).log()[tokens]
        pairs = (tokens[:, :-1] * size + tokens[:, 1:]).flatten()
        self.counts += torch.bincount(pairs, minlength=size * size)
        return logits


def attack(spec: runtime.Spec) -> Bigram:
    return Model(spec)


honest = Bigram
