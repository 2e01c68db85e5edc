"""Takes leases on files that later jobs open, so that each of them waits 45 seconds.

Success: a lease, or a notice, on a file that is not the job's own.
"""

import fcntl
import os
import sys
from pathlib import Path

from bare import refused, scene, train_honestly, won

KIND = "resources"
LAYER = "never mounted for writing, own user; as an ordinary user seccomp"
CONTROL = "unconfined"


def attack() -> None:
    shown = [Path(folder) for folder in sys.path[1:] if "/trainer" not in folder]
    files = [file for folder in shown for file in folder.glob("*.py*")][:300]
    for place in [Path(scene["vault"], "val.bin"), *files]:
        with refused():
            opened = os.open(place, os.O_RDONLY)
            fcntl.fcntl(opened, fcntl.F_SETLEASE, fcntl.F_WRLCK)
            won(f"a lease on {place}")
    with refused():
        fcntl.fcntl(os.open("/usr", os.O_RDONLY), fcntl.F_NOTIFY, fcntl.DN_ACCESS)
        won("notices of a folder")
    train_honestly()


def honest() -> None:
    with open("mine", "wb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        fcntl.lockf(file, fcntl.LOCK_EX)
        fcntl.fcntl(file, fcntl.F_SETFL, os.O_APPEND)
        file.write(b"x")
    train_honestly()
