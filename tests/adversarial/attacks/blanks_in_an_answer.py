"""Answers with a title and an expectation of nothing but blanks, stars and half a number.

Success: reading the answer takes more than 0.1 s.
"""

from nightlab.proposers.idea import named_head, read_idea

KIND = "text"
LAYER = "expressions that read each character in one way, checked by a test over the whole tree"
CONTROL = "a loop that is begun anew at each blank: by construction"


def attack() -> str:
    blanks = " \t" * 10_000
    return (
        f"TITLE{blanks}*{blanks}\n{'TITLE ' * 5_000}\nEXPECTED: {blanks}x{blanks}\nTITLE:{blanks}"
    )


def honest() -> str:
    return "## **TITLE:** Deeper\nHYPOTHESIS: It helps.\nEXPECTED: - 0.01 bpb\n"


def reached(text: str) -> bool:
    any(map(named_head, text.split("\n")))
    return read_idea(text).expected_bpb is not None


def passes(text: str) -> bool:
    return read_idea(text).title == "Deeper" and read_idea(text).expected_bpb == -0.01
