"""The program: takes the bait, tries everything, prints a line of JSON."""

import json
import os
import socket
import struct
import sys

from nightlab.sandbox.attempts import files, kernel, network, processes
from nightlab.sandbox.attempts.common import Attempt, Bait, outcome

MARK = "ESCAPES "
HIGHEST_DESCRIPTOR = 512


def main() -> None:
    """Take the bait, try everything, print what came of each."""
    connection = socket.socket(fileno=int(os.environ["NIGHTLAB_SOCKET"]))
    inherited = _descriptors() - {0, 1, 2, connection.fileno()}
    bait, sealed = _receive(connection)
    _, pulse = _receive(connection)
    bait |= {"inherited": sorted(inherited), "sealed": sealed, "pulse": pulse}
    bait["socket"] = connection.fileno()
    report = {name: outcome(attempt, bait) for name, attempt in ATTEMPTS}
    sys.stdout.write(MARK + json.dumps(report) + "\n")


def _receive(connection: socket.socket) -> tuple[Bait, int]:
    """One frame of the job's protocol and the descriptor that came with it."""
    data, descriptors, _, _ = socket.recv_fds(connection, 4, 1)
    while len(data) < 4:
        data += connection.recv(4 - len(data))
    (length,) = struct.unpack(">I", data)
    payload = b""
    while len(payload) < length:
        payload += connection.recv(length - len(payload))
    return json.loads(payload), descriptors[0]


def _descriptors() -> set[int]:
    found = set()
    for number in range(HIGHEST_DESCRIPTOR):
        try:
            os.fstat(number)
        except OSError:
            continue
        found.add(number)
    return found


ATTEMPTS: tuple[tuple[str, Attempt], ...] = (
    ("read a file outside", files.read_outside),
    ("read the clone", files.read_clone),
    ("list the home folder", files.list_home),
    ("open a raw device", files.read_device),
    ("write outside", files.write_outside),
    ("change a file's mode outside", files.change_mode_outside),
    ("change the engine's files", files.write_engine),
    ("change kernel settings", files.write_kernel_settings),
    ("see a file outside", files.see_outside),
    ("read the engine's environment", processes.read_environment),
    ("use an inherited descriptor", processes.inherit_descriptors),
    ("see other processes", processes.see_processes),
    ("trace the engine", processes.trace_engine),
    ("connect to a TCP port", network.connect_tcp),
    ("send a datagram", network.send_udp),
    ("connect to a socket file", network.connect_unix),
    ("connect to an abstract socket", network.connect_abstract),
    ("open another kind of socket", network.open_families),
    ("gain privileges", kernel.gain_privileges),
    ("make a user namespace", kernel.make_user_namespace),
    ("mount a file system", kernel.mount),
    ("use io_uring", kernel.use_io_uring),
    ("use a key ring", kernel.use_keyring),
    ("load BPF", kernel.load_bpf),
    ("use userfaultfd", kernel.use_userfaultfd),
    ("count events", kernel.use_perf),
    ("share System V memory", kernel.use_shared_memory),
    ("change sealed memory", processes.change_sealed_memory),
    ("fork without limit", processes.fork_without_limit),
    ("signal the engine", processes.signal_engine),
    ("outlive the job", processes.outlive),
)
