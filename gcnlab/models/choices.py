"""The choices that define a network: names of backbones, heads and upsamplings, and kernel sizes.

This module does not import torch, so that settings can be checked and `--help` can be printed
without it.
"""

from typing import Literal, get_args

from gcnlab.arguments import Whole, whole

HeadKind = Literal["conv1x1", "gcn", "conv", "stack"]
"""The heads that the paper compares; see `gcnlab.models.heads`."""

HEADS = get_args(HeadKind)

UPSAMPLES = ("deconv", "bilinear")
"""How a score map is doubled in size: by a learned deconvolution or by fixed interpolation."""

TORCHVISION_RESNETS = ("resnet18", "resnet34", "resnet50", "resnet101", "resnet152")

BACKBONES = ("mini", "mini_gcn", "resnet50_gcn", *TORCHVISION_RESNETS)
"""The names that `build_backbone` accepts."""


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
