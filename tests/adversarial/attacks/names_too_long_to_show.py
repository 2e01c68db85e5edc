"""Names a constant with 251 letters, one more than MLflow takes, and another with the same 250.

Success: a parameter that MLflow refuses, which ends its catching up for good, or two in one.
"""

import re

from nightlab.source.knobs import knob_values
from nightlab.tracking.content import trial_params
from tests.tracking.samples import facts

KIND = "text"
LAYER = "MLflow's limits are kept, and one trial that it refuses stops no other"
CONTROL = "MLflow's own check: by construction"


def attack() -> str:
    names = ("A" * 251, "A" * 251 + "B", "A·B", "A_B")
    return "".join(f"{name} = {value}  # 0..9\n" for value, name in enumerate(names))


def honest() -> str:
    return f"{'A' * 250} = 7  # 0..9\n"


def reached(text: str) -> bool:
    knobs = knob_values(text)
    params = trial_params(1, facts("study").model_copy(update={"knobs": knobs}))
    known = trial_params(1, facts("study").model_copy(update={"knobs": {}}))
    fits = all(re.fullmatch(r"[/\w.\- :]{1,250}", name) for name in params)
    return not fits or len(params) - len(known) != len(knobs)


def passes(text: str) -> bool:
    params = trial_params(1, facts("study").model_copy(update={"knobs": knob_values(text)}))
    return params["A" * 250] == "7"
