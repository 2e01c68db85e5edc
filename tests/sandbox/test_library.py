"""What a candidate can read, seen from inside the real sandboxes."""

import os

import pytest

from nightlab.errors import SandboxUnavailable
from nightlab.sandbox import Job, choose_sandbox, library, mounts
from nightlab.sandbox.inventory import take_inventory
from nightlab.sandbox.library import prepare_library
from nightlab.sandbox.shared_objects import loader_of
from tests.sandbox.conftest import CPU

# Where a machine keeps text: whether or not a sandbox lets their folders be listed.
ELSEWHERE = ("/", "/usr/share", "/usr/lib", "/usr/include", "/etc", "/var", "/opt", "/srv", "/home")


@pytest.fixture(params=["1", "2"])
def rung(request):
    return choose_sandbox(only=request.param)


@pytest.mark.slow
def test_all_that_is_readable_has_a_reason(rung):
    job = Job(program="train", source="", device=CPU)
    inventory = take_inventory(rung.runner, job, prepare_library(), ELSEWHERE)
    assert inventory.unexplained == ()
    assert inventory.totals["text"] < 32 * 2**20
    # Without torch in view the survey has seen nothing, and its silence says nothing.
    assert inventory.totals["machine code"] > 100 * 2**20


@pytest.mark.slow
def test_what_has_no_reason_is_told(rung, monkeypatch):
    monkeypatch.setattr("nightlab.sandbox.inventory._TEXT", ())
    job = Job(program="train", source="", device=CPU)
    inventory = take_inventory(rung.runner, job, prepare_library())
    assert any("torch/include" in entry.path for entry in inventory.unexplained)


def test_no_python_source_is_left_but_what_is_read():
    packages = prepare_library().packages
    sizes = {path: path.stat().st_size for path in packages.rglob("*.py")}
    assert len(sizes) > 1000
    assert sum(sizes.values()) < 2**20
    assert sizes[packages / "torch/nn/modules/linear.py"] == 0


def test_the_same_installed_set_gives_the_same_tree():
    assert prepare_library() == prepare_library()


def test_another_installed_set_is_another_tree(monkeypatch):
    before = library._key()
    monkeypatch.setattr(library, "torch_closure", lambda: ("numpy",))
    assert library._key() != before


def test_old_trees_go_after_a_while(tmp_path):
    for name in ("current", "left", "yesterday", ".new-broken"):
        (tmp_path / name).mkdir()
    long_ago = 1_000_000
    for name in ("current", "left"):
        os.utime(tmp_path / name, (long_ago, long_ago))
    library._remove_old(tmp_path, "current")
    assert {path.name for path in tmp_path.iterdir()} == {"current", "yesterday"}


def test_a_folder_that_others_cannot_enter_is_no_place_for_roots_candidates(tmp_path):
    inner = tmp_path / "closed" / "inner"
    inner.mkdir(parents=True)
    inner.parent.chmod(0o700)
    assert not library._is_reachable(inner)


@pytest.mark.parametrize("content", [b"#!/bin/sh\n", b"\x7fELF\x01\x01" + bytes(100)])
def test_an_interpreter_that_cannot_be_shown_is_refused(tmp_path, content):
    program = tmp_path / "python"
    program.write_bytes(content)
    with pytest.raises(SandboxUnavailable, match="glibc"):
        loader_of(program)


def test_mounts_show_the_tree_and_nothing_else_of_the_machine():
    large = ("packages/torch/lib/libtorch_cpu.so", "root/usr/lib/libc.so.6")
    shown = mounts.library(prepare_library(), small="/small", large="/large", large_files=large)
    assert {mounts.PYTHON_HOME, mounts.PACKAGES, "/usr"} <= {place for _, place in shown.read_only}
    assert all(source.startswith(("/small/", "/large/")) for source, _ in shown.read_only)
    assert (f"/large/{large[0]}", f"{mounts.PACKAGES}/torch/lib/libtorch_cpu.so") in shown.read_only
    assert (f"/large/{large[1]}", "/usr/lib/libc.so.6") in shown.read_only


TORCH = """
import torch
from torch.nn.attention.flex_attention import flex_attention
from torch.utils.data import DataLoader
import torch.distributions, torch.optim
model = torch.nn.Linear(4, 4)
optimizer = torch.optim.AdamW(model.parameters(), fused=True)
model(torch.ones(2, 4)).sum().backward()
optimizer.step()
torch.save(model.state_dict(), "weights.pt")
assert set(torch.load("weights.pt", weights_only=True)) == {"weight", "bias"}
answer = sum(batch.sum().item() for batch in DataLoader([1.0, 2.0], num_workers=WORKERS))
"""
COMPILED = """
import torch
class Model(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.inner = torch.nn.Linear(8, 8)
    def forward(self, x):
        return torch.relu(self.inner(x)).square().sum(-1)
model = torch.compile(Model())
x = torch.randn(4, 8)
loss = model(x).mean()
loss.backward()
answer = abs(loss.item() - torch.relu(model.inner(x)).square().sum(-1).mean().item()) < 1e-5
"""


@pytest.mark.slow
def test_torch_works(rung, ask):
    # Rung 2 has no shared memory, which workers pass batches through.
    workers = 0 if rung.confinement.rung == "2" else 2
    assert ask(TORCH.replace("WORKERS", str(workers)), sandbox=rung) == 3.0


@pytest.mark.slow
@pytest.mark.usefixtures("compiler")
def test_torch_compiles_where_there_is_a_compiler(rung, ask):
    assert ask(COMPILED, sandbox=rung) is True
