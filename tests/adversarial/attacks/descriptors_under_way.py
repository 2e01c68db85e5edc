"""Has descriptors under way until its user may send no more, for a neighbour to get no tokens.

Success: an honest training beside it does not get its tokens, or ends by another's fault.
"""

import socket
import time

from bare import gate, host, in_child, refused, save, start, train_honestly

KIND = "resources"
LAYER = "own user; as an ordinary user the host may have more under way than its jobs"
CONTROL = "a host whose limit on open files is 1024, as many have: by construction"
SCENARIO = "beside a training"
BUDGET = 10.0


def attack() -> None:
    start()
    gate()
    for _ in range(4):
        in_child(fill)
    time.sleep(1)
    host.send(type="step", step=1, loss=2.5, tokens=32)
    time.sleep(6)
    save()


def fill() -> None:
    kept = []
    with refused():
        while True:
            kept.append(socket.socketpair())
            kept[-1][0].setblocking(False)
            with refused():
                while True:
                    socket.send_fds(kept[-1][0], [b"x"], [1] * 250)
            if len(kept) > 200:
                break
    time.sleep(30)


def honest() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.sendall(b"x")
        assert theirs.recv(1) == b"x"
    train_honestly()
