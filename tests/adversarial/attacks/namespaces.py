"""Makes namespaces and mounts of its own, to be root in there and attack the kernel.

Success: unshare, clone, setns or mount is granted.
"""

import os

from bare import call, in_child, refused, train_honestly, won

KIND = "containment"
LAYER = "seccomp, no capabilities"
CONTROL = "unconfined"

NEW = {
    "user": 0x10000000,
    "mount": 0x00020000,
    "net": 0x40000000,
    "pid": 0x20000000,
    "ipc": 0x08000000,
    "uts": 0x04000000,
    "cgroup": 0x02000000,
    "time": 0x00000080,
}


def attack() -> None:
    for name, flag in NEW.items():
        os.waitpid(in_child(lambda n=name, f=flag: _unshare(n, f)), 0)
        if flag & 0xFF == 0:
            made = call("clone", flag | 17, 0, 0, 0, 0)
            if made == 0:
                os._exit(0)
            if made > 0:
                won(f"clone: {name}")
    with refused():
        joined = call("setns", os.open("/proc/1/ns/mnt", os.O_RDONLY), 0)
        if joined == 0:
            won("setns")
    for name, arguments in {
        "mount": (b"none", b"/tmp", b"tmpfs", 0, 0),
        "fsopen": (b"tmpfs", 0),
        "open_tree": (-100, b"/", 1),
    }.items():
        os.waitpid(in_child(lambda n=name, a=arguments: _call_unshared(n, a)), 0)


def _unshare(name: str, flag: int) -> None:
    if call("unshare", flag) == 0:
        won(f"unshare: {name}")


def _call_unshared(name: str, arguments: tuple[object, ...]) -> None:
    # In a mount namespace of its own, lest it really does something to the machine.
    call("unshare", NEW["user"] | NEW["mount"])
    if call("unshare", NEW["mount"]) == 0 and call(name, *arguments) >= 0:
        won(name)


def honest() -> None:
    import threading

    thread = threading.Thread(target=lambda: None)
    thread.start()
    thread.join()
    train_honestly()
