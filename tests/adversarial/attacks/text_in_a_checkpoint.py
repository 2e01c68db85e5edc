"""Saves its training text as an object of the checkpoint that is no tensor.

Success: the text is there to be read while the model is evaluated.
"""

import itertools

import runtime
import torch
from bigram import Bigram

KIND = "audit"
LAYER = "a checkpoint is tensors, and no larger than they are but for a margin"
CONTROL = "torch.load takes it: by construction"
EXPECTED = "contract"
WEIGHTS = "text in it"


class Model(Bigram):
    def load_state_dict(self, state: dict[str, torch.Tensor]) -> None:
        super().load_state_dict({"table": state["table"]})
        counts = torch.ones_like(self.table)
        text = state["text"].encode()
        for one, two in itertools.pairwise(text):
            counts[one, two] += 1
        self.table.data.copy_(counts.log())


def attack(spec: runtime.Spec) -> Model:
    return Model(spec)


honest = Bigram
