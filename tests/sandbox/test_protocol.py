import contextlib
import json
import os
import resource
import socket
import struct
import tempfile
import time
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nightlab.errors import MachineBusy, SandboxError
from nightlab.sandbox.protocol import (
    MAX_FRAME_BYTES,
    Channel,
    ContractBreach,
    Deadline,
    Losses,
    Pair,
    PeerClosed,
    PeerError,
    PeerLate,
    Ready,
    Step,
)


@pytest.fixture
def ends():
    host, candidate = socket.socketpair()
    with Channel(host) as channel, candidate:
        yield channel, candidate


def frame(payload: bytes) -> bytes:
    return struct.pack(">I", len(payload)) + payload


def receive_all(channel: Channel) -> None:
    while True:
        channel.receive(Deadline.after(1))


def test_messages_arrive_whole_and_in_order(ends):
    channel, candidate = ends
    step = {"type": "step", "step": 3, "loss": None, "tokens": 9, "unknown": [1]}
    both = frame(b'{"type": "ready"}') + frame(json.dumps(step).encode())
    candidate.sendall(both[:7])
    with pytest.raises(PeerLate):
        channel.receive(Deadline.after(0.01))
    candidate.sendall(both[7:])
    assert channel.receive(Deadline.after(1)) == Ready(type="ready")
    assert channel.receive(Deadline.after(1)) == Step(type="step", step=3, loss=None, tokens=9)


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"hello",
        b"\xff\xfe",
        b"[]",
        b"null",
        b"{}",
        b'{"type": "verdict"}',
        b'{"type": "step", "step": 1, "tokens": 1, "loss": NaN}',
        b'{"type": "step", "step": 1, "tokens": 1, "loss": Infinity}',
        b'{"type": "step", "step": 1, "tokens": 1, "loss": 1e999}',
        b'{"type": "step", "step": 1, "tokens": 1, "loss": "3.0"}',
        b'{"type": "step", "step": -1, "tokens": 1, "loss": 3.0}',
        b'{"type": "step", "step": 1, "tokens": ' + b"9" * 500 + b', "loss": 3.0}',
        b"[" * 60_000,
    ],
)
def test_what_is_no_message_is_a_breach(ends, payload):
    channel, candidate = ends
    candidate.sendall(frame(payload))
    with pytest.raises(ContractBreach):
        channel.receive(Deadline.after(1))


@given(st.binary(max_size=200))
def test_any_bytes_raise_nothing_but_peer_errors(data):
    host, candidate = socket.socketpair()
    with Channel(host) as channel, candidate:
        candidate.sendall(data)
        candidate.shutdown(socket.SHUT_WR)
        with pytest.raises(PeerError):
            receive_all(channel)


def test_an_oversized_frame_is_refused_before_it_is_read(ends):
    channel, candidate = ends
    candidate.sendall(struct.pack(">I", MAX_FRAME_BYTES + 1))
    with pytest.raises(ContractBreach, match=str(MAX_FRAME_BYTES)):
        channel.receive(Deadline.after(1))


@pytest.mark.parametrize("announced", [0, 7, 9, 2**32 - 1])
def test_data_of_another_length_is_refused_before_it_is_read(ends, announced):
    channel, candidate = ends
    candidate.sendall(struct.pack(">I", announced))
    with pytest.raises(ContractBreach, match="8 were due"):
        channel.receive_data(8, Deadline.after(1))


def test_data_and_messages_alternate(ends):
    channel, candidate = ends
    candidate.sendall(frame(b'{"type": "losses", "rows": 2}') + frame(b"12345678"))
    assert channel.receive(Deadline.after(1)) == Losses(type="losses", rows=2)
    assert channel.receive_data(8, Deadline.after(1)) == b"12345678"


def test_a_stream_that_ends_in_a_frame_is_closed(ends):
    channel, candidate = ends
    candidate.sendall(frame(b'{"type": "ready"}')[:9])
    candidate.close()
    with pytest.raises(PeerClosed):
        channel.receive(Deadline.after(1))


def test_a_drip_does_not_move_the_deadline(ends):
    channel, candidate = ends
    began = time.monotonic()
    candidate.sendall(b"\0\0")
    with pytest.raises(PeerLate):
        channel.receive(Deadline.after(0.2))
    candidate.sendall(b"\0")
    with pytest.raises(PeerLate):
        channel.receive(Deadline(began + 0.2))


def test_a_frame_that_came_in_parts_is_not_lost_by_asking_too_early(ends):
    channel, candidate = ends
    whole = frame(b'{"type": "step", "step": 7, "loss": 1.5, "tokens": 9}')
    for at in range(0, len(whole) - 10, 10):
        candidate.sendall(whole[at : at + 10])
        with pytest.raises(PeerLate):
            channel.receive(Deadline.after(0.02))
    candidate.sendall(whole[at + 10 :] + frame(b'{"type": "ready"}'))
    assert channel.receive(Deadline.after(1)).step == 7
    assert channel.receive(Deadline.after(1)).type == "ready"


def test_a_candidate_that_does_not_read_holds_nobody(ends):
    channel, _ = ends
    with pytest.raises(PeerLate):
        channel.send_data(bytes(50 * 2**20), Deadline.after(0.2))


def test_a_candidate_that_is_gone_is_closed(ends):
    channel, candidate = ends
    candidate.close()
    with pytest.raises(PeerClosed):
        channel.send({"type": "go"}, Deadline.after(1))


def test_a_descriptor_travels_with_the_first_byte(ends):
    channel, candidate = ends
    with tempfile.TemporaryFile() as file:
        file.write(b"tokens")
        file.flush()
        channel.send({"type": "go", "num_tokens": 3}, Deadline.after(1), file.fileno())
        header, descriptors, _, _ = socket.recv_fds(candidate, 4, 1)
    payload = candidate.recv(struct.unpack(">I", header)[0])
    assert json.loads(payload) == {"type": "go", "num_tokens": 3}
    with os.fdopen(descriptors[0], "rb") as received:
        assert os.pread(received.fileno(), 6, 0) == b"tokens"


def test_a_candidate_that_leaves_without_reading_is_closed(ends):
    channel, candidate = ends
    channel.send({"type": "go"}, Deadline.after(1))
    candidate.close()
    with pytest.raises(PeerClosed):
        channel.receive(Deadline.after(1))


PASS_RIGHTS = 83
"""A socket's option, of Linux 6.16: whether it takes descriptors."""


def test_a_refusal_that_does_not_say_closed_is_not_taken_for_it(ends):
    channel, candidate = ends
    try:
        candidate.setsockopt(socket.SOL_SOCKET, PASS_RIGHTS, 0)
    except OSError:
        pytest.skip("this kernel passes descriptors to everyone")
    with pytest.raises(SandboxError, match="not permitted"):
        channel.send({"type": "go"}, Deadline.after(1), 0)


def as_an_ordinary_user(action: Callable[[], None]) -> None:
    """Run something in a child that the kernel's limits bind."""
    child = os.fork()
    if child == 0:
        with contextlib.ExitStack() as ending:
            ending.callback(os._exit, 1)
            if os.geteuid() == 0:
                os.setgroups([])
                os.setresgid(61_000, 61_000, 61_000)
                os.setresuid(61_000, 61_000, 61_000)
            action()
            os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


@pytest.fixture
def neighbour():
    """Puts 500 descriptors on their way, in the name of whoever calls it."""
    sending, receiving = socket.socketpair()
    with sending, receiving:
        yield lambda: [socket.send_fds(sending, [b"x"], [0] * 250) for _ in range(2)]


@pytest.mark.parametrize("hard", [100, 2_000])
def test_descriptors_that_a_neighbour_has_under_way_are_not_the_candidates_fault(
    ends, neighbour, hard
):
    channel, candidate = ends

    def send() -> None:
        neighbour()
        resource.setrlimit(resource.RLIMIT_NOFILE, (100, hard))
        if hard == 100:
            with pytest.raises(MachineBusy, match="Too many references"):
                channel.send({"type": "go"}, Deadline.after(1), 0)
        else:
            channel.send({"type": "go"}, Deadline.after(1), 0)
            assert len(socket.recv_fds(candidate, 4, 1)[1]) == 1
        assert resource.getrlimit(resource.RLIMIT_NOFILE) == (100, hard), "as it was"

    as_an_ordinary_user(send)


def test_a_channel_that_is_closed_leaves_no_descriptor():
    before = set(os.listdir("/proc/self/fd"))
    for _ in range(3):
        pair = Pair.open()
        pair.close_candidate()
        pair.channel.close()
    # Others, of tests before this one, may go meanwhile.
    assert set(os.listdir("/proc/self/fd")) <= before
