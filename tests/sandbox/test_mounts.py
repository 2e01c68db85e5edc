from pathlib import Path

import pytest

from nightlab.errors import SandboxUnavailable
from nightlab.sandbox import mounts
from nightlab.sandbox.device import Device
from tests.machine_samples import write_machine

UUIDS = {0: "GPU-aaaa", 1: "GPU-bbbb", 2: "GPU-cccc"}
CONTROL = ("/dev/nvidiactl", "/dev/nvidia-uvm", "/dev/nvidia-uvm-tools", "/dev/nvidia-modeset")


def gpu(uuid: str | None = "GPU-bbbb", *folders: Path) -> Device:
    return Device(
        name="cuda:0",
        description="a GPU",
        threads=1,
        uuid=uuid,
        driver_folders=tuple(map(str, folders)),
    )


def test_a_job_sees_its_own_gpu_only(tmp_path: Path) -> None:
    machine = write_machine(tmp_path, UUIDS)
    assert mounts.gpu(gpu(), machine).devices == ("/dev/nvidia1", *CONTROL)
    assert mounts.gpu(gpu("GPU-cccc"), machine).devices == ("/dev/nvidia2", *CONTROL)
    cpu = Device(name="cpu", description="a CPU", threads=1)
    assert mounts.gpu(cpu, machine) == mounts.Mounts()


@pytest.mark.parametrize("uuid", ["GPU-aaaa", "GPU-unheard", None])
def test_the_only_gpu_is_the_one(tmp_path: Path, uuid: str | None) -> None:
    machine = write_machine(tmp_path, {4: "GPU-aaaa"})
    assert mounts.gpu(gpu(uuid), machine).devices == ("/dev/nvidia4", *CONTROL)


@pytest.mark.parametrize("uuid", ["GPU-unheard", "MIG-aaaa", None])
def test_of_several_that_cannot_be_told_apart_none_is_shown(
    tmp_path: Path, uuid: str | None
) -> None:
    machine = write_machine(tmp_path, UUIDS)
    with pytest.raises(SandboxUnavailable, match="which of /dev/nvidia0, /dev/nvidia1"):
        mounts.gpu(gpu(uuid), machine)


def test_a_part_of_one_of_several_gpus_has_its_cards_node(tmp_path: Path) -> None:
    machine = write_machine(tmp_path, UUIDS)
    part = gpu("MIG-aaaa").model_copy(update={"bus_address": "0000:08:00.0"})
    assert mounts.gpu(part, machine).devices[0] == "/dev/nvidia1"


def test_a_gpu_whose_node_is_missing_is_not_replaced_by_another(tmp_path: Path) -> None:
    machine = write_machine(tmp_path, UUIDS)
    (machine / "dev" / "nvidia1").unlink()
    with pytest.raises(SandboxUnavailable, match="its own GPU only"):
        mounts.gpu(gpu("GPU-bbbb"), machine)


def test_only_a_part_of_a_gpu_sees_what_parts_need(tmp_path: Path) -> None:
    machine = write_machine(tmp_path, {0: "GPU-aaaa"})
    assert mounts.gpu(gpu("MIG-bbbb"), machine).devices == (
        "/dev/nvidia0",
        *CONTROL,
        "/dev/nvidia-caps",
    )


def test_nodes_that_the_machine_lacks_are_left_out(tmp_path: Path) -> None:
    machine = write_machine(tmp_path, {0: "GPU-aaaa"})
    (machine / "dev" / "nvidia-modeset").unlink()
    assert mounts.gpu(gpu(), machine).devices == ("/dev/nvidia0", *CONTROL[:-1])
    assert mounts.gpu(gpu(), write_machine(tmp_path / "without")).devices == ()


def test_the_drivers_libraries_are_shown_and_libcuda_is_found(tmp_path: Path) -> None:
    machine, libraries = write_machine(tmp_path / "machine", {0: "GPU-aaaa"}), tmp_path / "lib"
    libraries.mkdir()
    (libraries / "libcuda.so.580.65.06").touch()
    (libraries / "libcuda.so.1").symlink_to("libcuda.so.580.65.06")
    (libraries / "libpng.so").touch()
    device = gpu("GPU-aaaa", tmp_path, libraries)
    source = str(libraries / "libcuda.so.580.65.06")
    assert mounts.gpu(device, machine).read_only == (
        ("/sys", "/sys"),
        (source, f"{mounts.DRIVER}/libcuda.so.1"),
        (source, f"{mounts.DRIVER}/libcuda.so.580.65.06"),
    )
    name = "TRITON_LIBCUDA_PATH"
    assert mounts.driver_variables(device) == {name: mounts.DRIVER}
    assert mounts.driver_variables(device, in_place=True) == {name: str(libraries)}
    assert mounts.driver_variables(gpu("GPU-aaaa", tmp_path)) == {}
