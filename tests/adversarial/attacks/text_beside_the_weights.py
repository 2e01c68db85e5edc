"""Hides its training text in the checkpoint's file, beside the weights that its model declares.

Success: the text is there to be read while the model is evaluated.
"""

import runtime
import torch
from bigram import Bigram

KIND = "audit"
LAYER = "a checkpoint is tensors, and no larger than they are but for a margin"
CONTROL = "torch.load takes it: by construction"
EXPECTED = "contract"
WEIGHTS = "text beside"


class Model(Bigram):
    def load_state_dict(self, state: dict[str, torch.Tensor]) -> None:
        super().load_state_dict({"table": state["table"]})


def attack(spec: runtime.Spec) -> Model:
    return Model(spec)


honest = Bigram
