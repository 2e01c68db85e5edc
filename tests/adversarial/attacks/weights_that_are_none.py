"""Puts a pipe, a folder, a device or a giant hole in the place of its weights.

Success: the engine waits for it, fills its disk with it, or fails by itself.
"""

import os
import socket
import stat

from bare import checkpoint, gate, refused, scene, start, train_honestly

KIND = "protocol"
LAYER = "opened without waiting; only a regular file of limited size; file size limit"
CONTROL = "open() waits for a pipe's writer without end: by construction"
EXPECTED = "contract timeout exception"
VARIANTS = ("pipe", "folder", "socket", "device", "hole", "empty")


def attack() -> None:
    start()
    gate()
    with refused():
        match scene["variant"]:
            case "pipe":
                os.mkfifo(checkpoint())
            case "folder":
                checkpoint().mkdir()
            case "socket":
                socket.socket(socket.AF_UNIX).bind(str(checkpoint()))
            case "device":
                os.mknod(checkpoint(), stat.S_IFCHR | 0o666, os.makedev(1, 5))
            case "hole":
                checkpoint().touch()
                os.truncate(checkpoint(), 1 << 40)
            case "empty":
                checkpoint().touch()
    with refused():
        # Shut the folder against whoever cleans up.
        os.mkdir("shut")
        (checkpoint().parent / "shut" / "inner").touch()
        os.chmod("shut", 0)


def honest() -> None:
    train_honestly()
