"""The network of Figure 2 as public implementations write it, as the baseline of speed.

It upsamples bilinearly and sets neither memory layout nor precision. It has the same weights as
`SegmentationNet(…, upsample="bilinear")`.
"""

from collections.abc import Sequence

import torchvision
from torch import nn
from torch.nn import functional as F

from gcnlab.annotations import Float, Tensor


class PlainGCN(nn.Module):
    """The sum of k×1 followed by 1×k and of 1×k followed by k×1."""

    def __init__(self, channels: int, classes: int, k: int):
        super().__init__()
        self.left1 = nn.Conv2d(channels, classes, (k, 1), padding=(k // 2, 0), bias=False)
        self.left2 = nn.Conv2d(classes, classes, (1, k), padding=(0, k // 2), bias=False)
        self.right1 = nn.Conv2d(channels, classes, (1, k), padding=(0, k // 2), bias=False)
        self.right2 = nn.Conv2d(classes, classes, (k, 1), padding=(k // 2, 0), bias=False)

    def forward(self, x: Float[Tensor, "batch _ height width"]) -> Tensor:
        return self.left2(self.left1(x)) + self.right2(self.right1(x))


class PlainRefinement(nn.Module):
    """S + conv(ReLU(conv(S)))."""

    def __init__(self, classes: int):
        super().__init__()
        self.conv1 = nn.Conv2d(classes, classes, 3, padding=1, bias=False)
        self.conv2 = nn.Conv2d(classes, classes, 3, padding=1, bias=False)

    def forward(self, x: Float[Tensor, "batch classes height width"]) -> Tensor:
        return x + self.conv2(F.relu(self.conv1(x)))


class PlainNet(nn.Module):
    """A ResNet with a GCN and a refinement per level; the score maps are upsampled by 2 and added.

    Args:
        classes: number of score maps.
        k: kernel size of the GCNs.
        resnet: name of the ResNet in torchvision.
    """

    def __init__(self, classes: int, k: int, resnet: str = "resnet50"):
        super().__init__()
        net = torchvision.models.get_model(resnet, weights=None)
        self.stem = nn.Sequential(net.conv1, net.bn1, net.relu, net.maxpool)
        self.stages = nn.ModuleList([net.layer1, net.layer2, net.layer3, net.layer4])
        wide = net.fc.in_features
        channels = (wide // 8, wide // 4, wide // 2, wide)
        self.gcn = nn.ModuleList(PlainGCN(c, classes, k) for c in channels)
        self.refine = nn.ModuleList(PlainRefinement(classes) for _ in range(9))

    def forward(self, image: Float[Tensor, "batch 3 height width"]) -> Tensor:
        x, levels = self.stem(image), []
        for stage, gcn, refine in zip(self.stages, self.gcn, self.refine):
            x = stage(x)
            levels.append(refine(gcn(x)))
        score_map = levels.pop()
        for refine in self.refine[4:7]:
            finer = levels.pop()
            score_map = refine(_resized(score_map, finer.shape[-2:]) + finer)
        half = self.refine[7](_resized(score_map, [2 * side for side in score_map.shape[-2:]]))
        return self.refine[8](_resized(half, image.shape[-2:]))


def _resized(score_map: Tensor, size: Sequence[int]) -> Tensor:
    return F.interpolate(score_map, size, mode="bilinear", align_corners=False)
