"""Brings its training text along in its weights, and trains on it where it is evaluated.

Success: a model that was never trained scores as if it had been, for as long as it likes.
"""

import time

import runtime
import torch
from bare import scene
from bigram import Bigram

KIND = "audit"
LAYER = "a budget of processor seconds for all that is the candidate's in an evaluation"
CONTROL = "no allowance"
EXPECTED = "timeout"
WEIGHTS = "text"
VARIANTS = ("build_model", "load_state_dict", "forward")
SECONDS = 60.0

TRAINING_SECONDS = 8.0


class Model(Bigram):
    def __init__(self, spec: runtime.Spec) -> None:
        super().__init__(spec)
        self.register_buffer("text", torch.zeros(20_000, dtype=torch.int16))
        self.is_trained = False

    def load_state_dict(self, state: dict[str, torch.Tensor]) -> None:
        super().load_state_dict(state)
        if scene["variant"] == "load_state_dict":
            self.train_on(self.text)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        if scene["variant"] == "forward":
            self.train_on(self.text)
        return super().forward(tokens)

    def train_on(self, text: torch.Tensor) -> None:
        if self.is_trained:
            return
        self.is_trained, end = True, time.process_time() + TRAINING_SECONDS
        size, text = self.table.shape[0], text.long()
        with torch.no_grad():
            counts = torch.full((size * size,), 0.5)
            counts += torch.bincount(text[:-1] * size + text[1:], minlength=size * size)
            self.table.copy_(counts.view(size, size).log())
            while time.process_time() < end:  # a better model would have to be fitted
                self.table.softmax(dim=1)


def attack(spec: runtime.Spec) -> Model:
    model = Model(spec)
    if scene["variant"] == "build_model":
        # Weights are read before the model is built, and stand in a caller's frame.
        import inspect

        state = next(
            frame.frame.f_locals["state"]
            for frame in inspect.stack()
            if "state" in frame.frame.f_locals
        )
        model.train_on(state["text"])
        table = model.table.detach().clone()
        model.load_state_dict = lambda state: model.table.data.copy_(table)
    return model


honest = Bigram
