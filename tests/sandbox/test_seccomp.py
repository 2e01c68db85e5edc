"""The filter, asked by a machine of its own and by the kernel."""

import errno
import json
import platform
import struct
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import pytest

from nightlab.errors import SandboxUnavailable
from nightlab.sandbox.seccomp import filter_program
from nightlab.sandbox.system_calls import MACHINES, NUMBERS, X32_BIT

ALLOWED, KILLED = "allowed", "killed"
HERE = platform.machine()
COLUMN = MACHINES[HERE][0]

# What is refused, written out: a call that leaves the code's lists, or comes to them, is changed
# here on purpose.
REFUSED = {
    *("unshare", "setns", "mount", "umount2", "pivot_root", "chroot", "move_mount", "open_tree"),
    *("fsopen", "fsconfig", "fsmount", "fspick", "mount_setattr"),
    *("ptrace", "process_vm_readv", "process_vm_writev", "process_madvise", "kcmp", "pidfd_getfd"),
    *("process_mrelease", "move_pages", "migrate_pages"),
    *("bpf", "perf_event_open", "userfaultfd", "io_uring_setup", "io_uring_enter"),
    *("io_uring_register", "keyctl", "add_key", "request_key", "init_module", "finit_module"),
    *("delete_module", "create_module", "kexec_load", "kexec_file_load", "modify_ldt", "iopl"),
    *("ioperm", "uselib", "lookup_dcookie", "nfsservctl", "memfd_secret"),
    *("swapon", "swapoff", "reboot", "acct", "quotactl", "quotactl_fd", "settimeofday"),
    *("clock_settime", "adjtimex", "clock_adjtime", "syslog", "sethostname", "setdomainname"),
    *("vhangup", "fanotify_init", "fanotify_mark"),
    *("shmget", "shmat", "shmctl", "shmdt", "semget", "semop", "semctl", "semtimedop", "msgget"),
    *("msgsnd", "msgrcv", "msgctl", "mq_open", "mq_unlink", "mq_timedsend", "mq_timedreceive"),
    *("mq_notify", "mq_getsetattr", "open_by_handle_at", "name_to_handle_at"),
    *("io_setup", "io_destroy", "io_submit", "io_cancel", "io_getevents", "io_pgetevents"),
    *("inotify_init", "inotify_init1", "inotify_add_watch", "seccomp", "setxattr", "lsetxattr"),
    *("fsetxattr", "removexattr", "lremovexattr", "fremovexattr"),
    *("epoll_create", "epoll_create1", "mincore", "cachestat", "memfd_create"),
}
REFUSED_ON_RUNG_2 = {
    *("socket", "bind", "connect", "chmod", "fchmod", "fchmodat", "fchmodat2", "chown", "fchown"),
    *("lchown", "fchownat", "utime", "utimes", "futimesat", "utimensat", "sendmsg", "sendmmsg"),
}
RULED_BY_ARGUMENTS = {"clone", "personality", "ioctl", "prctl", "setsockopt", "fcntl", "mknod"}
RULED_BY_ARGUMENTS |= {"mknodat", "socket", "socketpair", "setpriority", "ioprio_set", "prlimit64"}
RULED_BY_ARGUMENTS |= {"sched_setaffinity", "sched_setscheduler", "sched_setparam", "sched_setattr"}
RULED_BY_ARGUMENTS |= {"madvise", "preadv2", "pwritev2"}
OTHERWISE_ANSWERED = {"clone3", "setsid", "setpgid", "fadvise64", "readahead", "sync_file_range"}
FOR_OURSELVES = {"landlock_create_ruleset", "landlock_add_rule", "landlock_restrict_self"}
NEWEST_CALL = 462


def verdict(program: bytes, call: str | int, *arguments: int, machine: str = HERE) -> str | int:
    """What a filter says to a call: ``ALLOWED``, ``KILLED`` or an errno."""
    column, architecture = MACHINES[machine]
    number = NUMBERS[call][column] if isinstance(call, str) else call
    padded = (*arguments, *[0] * (6 - len(arguments)))
    data = struct.pack("=IIQ6Q", number, architecture, 0, *padded)
    code, at, register = [*struct.iter_unpack("=HBBI", program)], 0, 0
    while True:
        operation, if_true, if_false, value = code[at]
        at += 1
        if operation == 0x20:
            (register,) = struct.unpack_from("=I", data, value)
        elif operation == 0x54:
            register &= value
        elif operation in (0x15, 0x35):
            holds = register == value if operation == 0x15 else register >= value
            at += if_true if holds else if_false
        elif operation == 0x06:
            named = {0x7FFF0000: ALLOWED, 0x80000000: KILLED}
            return named.get(value, value & 0xFFFF)
        else:
            raise AssertionError(f"the kernel would refuse operation {operation:#x}")


@pytest.fixture(params=MACHINES)
def machine(request):
    return request.param


@pytest.fixture(params=[True, False], ids=["rung 1", "rung 2"])
def local_sockets(request):
    return request.param


@pytest.fixture
def ask(machine, local_sockets):
    program = filter_program(local_sockets=local_sockets, machine=machine)
    return lambda call, *arguments: verdict(program, call, *arguments, machine=machine)


def test_exactly_these_calls_are_refused_whatever_their_arguments(machine, local_sockets):
    program = filter_program(local_sockets=local_sockets, machine=machine)
    column = MACHINES[machine][0]
    here = {name for name, numbers in NUMBERS.items() if numbers[column] is not None}
    unlike_any = (0x5A5A_5A5A,) * 6
    always = {
        name
        for name in here
        if verdict(program, name, machine=machine) == errno.EPERM
        and verdict(program, name, *unlike_any, machine=machine) == errno.EPERM
    }
    expected = REFUSED | (set() if local_sockets else REFUSED_ON_RUNG_2)
    # Refused as well, of another family or in the name of another process.
    assert always - RULED_BY_ARGUMENTS == (expected - RULED_BY_ARGUMENTS) & here
    rest = RULED_BY_ARGUMENTS | OTHERWISE_ANSWERED | FOR_OURSELVES
    assert set(NUMBERS) == REFUSED | REFUSED_ON_RUNG_2 | rest


def test_another_architectures_numbers_kill(machine, local_sockets):
    program = filter_program(local_sockets=local_sockets, machine=machine)
    foreign = next(name for name in MACHINES if name != machine)
    assert verdict(program, 0, machine=foreign) == KILLED


def test_the_second_way_to_call_kills():
    program = filter_program(local_sockets=True, machine="x86_64")
    assert verdict(program, 0, machine="x86_64") == ALLOWED
    assert verdict(program, X32_BIT, machine="x86_64") == KILLED


def test_processes_and_threads_may_be_made_but_no_namespaces(ask):
    assert ask("clone", 0x11) == ALLOWED
    assert ask("clone", 0x3D0F00) == ALLOWED  # a thread, as the C library makes it
    for flag in (0x20000, 0x2000000, 0x4000000, 0x8000000, 1 << 28, 1 << 29, 1 << 30):
        assert ask("clone", flag | 0x11) == errno.EPERM
        assert ask("unshare", flag) == errno.EPERM
    assert ask("clone3", 0) == errno.ENOSYS


def test_terminals_cannot_be_typed_into_whatever_the_high_bits(ask):
    assert ask("ioctl", 0, 0x5401) == ALLOWED
    for request in (0x5412, 0x541C):
        assert ask("ioctl", 0, request) == errno.EPERM
        assert ask("ioctl", 0, request | 1 << 40) == errno.EPERM


def test_a_files_flags_project_and_version_stay_as_they_are(ask):
    for request in (0x40086602, 0x40046602, 0x401C5820, 0x40087602, 0x40806685, 1 << 40 | 0x6602):
        assert ask("ioctl", 3, request) == errno.EPERM
    for request in (0x541B, 0x5421, 0xC0044600, 0x4611, 75, 0x30000001):  # a GPU's among them
        assert ask("ioctl", 3, request) == ALLOWED


def test_a_candidate_installs_no_filters_of_its_own_and_takes_descriptors(ask):
    assert ask("prctl", 22, 2) == errno.EPERM
    assert ask("prctl", 38, 1) == ALLOWED
    for option in (26, 50, 51, 52, 83):
        assert ask("setsockopt", 3, 1, option) == errno.EPERM
    for option in (2, 7, 8, 16):  # as local sockets have them
        assert ask("setsockopt", 3, 1, option) == ALLOWED


def test_nobody_is_held_up_or_told_by_a_file_that_is_opened(ask):
    for command in (1024, 1026, 1040):  # leases and notices
        assert ask("fcntl", 3, command, 1) == errno.EPERM
    for command in (0, 1, 2, 3, 4, 5, 6, 7, 1030, 1033):
        assert ask("fcntl", 3, command) == ALLOWED


def test_a_gpus_driver_may_wait_as_it_likes(machine):
    for local_sockets in (True, False):
        program = filter_program(local_sockets=local_sockets, gpu=True, machine=machine)
        for call in ("epoll_create1", "memfd_create", "sendmsg"):
            assert verdict(program, call, machine=machine) == ALLOWED


def test_no_file_is_out_of_everybodys_sight(machine):
    for local_sockets in (True, False):
        program = filter_program(local_sockets=local_sockets, machine=machine)
        assert verdict(program, "memfd_create", machine=machine) == errno.EPERM
        # Where there is shared memory, loaders of data pass it on, and it counts itself.
        for call in ("sendmsg", "sendmmsg"):
            passes = verdict(program, call, machine=machine)
            assert passes == (ALLOWED if local_sockets else errno.EPERM)
        sendto_recvmsg_write = {"x86_64": (44, 47, 1), "aarch64": (206, 212, 64)}
        for call in sendto_recvmsg_write[machine]:
            assert verdict(program, call, machine=machine) == ALLOWED


def test_files_may_be_made_but_no_devices(ask):
    assert ask("mknodat", 0, 0, 0o010600) == ALLOWED
    for kind in (0o020000, 0o060000):
        assert ask("mknodat", 0, 0, kind | 0o600) == errno.EPERM


def test_nothing_tells_of_the_pages_that_others_read_and_nothing_drops_them(ask):
    assert ask("mincore") == ask("cachestat") == errno.EPERM
    for call in ("fadvise64", "readahead", "sync_file_range"):
        assert ask(call, 3, 0, 0, 4) == 0
    for call in ("preadv2", "pwritev2"):
        assert ask(call, 3, 0, 1, 0, 0, 0) == ALLOWED
        for flag in (1, 8, 0x40, 0x80, 8 | 1 << 40):
            assert ask(call, 3, 0, 1, 0, 0, flag) == errno.EPERM
    for advice in (12, 14, 20, 21, 25, 21 | 1 << 32):
        assert ask("madvise", 0, 4096, advice) == errno.EPERM
    for advice in (0, 3, 4, 8, 9, 22, 23):  # what allocators and libraries ask for
        assert ask("madvise", 0, 4096, advice) == ALLOWED


def test_calls_younger_than_the_table_do_not_exist(ask):
    assert ask(NEWEST_CALL) == ALLOWED
    assert ask(NEWEST_CALL + 1) == errno.ENOSYS
    assert ask(0x3FFFFFFF) == errno.ENOSYS


def test_the_personality_can_be_asked_for_and_not_changed(ask):
    assert ask("personality", 0xFFFFFFFF) == ALLOWED
    assert ask("personality", 0x0400000) == errno.EPERM


def test_only_sockets_of_the_machine_itself_on_rung_1(machine):
    program = filter_program(local_sockets=True, machine=machine)
    for family in range(2, 50):
        assert verdict(program, "socket", family, machine=machine) == errno.EPERM
        assert verdict(program, "socket", family | 1 << 32, machine=machine) == errno.EPERM
    assert verdict(program, "socket", 1, machine=machine) == ALLOWED
    assert verdict(program, "setsid", machine=machine) == ALLOWED
    assert verdict(program, "fchmodat", machine=machine) == ALLOWED


def test_only_connected_pairs_on_rung_2(machine):
    program = filter_program(local_sockets=False, machine=machine)

    def ask(call: str, *arguments: int) -> str | int:
        return verdict(program, call, *arguments, machine=machine)

    for call in ("socket", "connect", "bind"):
        assert ask(call, 1, 1) == errno.EPERM
    assert ask("socketpair", 1, 1 | 0o2000000) == ALLOWED
    assert ask("socketpair", 1, 5) == ALLOWED
    assert ask("socketpair", 1, 2) == errno.EPERM  # each datagram may name its receiver
    assert ask("socketpair", 16, 1) == errno.EPERM


def test_a_driver_binds_its_socket_on_rung_2_and_reaches_nobody(machine):
    program = filter_program(local_sockets=False, gpu=True, machine=machine)

    def ask(call: str, *arguments: int) -> str | int:
        return verdict(program, call, *arguments, machine=machine)

    assert ask("socket", 1, 5 | 0o2000000) == ALLOWED
    assert ask("bind", 3) == ALLOWED
    assert ask("connect", 3) == errno.EPERM
    for family, kind in ((1, 1), (1, 2), (2, 1), (2, 5), (16, 3)):
        assert ask("socket", family, kind) == errno.EPERM


def test_other_processes_keep_their_limits_and_priorities_on_rung_2(machine):
    program = filter_program(local_sockets=False, machine=machine)
    for call in ("prlimit64", "sched_setaffinity", "sched_setscheduler", "sched_setattr"):
        assert verdict(program, call, 0, machine=machine) == ALLOWED
        assert verdict(program, call, 1234, machine=machine) == errno.EPERM
    assert verdict(program, "setpriority", 0, 0, machine=machine) == ALLOWED
    assert verdict(program, "setpriority", 0, 1234, machine=machine) == errno.EPERM
    assert verdict(program, "setpriority", 2, 0, machine=machine) == errno.EPERM


def test_another_machine_is_refused_with_a_remedy():
    with pytest.raises(SandboxUnavailable, match=r"riscv64.*--trust-candidate"):
        filter_program(local_sockets=True, machine="riscv64")


HEADERS = {
    "x86_64": Path("/usr/include/x86_64-linux-gnu/asm/unistd_64.h"),
    "aarch64": Path("/usr/include/asm-generic/unistd.h"),
}


def test_the_numbers_are_the_kernels(machine):
    header = HEADERS[machine]
    if not header.is_file():
        pytest.skip(f"there is no {header} to compare with")
    words = [line.split() for line in header.read_text().splitlines()]
    named = {
        word[1].removeprefix("__NR3264_").removeprefix("__NR_"): int(word[2])
        for word in words
        if len(word) == 3 and word[0] == "#define" and word[2].isdigit()
    }
    column = MACHINES[machine][0]
    ours = {name: numbers[column] for name, numbers in NUMBERS.items() if name in named}
    assert len(ours) > 90
    assert ours == {name: named[name] for name in ours}


# With arguments of -1 these would do something, where they are allowed.
NOT_HARMLESS = {"vhangup", "msgget", "semget", "shmget"}

TRY_ALL = """
    import ctypes, json, os
    libc = ctypes.CDLL(None, use_errno=True)
    def call(number, *arguments):
        ctypes.set_errno(0)
        padded = [ctypes.c_long(word) for word in (*arguments, *[-1] * (6 - len(arguments)))]
        return ctypes.get_errno() if libc.syscall(number, *padded) < 0 else 0
"""


def run(source: str, program: bytes | None) -> Any:
    confined = (
        "from nightlab.sandbox.confine import give_up_privileges, install_filter\n"
        f"give_up_privileges(); install_filter({program!r})\n"
    )
    code = (confined if program else "") + textwrap.dedent(TRY_ALL) + textwrap.dedent(source)
    command = [sys.executable, "-c", code + "\nprint(json.dumps(answer))"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    return json.loads(done.stdout)


def numbers_here(names: set[str]) -> dict[str, int]:
    column = {name: NUMBERS[name][COLUMN] for name in sorted(names)}
    return {name: number for name, number in column.items() if number is not None}


@pytest.mark.parametrize("local_sockets", [True, False], ids=["rung 1", "rung 2"])
def test_the_kernel_refuses_each_call_by_the_filter_and_not_by_itself(local_sockets):
    names = REFUSED if local_sockets else REFUSED | REFUSED_ON_RUNG_2
    source = "answer = {{name: call(number) for name, number in {}.items()}}"
    refused = run(source.format(numbers_here(names)), filter_program(local_sockets=local_sockets))
    assert set(refused.values()) == {errno.EPERM}
    # As it must be for the line above to say anything: few are refused without a filter.
    without = run(source.format(numbers_here(names - NOT_HARMLESS)), None)
    by_the_kernel = [name for name, error in without.items() if error == errno.EPERM]
    assert len(by_the_kernel) < len(names) / 2, by_the_kernel


RULED = """
    import fcntl, socket, struct, tempfile
    def tried(action):
        try:
            action()
        except OSError as error:
            return error.errno
        return 0
    pair = socket.socketpair()
    instruction = ctypes.create_string_buffer(struct.pack("HBBI", 6, 0, 0, 0x7FFF0000))
    program = struct.pack("HxxxxxxP", 1, ctypes.addressof(instruction))
    file = tempfile.TemporaryFile(dir="/dev/shm")
    flags = struct.pack("l", 0x40)  # not to be dumped
    prctl = ctypes.CDLL(None, use_errno=True).prctl
    answer = {
        "filter of a socket": tried(lambda: pair[0].setsockopt(1, 26, program)),
        "no descriptors": tried(lambda: pair[0].setsockopt(1, 83, 0)),
        "flags of a file": tried(lambda: fcntl.ioctl(file, 0x40086602, flags)),
        "a lease": tried(lambda: fcntl.fcntl(file, fcntl.F_SETLEASE, fcntl.F_WRLCK)),
        "notices": tried(lambda: fcntl.fcntl(os.open("/tmp", 0), fcntl.F_NOTIFY, 1)),
        "another filter": prctl(22, 2, ctypes.byref(ctypes.create_string_buffer(program))) and
            ctypes.get_errno(),
        "a personality": call(%d, 0x0200000),
    }
"""


def test_the_kernel_refuses_by_arguments_what_it_would_do():
    source = RULED % NUMBERS["personality"][COLUMN]
    refused = run(source, filter_program(local_sockets=True))
    assert set(refused.values()) == {errno.EPERM}, refused
    done = run("ctypes.CDLL(None).prctl(38, 1, 0, 0, 0)\n" + textwrap.dedent(source), None)
    younger = {"no descriptors": (0, errno.ENOPROTOOPT), "flags of a file": (0, errno.ENOTTY)}
    assert all(code in younger.get(name, (0,)) for name, code in done.items()), done


ASYNCIO = """
import asyncio, selectors
async def said():
    process = await asyncio.create_subprocess_exec("/bin/echo", "x", stdout=-1)
    return (await process.communicate())[0].decode().strip()
print(selectors.DefaultSelector.__name__, asyncio.run(said()))
"""


def test_python_waits_without_epoll():
    # In an interpreter that begins under the filter, as a job's does.
    source = f"""
        import subprocess, sys
        answer = subprocess.run([sys.executable, "-c", {ASYNCIO!r}], stdout=-1).stdout.decode()
    """
    assert run(source, None) == "EpollSelector x\n"
    assert run(source, filter_program(local_sockets=True)) == "PollSelector x\n"


def test_the_kernel_takes_leaving_the_process_group_for_done():
    source = """
        before = os.getpgid(0), os.getsid(0)
        if os.fork() == 0:
            os.setsid()
            os.setpgid(0, 0)
            os._exit(0 if (os.getpgid(0), os.getsid(0)) == before else 1)
        answer = {"moved": os.waitstatus_to_exitcode(os.wait()[1])}
    """
    assert run(source, None) == {"moved": 1}
    assert run(source, filter_program(local_sockets=False)) == {"moved": 0}


def test_a_foreign_call_ends_the_process_by_the_kernels_word():
    if HERE != "x86_64":
        pytest.skip("only x86-64 has a second set of numbers")
    source = f"answer = {{'error': call({X32_BIT} + 39)}}"
    assert run(source, None) == {"error": errno.ENOSYS}
    with pytest.raises(subprocess.CalledProcessError) as ended:
        run(source, filter_program(local_sockets=True))
    assert ended.value.returncode == -31  # SIGSYS


def test_torch_finds_as_many_cores_as_without():
    source = """
        os.environ["OMP_NUM_THREADS"] = os.environ["MKL_NUM_THREADS"] = "2"
        import torch
        answer = {"threads": torch.get_num_threads()}
    """
    assert run(source, filter_program(local_sockets=False)) == run(source, None)
