"""What GPUs can compute at most: the peak that ``mfu_percent`` is a share of."""

import re
from collections.abc import Mapping

# TFLOP/s of dense bf16 products with sums in float32. Sources, all NVIDIA's: data sheets of
# the products (where they give rates "with sparsity", half of those); appendices of the white
# papers "Ampere GA102", "Ada", "RTX Blackwell" and "RTX Blackwell PRO" for GeForce and RTX
# cards; the Blackwell architecture brief for B200 to GB300. On GeForce cards, sums in float32
# halve the rate that advertisements give.
PEAK_TFLOPS: Mapping[str, float] = {
    "GB300": 2500,
    "B300": 2250,
    "GB200": 2500,
    "B200": 2250,
    "GH200": 989,
    "H200 NVL": 835,
    "H200": 989,
    "H100 NVL": 835,
    "H100 PCIe": 756,
    "H100": 989,
    "H800 PCIe": 756,
    "H800": 989,
    "H20": 148,
    "A100": 312,
    "A800": 312,
    "A40": 149.7,
    "A30": 165,
    "A10": 125,
    "A10G": 70,
    "L40S": 362,
    "L40": 181,
    "L20": 119.5,
    "L4": 121,
    "RTX PRO 6000 Blackwell Workstation Edition": 503.8,
    "RTX PRO 6000 Blackwell Max-Q Workstation Edition": 438.9,
    "RTX PRO 6000 Blackwell Server Edition": 500,
    "RTX 6000 Ada Generation": 364.2,
    "RTX 5000 Ada Generation": 261.1,
    "RTX A6000": 154.8,
    "RTX A5000": 111.1,
    "RTX A4000": 76.7,
    "RTX 5090": 209.5,
    "RTX 5080": 112.6,
    "RTX 5070 Ti": 87.9,
    "RTX 5070": 61.7,
    "RTX 4090": 165.2,
    "RTX 4080 SUPER": 104.4,
    "RTX 4080": 97.5,
    "RTX 4070 Ti SUPER": 88.2,
    "RTX 4070 Ti": 80.2,
    "RTX 4070 SUPER": 71,
    "RTX 4070": 58.3,
    "RTX 3090 Ti": 80,
    "RTX 3090": 71,
    "RTX 3080 Ti": 68.2,
    "RTX 3080": 59.5,
}

# What may follow the model in torch's name for it: size and kind of memory, and the form. Any
# other word makes another card of it ("Laptop GPU", "Ti", "D") or a part of one ("MIG 1g.10gb").
_VARIANT = r"(?:[ -](?:\d+GB?|HBM\d\w*|3e|SXM\d?|PCIe|AC|Active))*"


def peak_flops(gpu_name: str) -> float | None:
    """Peak bf16 FLOP/s of a GPU by torch's name for it, or None where it is not known."""
    for model, tflops in PEAK_TFLOPS.items():
        name = rf"(?:NVIDIA )?(?:GeForce )?{re.escape(model)}{_VARIANT}"
        if re.fullmatch(name, gpu_name.strip(), re.IGNORECASE):
            return tflops * 1e12
    return None
