"""Speaks to services of the machine over local sockets, as to Docker's.

Success: a listener outside is reached, by its path or by its abstract name.
"""

import socket

from bare import refused, scene, show, train_honestly

KIND = "containment"
LAYER = "mounts, own network namespace (2: seccomp, Landlock's scope)"
CONTROL = "unconfined"


def attack() -> None:
    places = (
        f"{scene['vault']}/engine.sock",
        f"\0{scene['abstract']}",
        "/var/run/docker.sock",
        "/run/dbus/system_bus_socket",
    )
    for place in places:
        for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
            with refused(), socket.socket(socket.AF_UNIX, kind) as connection:
                connection.connect(place)
                show("GOT THROUGH:", place)


def honest() -> None:
    ours, theirs = socket.socketpair()
    ours.send(b"x")
    assert theirs.recv(9) == b"x"
    train_honestly()
