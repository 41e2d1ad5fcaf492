"""A bottleneck ResNet that can be small and can have GCN bottlenecks in its deep stages.

Two networks of the project are built from it. Both use torchvision's names (conv1, bn1, layer1 …
layer4, fc), so that `backbones.ResNetBackbone` works with them and with torchvision's ResNets.

**ResNet50-GCN** (section 4.3, Figure 5, appendix Table 11). In res-4 and res-5 of a ResNet-50 the
first two layers of each bottleneck (1×1, 3×3) are replaced by a global convolutional block whose
four convolutions are each followed by batch norm and ReLU:

    x ─┬─ 1×k ─ k×1 ─┐
       │             + ── 1×1 conv, BN ── + ── ReLU
       ├─ k×1 ─ 1×k ─┘                    │
       └────────────── shortcut ──────────┘

k = 5 with 85 channels at res-4, k = 7 with 128 channels at res-5; cost and weights stay close to
ResNet-50's. The paper leaves two details open. We chose: in the first block of a stage the first
convolution of each branch has stride 2 along both axes (3,667 M multiply-adds at 224×224, close to
the paper's 3,700; stride 2 along each convolution's own axis would cost 3,842 M); and a ReLU
follows the residual sum, as in the original ResNet.

**The mini network**: a 3×3 stem and one bottleneck per stage. Its theoretical receptive field at
res-5 is 71 pixels by design: it is so small that the head's k decides how much of an object is
seen.
"""

from collections.abc import Callable, Sequence

import torch
from torch import nn

from gcnlab.annotations import Float, Tensor
from gcnlab.arguments import Whole, whole
from gcnlab.models.choices import check_kernel_size


class Bottleneck(nn.Module):
    """The bottleneck of a ResNet: 1×1, 3×3 and 1×1 convolutions around a shortcut.

    The modules have torchvision's names, and the stride is in the 3×3 convolution as there.

    Args:
        in_channels: channels of the input.
        inner_channels: channels between the convolutions; the output has four times as many.
        stride: 1, or 2 in the first block of a stage.
        norm_layer: called with a number of channels, returns a normalisation layer.
    """

    def __init__(
        self,
        in_channels: int,
        inner_channels: int,
        stride: int = 1,
        norm_layer: Callable[[int], nn.Module] = nn.BatchNorm2d,
    ):
        super().__init__()
        out_channels = 4 * inner_channels
        self.conv1 = nn.Conv2d(in_channels, inner_channels, 1, bias=False)
        self.bn1 = norm_layer(inner_channels)
        self.conv2 = nn.Conv2d(inner_channels, inner_channels, 3, stride, padding=1, bias=False)
        self.bn2 = norm_layer(inner_channels)
        self.conv3 = nn.Conv2d(inner_channels, out_channels, 1, bias=False)
        self.bn3 = norm_layer(out_channels)
        self.relu = nn.ReLU()
        self.downsample = make_shortcut(in_channels, out_channels, stride, norm_layer)

    def forward(
        self, x: Float[Tensor, "batch in_channels height width"]
    ) -> Float[Tensor, "batch out_channels out_height out_width"]:
        shortcut = x if self.downsample is None else self.downsample(x)
        x = self.relu(self.bn1(self.conv1(x)))
        x = self.relu(self.bn2(self.conv2(x)))
        return self.relu(self.bn3(self.conv3(x)) + shortcut)


class GCNBottleneck(nn.Module):
    """Residual block around a global convolutional block (Figure 5B).

    Args:
        in_channels: channels of the input.
        gcn_channels: channels of the two branches (85 at res-4, 128 at res-5 of ResNet50-GCN).
        out_channels: channels of the output.
        kernel_size: k, odd.
        stride: 1, or 2 in the first block of a stage.
        norm_layer: called with a number of channels, returns a normalisation layer.
    """

    def __init__(
        self,
        in_channels: int,
        gcn_channels: int,
        out_channels: int,
        kernel_size: int,
        stride: int = 1,
        norm_layer: Callable[[int], nn.Module] = nn.BatchNorm2d,
    ):
        super().__init__()
        k = check_kernel_size(kernel_size)

        def unit(channels: int, kernel: tuple[int, int], stride: int = 1) -> nn.Sequential:
            padding = (kernel[0] // 2, kernel[1] // 2)
            conv = nn.Conv2d(channels, gcn_channels, kernel, stride, padding, bias=False)
            return nn.Sequential(conv, norm_layer(gcn_channels), nn.ReLU())

        row, column = (1, k), (k, 1)
        self.branch_a = nn.Sequential(unit(in_channels, row, stride), unit(gcn_channels, column))
        self.branch_b = nn.Sequential(unit(in_channels, column, stride), unit(gcn_channels, row))
        self.project = nn.Sequential(
            nn.Conv2d(gcn_channels, out_channels, 1, bias=False), norm_layer(out_channels)
        )
        self.downsample = make_shortcut(in_channels, out_channels, stride, norm_layer)
        self.relu = nn.ReLU()

    def forward(
        self, x: Float[Tensor, "batch in_channels height width"]
    ) -> Float[Tensor, "batch out_channels out_height out_width"]:
        shortcut = x if self.downsample is None else self.downsample(x)
        return self.relu(self.project(self.branch_a(x) + self.branch_b(x)) + shortcut)


class BottleneckResNet(nn.Module):
    """A ResNet classifier of bottlenecks, with torchvision's attribute names.

    Args:
        num_classes: number of outputs of the fully connected layer.
        stem: "7x7" (as in ResNet) or "3x3" (as in the mini network), both with stride 2.
        stem_channels: output channels of the stem.
        blocks: number of bottlenecks in res-2, res-3, res-4 and res-5.
        widths: inner channels of the bottlenecks of each stage; the output has four times as many.
        gcn: for each stage None, or (k, channels) to use `GCNBottleneck`s.
        norm_layer: called with a number of channels, returns a normalisation layer.
    """

    def __init__(
        self,
        num_classes: Whole = 1000,
        stem: str = "7x7",
        stem_channels: int = 64,
        blocks: Sequence[int] = (3, 4, 6, 3),
        widths: Sequence[int] = (64, 128, 256, 512),
        gcn: Sequence[tuple[int, int] | None] = (None, None, None, None),
        norm_layer: Callable[[int], nn.Module] = nn.BatchNorm2d,
    ):
        super().__init__()
        num_classes = whole("num_classes", num_classes, 1)
        k = {"7x7": 7, "3x3": 3}[stem]
        self.conv1 = nn.Conv2d(3, stem_channels, k, stride=2, padding=k // 2, bias=False)
        self.bn1 = norm_layer(stem_channels)
        self.relu = nn.ReLU()
        self.maxpool = nn.MaxPool2d(kernel_size=3, stride=2, padding=1)
        channels = stem_channels
        for index in range(4):
            layers = []
            for block in range(blocks[index]):
                stride = 2 if block == 0 and index > 0 else 1
                out = 4 * widths[index]
                if gcn[index] is None:
                    layers.append(Bottleneck(channels, widths[index], stride, norm_layer))
                else:
                    size, inner = gcn[index]
                    layers.append(GCNBottleneck(channels, inner, out, size, stride, norm_layer))
                channels = out
            self.add_module(f"layer{index + 1}", nn.Sequential(*layers))
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(channels, num_classes)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(
        self, image: Float[Tensor, "batch 3 height width"]
    ) -> Float[Tensor, "batch num_classes"]:
        x = self.maxpool(self.relu(self.bn1(self.conv1(image))))
        x = self.layer4(self.layer3(self.layer2(self.layer1(x))))
        return self.fc(torch.flatten(self.avgpool(x), 1))


def resnet50_gcn(num_classes: Whole = 1000, **options) -> BottleneckResNet:
    """ResNet50-GCN (Figure 5, Table 11): res-4 with k = 5 and 85 channels, res-5 with k = 7 and
    128.
    """
    return BottleneckResNet(num_classes, gcn=(None, None, (5, 85), (7, 128)), **options)


def mini_resnet(num_classes: Whole = 10, **options) -> BottleneckResNet:
    """The mini network: a quarter of ResNet-50's widths, one block per stage, receptive field 71
    px.
    """
    return BottleneckResNet(num_classes, **MINI, **options)


def mini_resnet_gcn(num_classes: Whole = 10, **options) -> BottleneckResNet:
    """The mini network with GCN bottlenecks in res-4 and res-5, scaled down from ResNet50-GCN."""
    return BottleneckResNet(num_classes, gcn=(None, None, (5, 21), (7, 32)), **MINI, **options)


MINI = {
    "stem": "3x3",
    "stem_channels": 16,
    "blocks": (1, 1, 1, 1),
    "widths": (16, 32, 64, 128),
}


def make_shortcut(
    in_channels: int, out_channels: int, stride: int, norm_layer: Callable[[int], nn.Module]
) -> nn.Sequential | None:
    """A 1×1 convolution and a norm if the residual sum needs another shape, else None (identity)."""
    if stride == 1 and in_channels == out_channels:
        return None
    conv = nn.Conv2d(in_channels, out_channels, 1, stride=stride, bias=False)
    return nn.Sequential(conv, norm_layer(out_channels))
