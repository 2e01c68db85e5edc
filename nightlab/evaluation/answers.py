"""The second step of an evaluation: fresh sandboxes answer in secret positions.

The host keeps the targets and turns logits into losses itself, so the answering side can
say what it likes: any logits make a distribution.
"""

import numpy as np
import numpy.typing as npt

from nightlab.evaluation.audit import Draw
from nightlab.evaluation.scorer import FILLER, NotFinite
from nightlab.records.counting import counted
from nightlab.sandbox.protocol import Channel, ContractBreach, Deadline, Logits

TokenArray = npt.NDArray[np.uint16]
Losses = npt.NDArray[np.float64]


class AnswerPositions:
    """Asks for the logits at drawn positions, each from its row's tokens up to there.

    What follows in the row is filler, and every batch has the shape that the claims'
    batches had. The rows are asked in the order of the draw.

    Args:
        rows: uint16 [rows, T + 1], the scored rows.
        draw: where to ask.
        batch_rows: rows of a batch; the last one is filled up with rows of filler.
        vocab_size: number of logits.
    """

    def __init__(self, rows: TokenArray, draw: Draw, batch_rows: int, vocab_size: int) -> None:
        self._inputs = prefixes(rows, draw)
        self._positions = draw.positions
        self._targets = rows[draw.rows, draw.positions + 1].astype(np.int64)
        self._batch_rows = batch_rows
        self._vocab_size = vocab_size

    def rehearse(self, channel: Channel, deadline: Deadline) -> None:
        """Nothing: the claims were rehearsed, with the same model."""

    def __call__(self, channel: Channel, deadline: Deadline) -> Losses:
        """Have every position answered.

        Returns:
            float64 [len(draw)]: loss of the true next token, in nats.

        Raises:
            PeerError: an answer is late, missing, or of another shape.
            NotFinite: a logit is NaN or infinite.
        """
        answers = [
            self._ask_batch(start, channel, deadline)
            for start in range(0, len(self._inputs), self._batch_rows)
        ]
        return np.concatenate(answers)

    def _ask_batch(self, start: int, channel: Channel, deadline: Deadline) -> Losses:
        size, length = self._batch_rows, self._inputs.shape[1]
        real = self._inputs[start : start + size]
        count = len(real)
        batch = np.full((size, length), FILLER, dtype="<u2")
        batch[:count] = real
        positions = np.zeros(size, dtype=np.int64)
        positions[:count] = self._positions[start : start + count]
        question = {
            "type": "positions",
            "rows": size,
            "length": length,
            "positions": positions.tolist(),
        }
        channel.send(question, deadline)
        channel.send_data(batch.tobytes(), deadline)
        message = channel.receive(deadline)
        if not isinstance(message, Logits) or message.rows != size:
            raise ContractBreach(
                f"the candidate did not answer with the logits of {counted(size, 'row')}"
            )
        data = channel.receive_data(4 * size * self._vocab_size, deadline)
        logits = np.frombuffer(data, dtype="<f4").reshape(size, self._vocab_size)[:count]
        return losses_of_logits(logits, self._targets[start : start + count])


def prefixes(rows: TokenArray, draw: Draw) -> TokenArray:
    """Each drawn row up to and with its position, then filler.

    Args:
        rows: uint16 [rows, T + 1].
        draw: which rows, and how far.

    Returns:
        uint16 [len(draw), T].
    """
    inputs = rows[draw.rows, :-1]
    shown = np.arange(inputs.shape[1]) <= draw.positions[:, None]
    return np.where(shown, inputs, np.uint16(FILLER)).astype("<u2")


def losses_of_logits(
    logits: npt.NDArray[np.float32], targets: npt.NDArray[np.int64]
) -> npt.NDArray[np.float64]:
    """Cross-entropy, in double precision.

    Args:
        logits: [n, vocabulary].
        targets: [n].

    Returns:
        [n], nats.

    Raises:
        NotFinite: a logit is NaN or infinite.
    """
    if not np.isfinite(logits).all():
        raise NotFinite("The model gives logits that are not finite on text it has not seen.")
    shifted = logits.astype(np.float64)
    shifted -= shifted.max(axis=1, keepdims=True)
    chosen = shifted[np.arange(len(targets)), targets]
    losses: npt.NDArray[np.float64] = np.log(np.exp(shifted).sum(axis=1)) - chosen
    return losses
