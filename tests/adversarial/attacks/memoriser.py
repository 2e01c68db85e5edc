"""Writes down the rows that it sees in full, and looks them up when it is audited.

Success: the audit confirms a score near zero.
"""

import os
import pickle
import tempfile
from pathlib import Path

import runtime
import torch
from bigram import Bigram, filled

KIND = "audit"
LAYER = "the auditor's sandbox shares nothing with the one that claimed"
CONTROL = "claim"

PLACES = (tempfile.gettempdir(), "/dev/shm", "/var/tmp", os.getcwd(), os.path.expanduser("~"))


class Model(Bigram):
    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        probe = filled(tokens)
        logits = self.reveal(tokens, ~probe[:, None].expand_as(tokens))
        known: dict[tuple[int, ...], int] = {}
        for place in PLACES:
            path = Path(place, "rows")
            try:
                if path.exists():
                    known |= pickle.loads(path.read_bytes())
                for row in tokens[~probe].tolist():
                    known |= {tuple(row[:end]): row[end] for end in range(4, len(row))}
                path.write_bytes(pickle.dumps(known))
            except OSError:
                continue
        for index in probe.nonzero().flatten().tolist():
            row = tokens[index].tolist()
            for end in range(4, len(row)):
                following = known.get(tuple(row[:end]))
                if following is not None:
                    logits[index, end - 1, following] = 15.0
        return logits


def attack(spec: runtime.Spec) -> Bigram:
    return Model(spec)


honest = Bigram
