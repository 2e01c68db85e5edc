"""The output of a job: nobody else reads it, and nobody can hold up who does."""

import os
import socket
import threading

import pytest

from nightlab.sandbox.log import LogReader, reading_pair


def test_what_is_written_comes_out_and_the_end_too():
    ours, theirs = reading_pair()
    log = LogReader(ours)
    theirs.sendall(b"one\n")
    log.settle(5)
    assert log.text == "one\n"
    theirs.sendall(b"two\n")
    theirs.close()
    log.join(5)
    assert log.text == "one\ntwo\n"


def test_whoever_writes_cannot_read():
    ours, theirs = reading_pair()
    with ours, theirs:
        theirs.send(b"x")
        assert os.read(theirs.fileno(), 10) == b"", "the end, as of an empty input"
        for flags in (os.O_RDONLY, os.O_WRONLY, os.O_RDWR):
            with pytest.raises(OSError, match="No such device or address"):
                os.open(f"/proc/self/fd/{theirs.fileno()}", flags)
        assert os.read(ours.fileno(), 10) == b"x"


def test_a_byte_out_of_band_is_no_end_and_nothing_to_wait_for():
    ours, theirs = reading_pair()
    log = LogReader(ours)
    theirs.send(b"x", socket.MSG_OOB)
    theirs.sendall(b"after")
    log.settle(5)
    assert log.text.endswith("after")
    theirs.close()
    log.join(5)


def test_a_thief_of_the_output_holds_nobody_up():
    """Of a program on a leash, whose output is a pipe: what is stolen is only missing."""
    read, write = os.pipe()
    stolen = os.open(f"/proc/self/fd/{read}", os.O_RDONLY | os.O_NONBLOCK)
    log = LogReader(os.fdopen(read, "rb", buffering=0))
    done = threading.Event()

    def steal() -> None:
        while not done.is_set():
            try:
                os.read(stolen, 100)
            except BlockingIOError:
                continue

    thief = threading.Thread(target=steal, daemon=True)
    thief.start()
    for _ in range(200):
        os.write(write, b"x")
        settling = threading.Thread(target=log.settle, args=(5,), daemon=True)
        settling.start()
        settling.join(20)
        assert not settling.is_alive(), "a lock is held in a read that does not end"
    done.set()
    thief.join()
    os.close(write)
    log.join(5)
    os.close(stolen)
