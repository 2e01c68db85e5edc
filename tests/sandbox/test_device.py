import os

import pytest

from nightlab import events
from nightlab.errors import UsageError
from nightlab.sandbox.device import Device, detect_device
from tests.machine_samples import CARDS, write_machine, write_torch


def test_the_cpu_is_found_with_the_cores_that_may_be_used():
    found = detect_device("cpu")
    assert found.name == found.kind == "cpu"
    assert found.threads == 1, "a core for each training"
    assert f", {len(os.sched_getaffinity(0))} core" in found.description
    assert found.peak_flops is None, "no share of a peak that was not measured"
    assert found.memory_mb is None
    assert found.precision in ("float32", "bfloat16")


def test_threads_are_a_setting():
    assert detect_device("cpu", threads=2).threads == 2


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


@pytest.fixture
def torch_folder(monkeypatch, tmp_path):
    """Where a torch for tests to write is found before the real one."""
    folder = tmp_path / "torch"
    folder.mkdir()
    monkeypatch.setenv("PYTHONPATH", str(folder))
    return folder


@pytest.mark.parametrize("card", CARDS, ids=lambda card: card.name)
def test_a_gpu_is_described_from_what_torch_says(torch_folder, tmp_path, card):
    write_torch(torch_folder, ("NVIDIA Other", 1024), (card.name, card.memory_mb))
    found = detect_device("cuda:1", machine=write_machine(tmp_path / "machine"))
    assert found == Device(
        name="cuda:1",
        description=f"{card.name}, {card.memory_mb / 1024:.0f} GiB",
        threads=len(os.sched_getaffinity(0)),
        peak_flops=None if card.tflops is None else card.tflops * 1e12,
        memory_mb=card.memory_mb,
        precision="bfloat16",
        uuid="GPU-0000-1",
        bus_address="0000:00:00.0",
    )
    assert found.kind == "cuda"
    assert found.selector == "GPU-0000-1"


def test_the_first_gpu_is_taken_by_itself(torch_folder, tmp_path):
    machine = write_machine(tmp_path / "machine", {0: "GPU-0000-0"}, "580.65.06")
    write_torch(torch_folder, ("Tesla T4", 15_000), ("NVIDIA B", 8_000), has_bfloat16=False)
    found = detect_device(machine=machine)
    assert (found.name, found.precision) == ("cuda:0", "float32")


def test_a_part_of_a_gpu_has_a_selector_of_its_kind(torch_folder, tmp_path):
    write_torch(torch_folder, ("NVIDIA A100-SXM4-40GB MIG 1g.5gb", 4_800))
    found = detect_device(machine=write_machine(tmp_path / "machine"))
    assert found.selector == "MIG-0000-0"
    assert found.peak_flops is None


@pytest.mark.parametrize("seconds", [0.001, 0.003])
def test_a_cpu_computes_in_bfloat16_where_that_is_twice_as_fast(torch_folder, seconds):
    write_torch(torch_folder, cuda=None, bfloat16_seconds=seconds)
    expected = "bfloat16" if seconds == 0.001 else "float32"
    assert detect_device("cpu").precision == expected


OLD = "The NVIDIA driver on your system is too old (found version 12020). Please update it."
NO_KERNEL = "CUDA error: no kernel image is available for execution on the device"


@pytest.mark.parametrize("wanted", ["auto", "cuda", "cuda:0"])
@pytest.mark.parametrize(
    ("torch", "version", "sentence"),
    [
        ({"cuda": None}, "580.65.06", r"build for CPUs: run `make setup TORCH=cu130`"),
        ({"start": OLD}, "535.183.01", r"535\.183\.01 is too old.*CUDA 13\.0.*TORCH=cu126"),
        ({"start": "unknown error"}, "580.65.06", r"cu130 says 'unknown error': check.*nvidia-smi"),
        ({"kernel": f"{NO_KERNEL}\nAnd more."}, "580.65.06", r"on the device': run.*TORCH=cu126"),
    ],
)
def test_a_gpu_that_torch_cannot_use_is_not_passed_over(
    torch_folder, tmp_path, monkeypatch, wanted, torch, version, sentence
):
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    machine = write_machine(tmp_path / "machine", {0: "GPU-0000-0"}, version)
    cards = [("Tesla V100", 16_000)] if "kernel" in torch else []
    write_torch(torch_folder, *cards, **torch)
    with pytest.raises(UsageError, match=sentence) as refusal:
        detect_device(wanted, machine=machine)
    assert "\n" not in str(refusal.value)
    assert detect_device("cpu", machine=machine).name == "cpu", "on purpose it may"


def test_without_a_gpu_the_cpu_is_taken_without_a_word(torch_folder, tmp_path):
    machine = write_machine(tmp_path / "machine", version="580.65.06")
    write_torch(torch_folder, start="Found no NVIDIA driver on your system.")
    assert detect_device(machine=machine).name == "cpu"
    with pytest.raises(UsageError, match="sees 0 CUDA devices"):
        detect_device("cuda", machine=machine)


@pytest.fixture
def three_gpus(torch_folder, tmp_path):
    """A machine with three of them; the files of its driver."""
    write_torch(torch_folder, *[("NVIDIA H100 80GB HBM3", 81_079)] * 3)
    return write_machine(tmp_path / "machine", {k: f"GPU-0000-{k}" for k in range(3)}, "580.65.06")


@pytest.mark.parametrize(
    ("visible", "wanted", "identity"),
    [
        (None, "cuda:1", "GPU-0000-1"),
        ("1", "auto", "GPU-0000-1"),
        ("1", "cuda", "GPU-0000-1"),
        ("2,0", "cuda:0", "GPU-0000-2"),
        ("2,0", "cuda:1", "GPU-0000-0"),
        (" 2 , 1", "cuda:1", "GPU-0000-1"),
        ("GPU-0000-2", "auto", "GPU-0000-2"),
        ("GPU-0000-2,GPU-0000-1", "cuda:1", "GPU-0000-1"),
        ("1,-1,2", "auto", "GPU-0000-1"),
        ("1,9,2", "auto", "GPU-0000-1"),
        ("GPU-0000-1,1", "auto", "GPU-0000-1"),
    ],
)
def test_a_number_counts_the_gpus_that_are_visible(
    three_gpus, monkeypatch, visible, wanted, identity
):
    if visible is None:
        monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    else:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    found = detect_device(wanted, machine=three_gpus)
    assert found.identity == found.selector == identity


def test_a_visible_part_of_a_gpu_is_known_by_its_own_identifier(
    torch_folder, tmp_path, monkeypatch
):
    write_torch(torch_folder, *[("NVIDIA H100 80GB HBM3 MIG 1g.10gb", 9_856)] * 2)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "MIG-0000-1")
    assert detect_device(machine=write_machine(tmp_path / "machine")).identity == "MIG-0000-1"


@pytest.mark.parametrize("visible", ["1", "2,-1", "GPU-0000-1"])
def test_a_number_beyond_those_is_refused_by_the_variables_name(three_gpus, monkeypatch, visible):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    sentence = rf"sees 1 CUDA device \(with CUDA_VISIBLE_DEVICES='{visible}', whose first is cuda:0"
    with pytest.raises(UsageError, match=sentence):
        detect_device("cuda:1", machine=three_gpus)


@pytest.mark.parametrize("visible", ["", "-1,0"])
def test_gpus_that_are_hidden_on_purpose_are_left_alone_and_it_is_said(
    three_gpus, monkeypatch, visible
):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    heard = []
    with events.listening(heard.append):
        assert detect_device(machine=three_gpus).name == "cpu"
    assert [each.text for each in heard] == [
        f"CUDA_VISIBLE_DEVICES is {visible!r} and hides every GPU: training on the CPU."
    ]
    with pytest.raises(UsageError, match="unset CUDA_VISIBLE_DEVICES, which is"):
        detect_device("cuda", machine=three_gpus)


@pytest.mark.parametrize(
    "visible", ["0,0", "9", "GPU-0000-7", "NoDevFiles", "GPU-0000-1,GPU-0000-1"]
)
def test_a_list_that_shows_none_by_mistake_is_no_reason_to_train_on_the_cpu(
    three_gpus, monkeypatch, visible
):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    with pytest.raises(
        UsageError, match=rf"which is '{visible}', or have it name GPUs that .*once"
    ):
        detect_device(machine=three_gpus)


def test_hiding_what_is_not_there_is_not_worth_a_word(torch_folder, tmp_path, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    write_torch(torch_folder, start="Found no NVIDIA driver on your system.")
    heard = []
    with events.listening(heard.append):
        machine = write_machine(tmp_path / "machine")
        assert detect_device(machine=machine).name == "cpu"
    assert heard == []
