"""Looks for descriptors that the engine left open in its child.

Success: anything is open beside the standard streams and the one socket, or those are no sockets.
"""

import os

from bare import refused, show, train_honestly, won

KIND = "containment"
LAYER = "only named descriptors are passed on"
CONTROL = "naive"


def attack() -> None:
    allowed = {0, 1, 2, int(os.environ["NIGHTLAB_SOCKET"])}
    for number in sorted({int(name) for name in os.listdir("/proc/self/fd")} - allowed):
        with refused():
            won(f"{number} is {os.readlink(f'/proc/self/fd/{number}')}")
    for number in (0, 1, 2):
        # Of the job alone: the machine's /dev/null has times that every job sees.
        if not os.readlink(f"/proc/self/fd/{number}").startswith("socket:"):
            won(f"{number} is {os.readlink(f'/proc/self/fd/{number}')}")
    if os.read(0, 1):
        won("there is an input")
    with refused():
        show(os.pread(1, 100, 0), os.read(os.open("/dev/tty", os.O_RDWR), 100))
        won("the output or the terminal can be read")


def honest() -> None:
    with open("mine", "w+b") as file:
        file.write(b"x")
        file.flush()
        assert os.pread(file.fileno(), 1, 0) == b"x"
    train_honestly()
