import os

import pytest

from nightlab import device
from nightlab.device import Device, detect_device, peak_flops
from nightlab.errors import UsageError


def test_the_cpu_is_found_with_the_cores_that_may_be_used():
    found = detect_device("cpu")
    assert found.name == found.kind == "cpu"
    assert found.threads == len(os.sched_getaffinity(0))
    assert f"{found.threads} threads" in found.description
    assert found.peak_flops is None, "no share of a peak that was not measured"


def test_threads_are_a_setting():
    assert detect_device("cpu", threads=1).threads == 1


@pytest.mark.parametrize("wanted", ["tpu", "cuda:x", "cpu:0", "cuda:-1", ""])
def test_a_device_that_is_none_is_refused(wanted):
    with pytest.raises(UsageError, match="--device"):
        detect_device(wanted)


def test_a_gpu_that_is_not_here_is_refused_with_a_remedy():
    with pytest.raises(UsageError, match=r"'cuda:99' was asked for.*--device cpu"):
        detect_device("cuda:99")


def test_without_torch_the_remedy_is_named(monkeypatch, tmp_path):
    (tmp_path / "torch.py").write_text("raise ImportError('no torch today')")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    with pytest.raises(UsageError, match=r"no torch today.*make setup"):
        detect_device("cpu")


def test_a_torch_that_kills_its_process_is_told(monkeypatch, tmp_path):
    (tmp_path / "torch.py").write_text("import os; os.write(2, b'illegal'); os._exit(7)")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    with pytest.raises(UsageError, match="illegal"):
        detect_device("cpu")


def test_a_gpu_is_described_from_what_torch_says(monkeypatch):
    gpus = [{"name": f"NVIDIA {name}", "memory_mb": 81_920, "uuid": "ab-1"} for name in "AB"]
    found = device._Found.model_validate(
        {"torch": "2", "gpus": gpus, "driver_folders": ["/usr/lib/x"]}
    )
    monkeypatch.setattr(device, "_ask_torch", lambda kind: found)
    assert detect_device("auto").name == "cuda:0"
    second = detect_device("cuda:1")
    assert second == Device(
        name="cuda:1",
        description="NVIDIA B, 80 GiB",
        threads=second.threads,
        uuid="GPU-ab-1",
        driver_folders=("/usr/lib/x",),
    )
    assert second.kind == "cuda"


@pytest.mark.parametrize(
    ("name", "peak"),
    [
        ("NVIDIA H100 80GB HBM3", 989e12),
        ("NVIDIA H100 PCIe", 756e12),
        ("NVIDIA A100-SXM4-80GB", 312e12),
        ("NVIDIA GeForce RTX 4090", 165e12),
        ("NVIDIA L40", 181e12),
        ("NVIDIA RTX A1000", None),
        ("NVIDIA GeForce GTX 1060", None),
    ],
)
def test_peaks_are_found_by_whole_words(name, peak):
    assert peak_flops(name) == peak
