"""The first step of an evaluation: a candidate commits to a loss for every token.

It is shown whole rows, with the answers in them, so nothing of this is believed: only
shape and range are checked here. ``audit`` finds out what the claims are worth.
"""

import numpy as np
import numpy.typing as npt

from nightlab.evaluation.scorer import FILLER, NotFinite
from nightlab.records.counting import counted
from nightlab.sandbox.protocol import Channel, ContractBreach, Deadline, Losses

TokenArray = npt.NDArray[np.uint16]
LossArray = npt.NDArray[np.float32]


class ClaimLosses:
    """Asks for the losses of rows, in batches that all have one shape.

    Args:
        rows: uint16 [rows, T + 1]; a row predicts its last T tokens.
        batch_rows: rows of a batch; the last one is filled up with rows of filler.
    """

    def __init__(self, rows: TokenArray, batch_rows: int) -> None:
        self._rows = rows
        self._batch_rows = batch_rows

    def rehearse(self, channel: Channel, deadline: Deadline) -> None:
        """Have one batch of filler answered."""
        self._ask_batch(self._filler(self._batch_rows), channel, deadline)

    def __call__(self, channel: Channel, deadline: Deadline) -> LossArray:
        """Have every batch answered.

        Returns:
            float32 [rows, T], nats, finite and not negative.

        Raises:
            PeerError: an answer is late, missing, or of another shape or range.
            NotFinite: a loss is NaN or infinite.
        """
        count, size = len(self._rows), self._batch_rows
        padded = self._filler(-(-count // size) * size)
        padded[:count] = self._rows
        answers = [
            self._ask_batch(padded[start : start + size], channel, deadline)
            for start in range(0, count, size)
        ]
        return check_claims(np.concatenate(answers)[:count])

    def _filler(self, count: int) -> TokenArray:
        return np.full((count, self._rows.shape[1]), FILLER, dtype="<u2")

    def _ask_batch(self, batch: TokenArray, channel: Channel, deadline: Deadline) -> LossArray:
        count, length = len(batch), batch.shape[1] - 1
        channel.send({"type": "rows", "rows": count, "length": length}, deadline)
        channel.send_data(batch.tobytes(), deadline)
        message = channel.receive(deadline)
        if not isinstance(message, Losses) or message.rows != count:
            raise ContractBreach(
                f"the candidate did not answer with the losses of {counted(count, 'row')}"
            )
        data = channel.receive_data(4 * count * length, deadline)
        return np.frombuffer(data, dtype="<f4").astype(np.float32).reshape(count, length)


def check_claims(losses: LossArray) -> LossArray:
    """Give back claims that are losses.

    Raises:
        ContractBreach: one is negative.
        NotFinite: one is NaN or infinite.
    """
    if not np.isfinite(losses).all():
        raise NotFinite("The model gives losses that are not finite on text it has not seen.")
    if (losses < 0).any():
        raise ContractBreach("the candidate answered losses below zero")
    return losses
