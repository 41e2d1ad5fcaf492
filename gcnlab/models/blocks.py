"""The two blocks of "Large Kernel Matters" (Peng et al., CVPR 2017), on one screen.

**Global Convolutional Network (GCN) block**, section 3.1, Figure 2B. To classify a pixel inside a
large object, a unit has to see the object: its kernel must be as large as the feature map. A dense
k×k kernel of that size has too many weights, so it is replaced by two separable paths,

    GCN(x) = (1×k ∘ k×1)(x) + (k×1 ∘ 1×k)(x),

each of which covers the whole k×k window with 2k taps instead of k². The block has no nonlinearity,
no normalisation and no bias: it is one linear map, a k×k kernel of low rank. It has
2·k·(c_in + c_out)·c_out weights (Tables 2 and 4 of the paper).

**Boundary refinement (BR)**, section 3.2, Figure 2C: S̃ = S + R(S) with R = 3×3 conv, ReLU, 3×3
conv.
"""

import math

from torch import nn

from gcnlab.annotations import Float, Tensor
from gcnlab.arguments import Whole, whole
from gcnlab.models.choices import check_kernel_size


class GlobalConvBlock(nn.Module):
    """Global Convolutional Network block: k×1 then 1×k, plus 1×k then k×1 (Figure 2B).

    The block keeps height and width. The zero padding follows the long axis of each kernel:
    (k//2, 0) for k×1 and (0, k//2) for 1×k. Exchanging the two paddings gives the same output
    shape, but dead border columns.

    Args:
        in_channels: channels of the feature map (2048 at res-5 of a ResNet-50).
        out_channels: output channels of all four convolutions; the number of classes.
        kernel_size: k, odd, in pixels of the feature map. With k = 1 each
            branch is a pair of 1×1 convolutions.

    Raises:
        ValueError: `kernel_size` is even, or an argument is not a positive integer.
    """

    def __init__(self, in_channels: Whole, out_channels: Whole, kernel_size: Whole):
        super().__init__()
        k = check_kernel_size(kernel_size)
        in_channels = whole("in_channels", in_channels, 1)
        out_channels = whole("out_channels", out_channels, 1)
        column = {"kernel_size": (k, 1), "padding": (k // 2, 0), "bias": False}
        row = {"kernel_size": (1, k), "padding": (0, k // 2), "bias": False}
        self.branch_a = nn.Sequential(
            nn.Conv2d(in_channels, out_channels, **column),
            nn.Conv2d(out_channels, out_channels, **row),
        )
        self.branch_b = nn.Sequential(
            nn.Conv2d(in_channels, out_channels, **row),
            nn.Conv2d(out_channels, out_channels, **column),
        )
        for conv in (*self.branch_a, *self.branch_b):
            init_linear_conv_(conv)

    def forward(
        self, x: Float[Tensor, "batch in_channels height width"]
    ) -> Float[Tensor, "batch out_channels height width"]:
        return self.branch_a(x) + self.branch_b(x)


class BoundaryRefinement(nn.Module):
    """Residual 3×3 conv, ReLU, 3×3 conv on a score map (Figure 2C): S̃ = S + R(S).

    There is no normalisation, no bias, and no activation after the sum; the block has 2·9·channels²
    weights. The last convolution is initialised to zero, so that the block starts as the identity:
    with nine blocks on the way to the output, random initialisation makes training diverge. (This
    is our choice; the paper does not say.)

    Args:
        channels: channels of the score map; the number of classes.

    Raises:
        ValueError: `channels` is not a positive integer.
    """

    def __init__(self, channels: Whole):
        super().__init__()
        channels = whole("channels", channels, 1)
        self.residual = nn.Sequential(
            nn.Conv2d(channels, channels, kernel_size=3, padding=1, bias=False),
            nn.ReLU(),
            nn.Conv2d(channels, channels, kernel_size=3, padding=1, bias=False),
        )
        nn.init.kaiming_normal_(self.residual[0].weight, nonlinearity="relu")
        nn.init.zeros_(self.residual[2].weight)

    def forward(
        self, score_map: Float[Tensor, "batch channels height width"]
    ) -> Float[Tensor, "batch channels height width"]:
        return score_map + self.residual(score_map)


def init_linear_conv_(conv: nn.Conv2d) -> None:
    """Initialise, in place, a convolution without a ReLU behind it so that it keeps the variance."""
    fan_in = conv.weight[0].numel()
    nn.init.normal_(conv.weight, std=1 / math.sqrt(fan_in))
