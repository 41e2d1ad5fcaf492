"""The four heads that the paper compares (section 4.1, Figure 4), behind one switch.

Each head maps a feature map to one score map per class, keeps height and width, and has no bias:

| kind        | Figure | head                                             | weights                       |
|-------------|--------|--------------------------------------------------|-------------------------------|
| `"conv1x1"` | 4A     | the baseline: each location is classified alone  | c·n                           |
| `"gcn"`     | 4B     | the global convolutional block                   | 2·k·(c + n)·n                 |
| `"conv"`    | 4C     | one dense k×k convolution                        | k²·c·n                        |
| `"stack"`   | 4D     | (k−1)/2 convolutions of 3×3, nothing in between  | 9·(c·m + … + m·m + m·n)       |

c: input channels, n: classes, m: `mid_channels` of the stack. For the paper's
sizes (c = 2048, n = 21) the weights equal those of Tables 2 and 4 exactly.
"""

import itertools

from torch import nn

from gcnlab.arguments import Whole, shown, whole
from gcnlab.models.blocks import GlobalConvBlock, init_linear_conv_
from gcnlab.models.choices import HEADS, check_kernel_size


def make_head(
    kind: str,
    in_channels: Whole,
    num_classes: Whole,
    kernel_size: Whole = 15,
    mid_channels: Whole | None = None,
) -> nn.Module:
    """Build one of the paper's heads.

    Args:
        kind: "conv1x1", "gcn", "conv" or "stack".
        in_channels: channels of the feature map.
        num_classes: number of score maps, at least 1.
        kernel_size: k, odd: the size of the window that one location sees, in pixels of the
            feature map. It is checked but not used for "conv1x1".
        mid_channels: m, the inner width of the stack; None means `in_channels` (at res-5 this is
            Table 3's m = 2048). The other kinds ignore it.

    Raises:
        ValueError: the kind is unknown, k is even, a number is not a positive integer, or a stack
            has k = 1 (it would have no layer).
    """
    k = check_kernel_size(kernel_size)
    in_channels = whole("in_channels", in_channels, 1)
    num_classes = whole("num_classes", num_classes, 1)
    if mid_channels is not None:
        mid_channels = whole("mid_channels", mid_channels, 1)
    if kind == "gcn":
        return GlobalConvBlock(in_channels, num_classes, k)
    if kind == "conv1x1":
        return linear_conv(in_channels, num_classes, 1)
    if kind == "conv":
        return linear_conv(in_channels, num_classes, k)
    if kind == "stack":
        if k < 3:
            raise ValueError("a stack of 3×3 convolutions needs kernel_size ≥ 3")
        m = in_channels if mid_channels is None else mid_channels
        widths = [in_channels, *[m] * ((k - 1) // 2 - 1), num_classes]
        return nn.Sequential(*(linear_conv(a, b, 3) for a, b in itertools.pairwise(widths)))
    raise ValueError(f"unknown head {shown(kind)}; choose one of {', '.join(HEADS)}")


def linear_conv(in_channels: int, out_channels: int, kernel_size: int) -> nn.Conv2d:
    """A k×k convolution with "same" padding and no bias, initialised for use without a ReLU."""
    conv = nn.Conv2d(in_channels, out_channels, kernel_size, padding=kernel_size // 2, bias=False)
    init_linear_conv_(conv)
    return conv
