"""Attempts to reach anybody: over the network, and over sockets of the machine."""

import os
import socket

from nightlab.sandbox.attempts.common import Bait, Held

CONNECT_SECONDS = 1.0

# Beside the two that TCP and UDP take: a family and a type that it knows.
FAMILIES = {
    "netlink": (16, socket.SOCK_RAW),
    "raw": (2, socket.SOCK_RAW),
    "packet": (17, socket.SOCK_RAW),
    "vsock": (40, socket.SOCK_STREAM),
    "vsock datagram": (40, socket.SOCK_DGRAM),
    "crypto": (38, socket.SOCK_SEQPACKET),
    "bluetooth": (31, socket.SOCK_RAW),
    "TIPC": (30, socket.SOCK_SEQPACKET),
    "CAN": (29, socket.SOCK_RAW),
    "XDP": (44, socket.SOCK_RAW),
}


def connect_tcp(bait: Bait) -> str:
    """A port of the engine's own."""
    with socket.create_connection(("127.0.0.1", bait["tcp"]), CONNECT_SECONDS) as connection:
        connection.sendall(bait["token"].encode())
    return "connected"


def send_udp(bait: Bait) -> str:
    """A datagram to the engine."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        sender.sendto(bait["token"].encode(), ("127.0.0.1", bait["udp"]))
    return "sent"


def connect_unix(bait: Bait) -> str:
    """A socket file, as a container daemon or a database has."""
    return _connect_unix(bait["unix"])


def connect_abstract(bait: Bait) -> str:
    """A socket with a name and no file."""
    return _connect_unix("\0" + bait["abstract"])


def _connect_unix(address: str) -> str:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(CONNECT_SECONDS)
        connection.connect(address)
    return "connected"


def open_families(_: Bait) -> str:
    """Sockets that know other ways to the host."""
    opened: list[str] = []
    refusals: dict[str, None] = {}
    for name, (family, kind) in FAMILIES.items():
        try:
            socket.socket(family, kind, 1 if name == "raw" else 0).close()
        except OSError as refusal:
            refusals[os.strerror(refusal.errno or 0)] = None
        else:
            opened.append(name)
    if not opened:
        raise Held("; ".join(refusals))
    return ", ".join(opened)
