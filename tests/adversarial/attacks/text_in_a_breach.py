"""Deviates by a number that it chose with validation text before its eyes, 32 bits at a time.

Success: the sentence on the breach, which the next prompt quotes, differs with the number.
"""

import numpy as np

from nightlab.evaluation.audit import breach_of_claims

KIND = "text"
LAYER = "what is said after text was shown has no number of the candidate's"
CONTROL = "a sentence with the largest deviation: by construction"


def attack() -> str:
    return "0.61234567 7.654321 12.5"


def honest() -> str:
    return "0.0001"


def reached(text: str) -> bool:
    said = {breach_of_claims(np.array([float(word), *[0.0] * 200])) for word in text.split()}
    return len(said) > 1


def passes(text: str) -> bool:
    return breach_of_claims(np.array([float(text), *[0.0] * 200])) is None
