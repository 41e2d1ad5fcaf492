"""The segmentation network of Figure 2: classify with large kernels, localise with refinement.

    res-5 ── head ── BR ── ×2 ─┐
    res-4 ── head ── BR ────── + ── BR ── ×2 ─┐
    res-3 ── head ── BR ───────────────────── + ── BR ── ×2 ─┐
    res-2 ── head ── BR ──────────────────────────────────── + ── BR ── ×2 ── BR ── ×2 ── BR ── logits

Each head maps a feature map of the ResNet to one score map per class. Coarse score maps are
upsampled by two and added to finer ones. There are nine boundary refinements: after the four heads,
after the three sums, and after each of the last two upsamplings.

**Any input size.** A stage of stride 2 reduces n pixels to ⌈n/2⌉, and its pixel i is at the
position of pixel 2i of its input. Upsampled score maps are therefore cropped at the bottom and
right to the size of the finer map, which keeps every pixel in its place.
"""

from collections.abc import Sequence
from typing import Any

from torch import nn

from gcnlab.annotations import Float, Tensor
from gcnlab.arguments import Whole, flag, items, shown, whole
from gcnlab.models.backbones import build_backbone
from gcnlab.models.blocks import BoundaryRefinement
from gcnlab.models.cut import STRIDES, first_stages
from gcnlab.models.heads import make_head
from gcnlab.models.upsampling import make_upsampler


class SegmentationNet(nn.Module):
    """ResNet, one head per level, boundary refinement and decoder: maps images to logits.

    Args:
        backbone: a name for `build_backbone`, or a module with `.channels` and `.strides` that maps
            an image to its feature maps at strides 4, 8, 16 and 32.
        num_classes: number of classes (21 for VOC, including the background).
        head: "gcn", or "conv1x1", "conv" or "stack", which the paper compares it with.
        kernel_size: k of the heads, odd, in pixels of each level's feature map: one int for all
            levels, or one per level from res-2 to res-5. The paper gives one k per network and does
            not say how it applies to the levels; we use the same k at all levels.
        refine: add the nine boundary refinements.
        upsample: "deconv" (learned, initialised to bilinear interpolation) or "bilinear" (fixed).
        mid_channels: inner width of the "stack" head: one for all levels, or one per level from
            res-2 to res-5; None means the width of each level's feature map.
        frozen_backbone: do not train the backbone: its weights get no gradient, and its batch norm
            keeps its statistics, also in training mode.
        frozen_stride: do the same only with the layers that compute the maps up to this stride: 4,
            8 or 16 pixels. None: with no layer.

    Attributes:
        frozen_maps: number of feature maps, from res-2 on, that frozen layers compute.

    Raises:
        ValueError: a name is unknown, k is even, a number is not an integer, the backbone lacks an
            attribute or cannot be cut at `frozen_stride`, both kinds of freezing are given, or a
            list of k or widths does not have one entry per level.
    """

    def __init__(
        self,
        backbone: str | nn.Module,
        num_classes: Whole,
        head: str = "gcn",
        kernel_size: Whole | Sequence[int] = 15,
        refine: bool = True,
        upsample: str = "deconv",
        mid_channels: Whole | Sequence[int] | None = None,
        frozen_backbone: bool = False,
        frozen_stride: int | None = None,
    ):
        super().__init__()
        num_classes, refine = whole("num_classes", num_classes, 1), flag("refine", refine)
        self.frozen_backbone = flag("frozen_backbone", frozen_backbone)
        self.backbone = build_backbone(backbone) if isinstance(backbone, str) else backbone
        check_backbone(self.backbone)
        self.frozen_maps = self._count_frozen_maps(frozen_stride)
        for module in self._frozen_modules():
            module.requires_grad_(False).eval()
        channels = self.backbone.channels
        sizes = per_level("kernel_size", kernel_size, len(channels))
        widths = per_level("mid_channels", mid_channels, len(channels))
        self.num_classes = num_classes

        def refinement() -> nn.Module:
            return BoundaryRefinement(num_classes) if refine else nn.Identity()

        self.heads = nn.ModuleList(
            make_head(head, c, num_classes, k, width)
            for c, k, width in zip(channels, sizes, widths)
        )
        self.refine_heads = nn.ModuleList(refinement() for _ in range(4))
        self.refine_sums = nn.ModuleList(refinement() for _ in range(3))
        self.refine_outputs = nn.ModuleList(refinement() for _ in range(2))
        self.upsample = nn.ModuleList(make_upsampler(upsample, num_classes) for _ in range(5))

    def forward(
        self, image: Float[Tensor, "batch 3 height width"]
    ) -> Float[Tensor, "batch num_classes height width"]:
        return self.decode(self.backbone(image), image.shape[-2:])

    def decode(
        self, features: Sequence[Float[Tensor, "batch _ _ _"]], size: Sequence[int]
    ) -> Float[Tensor, "batch num_classes height width"]:
        """Compute the logits from the backbone's feature maps: heads, refinements and upsampling.

        Args:
            features: the maps of res-2 to res-5.
            size: height and width of the image, in pixels.
        """
        levels = [
            refine(head(feature))
            for feature, head, refine in zip(features, self.heads, self.refine_heads)
        ]
        return self.merge(levels, size)

    def merge(
        self, score_maps: Sequence[Float[Tensor, "batch num_classes _ _"]], size: Sequence[int]
    ) -> Float[Tensor, "batch num_classes height width"]:
        """Compute the logits from the refined score maps of res-2 to res-5: the right part of
        Figure 2.

        Args:
            score_maps: one map per level, from res-2 on.
            size: height and width of the image, in pixels.
        """
        levels = list(score_maps)
        logits = levels.pop()  # res-5
        for upsample, refine in zip(self.upsample[:3], self.refine_sums):
            finer = levels.pop()
            logits = refine(crop_to(upsample(logits), finer.shape[-2:]) + finer)
        half = self.refine_outputs[0](self.upsample[3](logits))  # stride 2
        return self.refine_outputs[1](crop_to(self.upsample[4](half), size))

    def train(self, mode: bool = True) -> "SegmentationNet":
        super().train(mode)
        for module in self._frozen_modules():
            module.eval()
        return self

    def _count_frozen_maps(self, frozen_stride: int | None) -> int:
        if frozen_stride is None:
            return len(self.backbone.channels) if self.frozen_backbone else 0
        if frozen_stride not in STRIDES:
            choices = ", ".join(map(str, STRIDES))
            raise ValueError(f"frozen_stride must be one of {choices}, not {shown(frozen_stride)}")
        if self.frozen_backbone:
            raise ValueError("frozen_stride and frozen_backbone exclude each other; give one")
        return STRIDES.index(frozen_stride) + 1

    def _frozen_modules(self) -> list[nn.Module]:
        if self.frozen_backbone:
            return [self.backbone]
        return first_stages(self.backbone, self.frozen_maps) if self.frozen_maps else []


def check_backbone(backbone: Any) -> None:
    """Raise ValueError unless `backbone` is a module with four feature maps at strides 4, 8, 16 and
    32.
    """
    if not isinstance(backbone, nn.Module):
        raise ValueError(f"backbone must be a name or a torch.nn.Module, not {shown(backbone)}")
    if not (hasattr(backbone, "channels") and hasattr(backbone, "strides")):
        raise ValueError(
            f"backbone {type(backbone).__name__} must have the attributes .channels and .strides of its four "
            "feature maps; gcnlab.models.ResNetBackbone wraps a ResNet this way"
        )
    if tuple(backbone.strides) != (4, 8, 16, 32) or len(backbone.channels) != 4:
        raise ValueError(
            f"backbone strides must be (4, 8, 16, 32), not {tuple(backbone.strides)} with "
            f"{len(backbone.channels)} channels"
        )


def per_level(
    name: str, value: Whole | Sequence[int] | None, levels: int
) -> Sequence[int | Any | None]:
    """Return one value per level, from res-2 on; a single value is repeated for all levels.

    Raises:
        ValueError: there is not one value per level; the message names the setting.
    """
    several = items(value)
    values = (value,) * levels if several is None else several
    if len(values) != levels:
        raise ValueError(f"{name} needs one value per level ({levels}), not {tuple(values)}")
    return values


def crop_to(
    logits: Float[Tensor, "batch classes _ _"], size: Sequence[int]
) -> Float[Tensor, "batch classes height width"]:
    """Crop `logits` at the bottom and right to (height, width)."""
    return logits[..., : size[0], : size[1]]


def count_weights(module: nn.Module) -> int:
    """Count the trainable parameters of a module."""
    return sum(parameter.numel() for parameter in module.parameters() if parameter.requires_grad)
