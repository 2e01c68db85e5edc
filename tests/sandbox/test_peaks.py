import pytest

from nightlab.sandbox.peaks import PEAK_TFLOPS, peak_flops


@pytest.mark.parametrize(
    ("name", "tflops"),
    [
        ("NVIDIA H100 80GB HBM3", 989),
        ("NVIDIA H100 PCIe", 756),
        ("NVIDIA H100 NVL", 835),
        ("NVIDIA H200", 989),
        ("NVIDIA H200 NVL", 835),
        ("NVIDIA GH200 480GB", 989),
        ("NVIDIA GH200 144G HBM3e", 989),
        ("NVIDIA H20-3e", 148),
        ("NVIDIA B300 SXM6 AC", 2250),
        ("NVIDIA GB200", 2500),
        ("NVIDIA A100-SXM4-80GB", 312),
        ("A100-PCIE-40GB", 312),
        ("NVIDIA A800 80GB PCIe", 312),
        ("NVIDIA A10", 125),
        ("NVIDIA A10G", 70),
        ("NVIDIA L40", 181),
        ("NVIDIA L4", 121),
        ("NVIDIA RTX 6000 Ada Generation", 364.2),
        ("NVIDIA RTX PRO 6000 Blackwell Server Edition", 500),
        ("NVIDIA GeForce RTX 4080 SUPER", 104.4),
    ],
)
def test_every_name_that_torch_gives_has_its_own_peak(name: str, tflops: float) -> None:
    assert peak_flops(name) == tflops * 1e12


@pytest.mark.parametrize(
    "name",
    [
        "NVIDIA GeForce RTX 4090 Laptop GPU",
        "NVIDIA GeForce RTX 4090 D",
        "NVIDIA GeForce RTX 5060 Ti",
        "NVIDIA A100-SXM4-40GB MIG 1g.5gb",
        "NVIDIA RTX A1000",
        "Quadro RTX 6000",
        "Tesla T4",
        "AMD Instinct MI300X",
        "",
    ],
)
def test_what_only_resembles_a_card_has_none(name: str) -> None:
    assert peak_flops(name) is None


def test_every_model_of_the_table_is_found_by_its_own_name() -> None:
    for model, tflops in PEAK_TFLOPS.items():
        assert peak_flops(f"NVIDIA {model}") == tflops * 1e12
