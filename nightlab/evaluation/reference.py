"""What a simple n-gram model, with no candidate in it, makes of the scored rows.

The audit looks hardest where a candidate claims to know much better than this. The model
is counted on the very rows that are scored, each token left out of the counts
that predict it: cheap, always at hand, and beyond a candidate's influence. How good it is decides
how well positions are chosen, never whether the score is right.
"""

import numpy as np
import numpy.typing as npt

TokenArray = npt.NDArray[np.uint16]

_PRIOR = (20.0, 4.0)
"""Weight of the shorter context against one count of the longer: bigram, trigram."""


def reference_losses(rows: TokenArray, vocab_size: int) -> npt.NDArray[np.float32]:
    """Losses of a smoothed trigram model of the rows, each token left out of its own counts.

    Smoothing is towards the next shorter context with a Dirichlet prior (MacKay and Peto,
    "A hierarchical Dirichlet language model", 1995), the shortest being the uniform one.

    Args:
        rows: [rows, T + 1].
        vocab_size: number of token ids.

    Returns:
        float32 [rows, T], nats: the loss of every token but a row's first.
    """
    tokens = rows.astype(np.int64)
    target = tokens[:, 1:]
    total = tokens.size
    singles = np.bincount(tokens.ravel(), minlength=vocab_size)
    chance = (singles[target] - 1 + 1.0) / (total - 1 + vocab_size)

    pairs = tokens[:, :-1] * vocab_size + target
    followed = singles[tokens[:, :-1]] - 1
    chance = _blend(_counts(pairs) - 1, followed, chance, _PRIOR[0])

    triples = pairs[:, :-1] * vocab_size + target[:, 1:]
    seen = _counts(pairs[:, :-1]) - 1
    longer = _blend(_counts(triples) - 1, seen, chance[:, 1:], _PRIOR[1])
    chance = np.concatenate([chance[:, :1], longer], axis=1)
    return (-np.log(chance)).astype(np.float32)


def _counts(codes: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """How often each entry's value stands in the whole array: same shape."""
    _, places, counts = np.unique(codes.ravel(), return_inverse=True, return_counts=True)
    return counts[places].reshape(codes.shape)


def _blend(
    count: npt.NDArray[np.int64],
    context: npt.NDArray[np.int64],
    shorter: npt.NDArray[np.float64],
    prior: float,
) -> npt.NDArray[np.float64]:
    return (count + prior * shorter) / (np.maximum(context, 0) + prior)
