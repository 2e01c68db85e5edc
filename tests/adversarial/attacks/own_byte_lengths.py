"""Changes the tokenizer, the byte lengths and the vocabulary that it finds around it.

Success: the score is counted over other bytes, or other tokens.
"""

import runtime
import torch
from bigram import Bigram

KIND = "audit"
LAYER = "tokens, byte lengths and their sums are the host's own"
CONTROL = "a scorer that imports the candidate's module: by construction"


class Model(Bigram):
    token_bytes = torch.full((64,), 1000)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        runtime.Spec.vocab_size = 2
        return super().forward(tokens)


def get_token_bytes() -> torch.Tensor:
    return Model.token_bytes


def attack(spec: runtime.Spec) -> Bigram:
    object.__setattr__(spec, "sequence_length", 1)
    return Model(spec)


honest = Bigram
