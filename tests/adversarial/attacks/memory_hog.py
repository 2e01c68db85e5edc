"""Takes more memory than it may: private, shared, in memory files, by many children.

Success: twice the limit is held for a while.
"""

import mmap
import os
import tempfile
import time

from bare import gate, in_child, refused, scene, start, train_honestly, won

KIND = "resources"
LAYER = "data limit of a process, watchdog or cgroup over the tree, sized file systems"
CONTROL = "naive"
MEMORY = 400
BUDGET = 20.0
VARIANTS = ("private", "shared", "memory file", "children")

TAKEN = 800 << 20


def attack() -> None:
    start()
    gate()
    with refused():
        match scene["variant"]:
            case "private":
                held = mmap.mmap(-1, TAKEN, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
                touch(held)
            case "shared":
                held = mmap.mmap(-1, TAKEN)
                touch(held)
            case "memory file":
                file = os.memfd_create("held")
                os.posix_fallocate(file, 0, TAKEN)
            case "children":
                told, tell = os.pipe()
                for _ in range(4):
                    in_child(lambda: hold(TAKEN // 4, tell))
                for _ in range(4):
                    os.read(told, 1)
        time.sleep(3)
        won(f"held {TAKEN >> 20} MiB: {scene['variant']}")


def hold(size: int, tell: int) -> None:
    held = mmap.mmap(-1, size, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    touch(held)
    os.write(tell, b".")
    time.sleep(30)


def touch(held: mmap.mmap) -> None:
    for place in range(0, len(held), 4096):
        held[place] = 1


def honest() -> None:
    held = mmap.mmap(-1, 100 << 20)
    touch(held)
    with tempfile.TemporaryFile() as file:
        file.write(bytes(1 << 20))
    train_honestly()
