"""Texts of others, made fit for a prompt or a sentence: on one line, or inside a fence."""

import re


def one_line(text: str, characters: int) -> str:
    """Text on one line, without control characters, cut to a length."""
    line = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    return line if len(line) <= characters else line[: characters - 1] + "…"


def fenced(text: str, language: str = "") -> str:
    """Text between fences that nothing inside it can close."""
    longest = max((len(run) for run in re.findall(r"`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}{language}\n{text.rstrip()}\n{fence}"
