"""Opens the validation text by its path, through links, ``..`` and descriptors of folders.

Success: a world-readable secret outside the job's folder is read.
"""

import os
from pathlib import Path

from bare import refused, scene, show, train_honestly

KIND = "containment"
LAYER = "never mounted (2: Landlock)"
CONTROL = "unconfined"


def attack() -> None:
    secret = Path(scene["vault"], "val.bin")
    with refused():
        show(secret.read_text())
    with refused():
        show(Path("../../../../../../../../..", *secret.parts[1:]).read_text())
    with refused():
        os.symlink(secret, "soft")
        show(Path("soft").read_text())
    with refused():
        os.link(secret, "hard")
        show(Path("hard").read_text())
    with refused():
        show(Path("/proc/self/root", *secret.parts[1:]).read_text())
    with refused():
        folder = os.open("/", os.O_PATH)
        for part in secret.parts[1:-1]:
            folder = os.open(part, os.O_PATH, dir_fd=folder)
        show(os.read(os.open(secret.name, os.O_RDONLY, dir_fd=folder), 100))
    with refused():
        show(os.listdir(secret.parent), scene["mark"])
    for place in ("/etc/shadow", "/root", "/home", "/var/lib", "/var/log", "/sys/firmware"):
        with refused():
            found = os.listdir(place) if os.path.isdir(place) else Path(place).read_text()
            show("GOT THROUGH:" if found else "", place, found)


def honest() -> None:
    Path("note").write_text("mine")
    os.symlink("note", "soft")
    os.link("note", "hard")
    assert Path("soft").read_text() == Path("hard").read_text() == "mine"
    train_honestly()
