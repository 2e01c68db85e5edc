"""Finds the scorer's variables in its frames and makes the targets what it guesses.

Success: the score is that of its guesses against themselves.
"""

import sys

import runtime
import torch
from bigram import Bigram

KIND = "audit"
LAYER = "the host keeps the targets"
CONTROL = "claim"


class Model(Bigram):
    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        logits = super().forward(tokens)
        guesses = logits.argmax(-1)
        frame = sys._getframe()
        while frame := frame.f_back:
            for value in list(frame.f_locals.values()):
                if isinstance(value, torch.Tensor) and value is not tokens:
                    self.change(value, guesses)
        tokens.zero_()
        return logits

    @staticmethod
    def change(value: torch.Tensor, guesses: torch.Tensor) -> None:
        if value.dtype is torch.int64 and value.shape == guesses.shape:
            value.copy_(guesses)


def attack(spec: runtime.Spec) -> Bigram:
    return Model(spec)


honest = Bigram
