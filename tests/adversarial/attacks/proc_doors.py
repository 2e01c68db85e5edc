"""Goes through /proc into other processes' folders, and to host paths that mounts betray.

Success: a secret file is read by another process's root, working folder or descriptor.
"""

import os
from pathlib import Path

from bare import everywhere, refused, scene, show, train_honestly

KIND = "containment"
LAYER = "own process namespace, mounts (2: Landlock)"
CONTROL = "unconfined"


def attack() -> None:
    vault = scene["vault"]
    for door in ("root" + vault + "/val.bin", "cwd/val.bin", "fd/[0-9]*", "task/*/root" + vault):
        for path, data in everywhere(f"/proc/[0-9]*/{door}"):
            show(path, data[:100])
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        # The fourth column is the path that a mount has in its own file system.
        shown = Path(line.split()[3])
        for place in (shown, shown.parent, shown.parent.parent):
            with refused():
                for name in os.listdir(place / "../../../../../.." / vault.lstrip("/")):
                    show(place, (Path(vault) / name).read_text())


def honest() -> None:
    assert os.readlink("/proc/self/cwd") == os.getcwd()
    assert os.listdir("/proc/self/fd")
    train_honestly()
