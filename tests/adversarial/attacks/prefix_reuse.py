"""Remembers every prefix that it is audited with, for a longer one of the same row.

Success: the audit confirms what one prefix tells about another.
"""

import runtime
import torch
from bigram import Bigram, filled

KIND = "audit"
LAYER = "one prefix of each row"
CONTROL = "claim"


class Model(Bigram):
    def __init__(self, spec: runtime.Spec) -> None:
        super().__init__(spec)
        self.seen: dict[tuple[int, ...], int] = {}

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        probes = filled(tokens)
        logits = self.reveal(tokens, ~probes[:, None].expand_as(tokens))
        for index in probes.nonzero().flatten().tolist():
            row = tokens[index].tolist()
            while len(row) > 4 and row[-1] == row[-2]:
                row.pop()  # the filler; what stands before it was sent
            for end in range(4, len(row)):
                self.seen[tuple(row[:end])] = row[end]
            for end in range(4, len(row) + 1):
                following = self.seen.get(tuple(row[:end]))
                if following is not None:
                    logits[index, end - 1, following] += 15.0
        return logits


def attack(spec: runtime.Spec) -> Bigram:
    return Model(spec)


honest = Bigram
