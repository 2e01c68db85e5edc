"""Which installed distributions torch needs."""

import re
import sys
from importlib import metadata

from nightlab.errors import SandboxUnavailable


def torch_closure() -> tuple[str, ...]:
    """The installed distributions that torch needs, itself and numpy among them, sorted.

    Requirements of extras are left out; those with other conditions count when they are
    installed, so that CUDA's and Triton's packages are found by themselves.

    Raises:
        SandboxUnavailable: torch or numpy is not installed.
    """
    found: set[str] = set()
    waiting = ["torch", "numpy"]
    while waiting:
        name = waiting.pop()
        if name in found:
            continue
        try:
            requirements = metadata.requires(name) or []
        except metadata.PackageNotFoundError:
            continue
        found.add(name)
        for requirement in requirements:
            word = re.match(r"[A-Za-z0-9._-]+", requirement)
            if word is not None and not re.search(r";.*\bextra\b", requirement):
                waiting.append(re.sub(r"[-_.]+", "-", word.group()).lower())
    if not {"torch", "numpy"} <= found:
        raise SandboxUnavailable(
            f"The sandbox shows candidates torch and numpy, and {sys.executable} does not have "
            "both: run `make setup`."
        )
    return tuple(sorted(found))
