"""Networks from other libraries, small and with random weights."""

import itertools
from collections.abc import Callable
from functools import partial

import torch
import torchvision
from torch import Tensor, nn
from torch.nn import functional as F

CLASSES = 5
SIDE = 128
"""Height and width of the images, in pixels; what Swin and ViT are built for."""


class OnTimm(nn.Module):
    """A segmenter on one of timm's backbones: a 1×1 convolution on each map, resized and summed."""

    def __init__(self, name: str, **options):
        super().__init__()
        import timm

        self.backbone = timm.create_model(name, features_only=True, **options)
        self.heads = nn.ModuleList(
            nn.Conv2d(c, CLASSES, 1) for c in self.backbone.feature_info.channels()
        )
        self.channels_last = "swin" in name

    def forward(self, image: Tensor) -> Tensor:
        scores = 0
        for head, features in zip(self.heads, self.backbone(image)):
            if self.channels_last:
                features = features.permute(0, 3, 1, 2)
            maps = head(features.contiguous())
            scores = scores + F.interpolate(maps, size=image.shape[-2:], mode="bilinear")
        return scores


class SegNet(nn.Module):
    """Three levels of max-pooling, whose places the decoder puts the values back to."""

    def __init__(self):
        super().__init__()
        widths = (3, 16, 32, 64)
        down = list(itertools.pairwise(widths))
        self.down = nn.ModuleList(self.block(a, b) for a, b in down)
        self.up = nn.ModuleList(self.block(b, a if a > 3 else 16) for a, b in reversed(down))
        self.classes = nn.Conv2d(16, CLASSES, 1)

    def block(self, a: int, b: int) -> nn.Module:
        return nn.Sequential(nn.Conv2d(a, b, 3, padding=1), nn.BatchNorm2d(b), nn.ReLU())

    def forward(self, x: Tensor) -> Tensor:
        places = []
        for block in self.down:
            x = block(x)
            size = x.shape[-2:]
            x, indices = F.max_pool2d(x, 2, return_indices=True)
            places.append((indices, size))
        for block, (indices, size) in zip(self.up, reversed(places)):
            x = block(F.max_unpool2d(x, indices, 2, output_size=size))
        return self.classes(x)


class CBAM(nn.Module):
    """A convolution whose result is gated by channel, then by place (Woo et al., ECCV 2018)."""

    def __init__(self, a: int, b: int):
        super().__init__()
        self.conv = nn.Sequential(nn.Conv2d(a, b, 3, padding=1), nn.BatchNorm2d(b), nn.ReLU())
        self.channel = nn.Sequential(nn.Conv2d(b, b // 4, 1), nn.ReLU(), nn.Conv2d(b // 4, b, 1))
        self.place = nn.Conv2d(2, 1, 7, padding=3)

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv(x)
        pooled = F.adaptive_avg_pool2d(x, 1), F.adaptive_max_pool2d(x, 1)
        x = x * torch.sigmoid(sum(map(self.channel, pooled)))
        maps = torch.cat([x.mean(1, keepdim=True), x.max(1, keepdim=True)[0]], 1)
        return x * torch.sigmoid(self.place(maps))


def cbam() -> nn.Module:
    return nn.Sequential(
        CBAM(3, 16), nn.MaxPool2d(2), CBAM(16, 32), nn.Upsample(scale_factor=2), nn.Conv2d(32, CLASSES, 1)
    )  # fmt: skip


def of_torchvision(name: str) -> nn.Module:
    build = getattr(torchvision.models.segmentation, name)
    return build(weights=None, weights_backbone=None, num_classes=CLASSES)


def of_smp(name: str, encoder: str) -> nn.Module:
    import segmentation_models_pytorch as smp

    return getattr(smp, name)(encoder, encoder_weights=None, classes=CLASSES)


OTHERS: dict[str, Callable[[], nn.Module]] = {
    **{
        f"torchvision {name}": partial(of_torchvision, name)
        for name in ("fcn_resnet50", "deeplabv3_mobilenet_v3_large", "lraspp_mobilenet_v3_large")
    },
    "timm Swin-T, 1×1 heads": partial(OnTimm, "swin_tiny_patch4_window7_224", img_size=SIDE, window_size=4),
    "timm ViT-Ti, 1×1 heads": partial(OnTimm, "vit_tiny_patch16_224", img_size=SIDE, out_indices=(5, 11)),
    "timm ConvNeXt, 1×1 heads": partial(OnTimm, "convnext_atto"),
    **{
        f"smp {name}, ResNet-18": partial(of_smp, name, "resnet18")
        for name in ("Unet", "FPN", "PSPNet", "DeepLabV3Plus", "PAN", "MAnet")
    },
    "smp Segformer, MiT-B0": partial(of_smp, "Segformer", "mit_b0"),
    "SegNet": SegNet,
    "CBAM": cbam,
}  # fmt: skip


def build(name: str) -> nn.Module:
    """One of them, in evaluation mode, as if it were trained: batch norm knows the statistics of its inputs, and no
    bias is zero. (With biases of zero, everything under an occluder of zeros is zero in all layers, and a layer
    norm enlarges its rounding.)"""
    torch.manual_seed(0)
    net = OTHERS[name]()
    for module in net.modules():
        bias = getattr(module, "bias", None)
        if isinstance(bias, nn.Parameter):
            nn.init.normal_(bias, std=0.1)
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = None  # the mean over all batches
    with torch.no_grad():
        for _ in range(3):
            net.train()(torch.randn(4, 3, SIDE, SIDE))
    return net.eval()
