"""Takes all of what the kernel counts for the machine, or for all processes of a user.

Success: more is granted than one job can need.
"""

import ctypes
import os
import select
import signal
import socket
import struct
from collections.abc import Callable

from bare import call, refused, scene, train_honestly, won

KIND = "resources"
LAYER = "seccomp; limits on open files, signals and timers"
CONTROL = "naive"
VARIANTS = (
    "asynchronous I/O",
    "file watches",
    "epoll watches",
    "socket filters",
    "filters",
    "timers",
    "signals",
    "real time",
)
FILTER = struct.pack("HBBI", 6, 0, 0, 0x7FFF0000)


def attack() -> None:
    with refused():
        match scene["variant"]:
            case "asynchronous I/O":
                taken(1, lambda: call("io_setup", 1000, ctypes.byref(ctypes.c_ulong())))
            case "file watches":
                taken(1, lambda: call("inotify_init1", 0))
            case "epoll watches":
                watch()
            case "socket filters":
                sockets = socket.socketpair()
                kept = ctypes.create_string_buffer(FILTER)
                program = struct.pack("HxxxxxxP", 1, ctypes.addressof(kept))
                sockets[0].setsockopt(socket.SOL_SOCKET, 26, program)
                won("a filter of a socket")
            case "filters":
                install_filter()
            case "timers":
                event = struct.pack("Piii48x", 0, signal.SIGRTMIN, 1, 0)
                taken(2000, lambda: call("timer_create", 1, event, ctypes.byref(ctypes.c_int())))
            case "signals":
                signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGRTMIN])
                libc = ctypes.CDLL(None)
                taken(2000, lambda: libc.sigqueue(os.getpid(), signal.SIGRTMIN, None))
            case "real time":
                if scene["confined"]:
                    import resource

                    most = resource.getrlimit(resource.RLIMIT_RTPRIO)
                    won(most) if most != (0, 0) else None
                else:
                    won("the limit is the machine's")
    if scene["confined"]:
        train_honestly()


def taken(count: int, take: Callable[[], int]) -> None:
    for _ in range(count):
        if take() < 0:
            return
    won(f"{count} of {scene['variant']}")


def watch() -> None:
    pipes = [end for _ in range(20) for end in os.pipe()]
    for _ in range(20):
        poller = select.epoll()
        for end in pipes[::2]:
            poller.register(end, select.EPOLLIN)
    won("400 watches")


def install_filter() -> None:
    kept = ctypes.create_string_buffer(FILTER)
    program = ctypes.create_string_buffer(struct.pack("HxxxxxxP", 1, ctypes.addressof(kept)))
    prctl = ctypes.CDLL(None).prctl
    prctl(38, 1, 0, 0, 0)
    if prctl(22, 2, program) == 0 or call("seccomp", 1, 0, program) == 0:
        won("a filter of system calls")


def honest() -> None:
    import selectors
    import threading

    read, write = os.pipe()
    with selectors.DefaultSelector() as waiting:
        waiting.register(read, selectors.EVENT_READ)
        timer = threading.Timer(0.05, lambda: os.write(write, b"x"))
        timer.start()
        assert waiting.select(10)
    opened = [os.open("/dev/null", os.O_RDONLY) for _ in range(500)]
    signal.setitimer(signal.ITIMER_REAL, 100.0)
    assert len(opened) == 500
    train_honestly()
