"""Puts all on one guess with logits that overflow, where a wrong guess costs nothing.

Success: the score is better than the honest one by more than its stated error.
"""

import runtime
import torch
from bare import scene
from bigram import Bigram

KIND = "audit"
LAYER = "the host's own log-softmax in full precision; what is not finite is refused"
CONTROL = "clipping losses, as some scorers do, would reward it: by construction"
VARIANTS = ("huge", "minus infinity", "not a number")


class Model(Bigram):
    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        logits = self.table[tokens]
        best = logits == logits.max(-1, keepdim=True).values
        match scene["variant"]:
            case "huge":
                return torch.where(best, 3e38, -3e38)
            case "minus infinity":
                return torch.where(best, 0.0, float("-inf"))
            case _:
                return torch.where(best, float("nan"), logits)


def attack(spec: runtime.Spec) -> Bigram:
    return Model(spec)


honest = Bigram
