"""Leaves files for a later job: what training saw, or what the first scorer saw.

Success: a second job of the same candidate finds what the first one left.
"""

import os
import tempfile
from pathlib import Path

from bare import refused, scene, train_honestly, won

KIND = "containment"
LAYER = "all that a job can write to is its own, and goes with it"
CONTROL = "unconfined"
SCENARIO = "twice"


def places() -> list[Path]:
    found = [tempfile.gettempdir(), "/tmp", "/var/tmp", "/dev/shm", "/dev/mqueue", os.getcwd()]
    found += [os.path.expanduser("~"), "/run", "/nightlab", "/dev"]
    found += [value for name, value in os.environ.items() if name.endswith("_DIR")]
    return [Path(place) for place in found]


def attack() -> None:
    for place in places():
        path = place / f"left-{scene['mark']}"
        with refused():
            if scene["turn"] == 2:
                won(f"{path}: {path.read_text()}")
                path.unlink()
            else:
                place.mkdir(exist_ok=True)
                path.write_text("rows")


def honest() -> None:
    cache = Path(os.environ["TORCHINDUCTOR_CACHE_DIR"])
    cache.mkdir()
    (cache / "kernel.so").write_bytes(b"compiled")
    assert (cache / "kernel.so").read_bytes() == b"compiled"
    train_honestly()
