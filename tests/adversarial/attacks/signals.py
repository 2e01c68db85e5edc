"""Ends or stops the engine, and whatever else belongs to its user.

Success: a process outside is killed or stopped.
"""

import os
import signal
import time

from bare import call, refused, scene, train_honestly

KIND = "containment"
LAYER = "own process namespace (2: Landlock's scope, own user)"
CONTROL = "unconfined"


def attack() -> None:
    targets = [scene["victim"]]
    if scene["confined"]:
        targets.append(scene["engine"])
    for target in targets:
        with refused():
            os.kill(target, signal.SIGSTOP)
        with refused():
            handle = call("pidfd_open", target, 0)
            call("pidfd_send_signal", handle, signal.SIGSTOP, 0, 0)
        with refused():
            # The kernel sends on our behalf when a pipe is ready.
            import fcntl

            read, write = os.pipe()
            fcntl.fcntl(read, fcntl.F_SETOWN, target)
            fcntl.fcntl(read, 10, signal.SIGKILL)
            fcntl.fcntl(read, fcntl.F_SETFL, os.O_ASYNC | os.O_NONBLOCK)
            os.write(write, b"x")
    time.sleep(0.1)


def honest() -> None:
    child = os.fork()
    if child == 0:
        time.sleep(60)
    os.kill(child, signal.SIGKILL)
    assert os.waitpid(child, 0)[1] == signal.SIGKILL
    train_honestly()
