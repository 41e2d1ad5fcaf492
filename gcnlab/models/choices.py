"""The choices that define a network: names of backbones, heads and upsamplings, and kernel sizes.

This module does not import torch, so that settings can be checked and `--help` can be printed
without it.
"""

from typing import Any, Literal, get_args

from gcnlab.arguments import Whole, nearest, shown, whole

HeadKind = Literal["conv1x1", "gcn", "conv", "stack"]
"""The heads that the paper compares; see `gcnlab.models.heads`."""

HEADS = get_args(HeadKind)

UPSAMPLES = ("deconv", "bilinear")
"""How a score map is doubled in size: by a learned deconvolution or by fixed interpolation."""

TORCHVISION_RESNETS = ("resnet18", "resnet34", "resnet50", "resnet101", "resnet152")

BACKBONES = ("mini", "mini_gcn", "resnet50_gcn", *TORCHVISION_RESNETS)
"""The names that `build_backbone` accepts, besides those of timm."""

TIMM = "timm/"
"""What the name of a backbone of the library timm starts with: "timm/convnext_tiny"."""


def check_backbone_name(setting: str, name: Any, timm: bool = True) -> str:
    """Return `name` if it can be that of a backbone: one of `BACKBONES`, or "timm/NAME".

    Whether timm has a network NAME is checked when the network is built.

    Args:
        setting: the name of the argument or setting, for messages.
        name: the name to check.
        timm: accept networks of timm.

    Raises:
        ValueError: the name is unknown, or is one of timm's without `timm`.
    """
    of_timm = isinstance(name, str) and name.startswith(TIMM) and len(name) > len(TIMM)
    if (isinstance(name, str) and name in BACKBONES) or (timm and of_timm):
        return name
    if of_timm:
        raise ValueError(
            f"{setting}: {name} cannot be used here; choose one of {', '.join(BACKBONES)}"
        )
    raise ValueError(
        f"{setting}: unknown {shown(name)}; choose one of {', '.join(BACKBONES)}"
        f"{' or timm/NAME' if timm else ''}{nearest(name, BACKBONES)}"
    )


def check_kernel_size(kernel_size: Whole) -> int:
    """Return `kernel_size` as an int if it is a positive odd integer.

    An even kernel has no centre pixel: with "same" padding it would shift the map by half a pixel.

    Raises:
        ValueError: the kernel size is even, not positive, or not an integer.
    """
    k = whole("kernel_size", kernel_size)
    if k < 1 or k % 2 == 0:
        raise ValueError(f"kernel_size must be odd and positive (1, 3, 5, …), not {k}")
    return k
