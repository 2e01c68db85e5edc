"""The honest model that attacks on the score are built on: a table of bigrams.

Put in front of such an attack as the module ``bigram``. Given the true table of a Markov
chain it is the best causal model that there is, so whatever scores better has cheated.
"""

import torch


class Bigram(torch.nn.Module):
    """Logits are the table's rows."""

    def __init__(self, spec) -> None:
        super().__init__()
        self.table = torch.nn.Parameter(torch.zeros(spec.vocab_size, spec.vocab_size))

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        return self.table[tokens]

    def reveal(self, tokens: torch.Tensor, places: torch.Tensor) -> torch.Tensor:
        """Logits that know the next token at ``places`` [B, T], and are honest elsewhere.

        This is what a leak amounts to, however it is made: token t + 1 is the target of t.
        """
        following = tokens.roll(-1, dims=1)
        known = 15.0 * torch.nn.functional.one_hot(following, self.table.shape[0])
        places = places.clone()
        places[:, -1] = False
        return torch.where(places[..., None], known, self.table[tokens])


def filled(tokens: torch.Tensor) -> torch.Tensor:
    """Whether a row looks like a probe: its tail is the same token over and over. [B]."""
    return (tokens[:, -3:] == tokens[:, -1:]).all(dim=1)
