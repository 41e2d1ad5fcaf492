"""The segmentation network of Figure 2: classify with large kernels, localise with refinement.

    res-5 ── head ── BR ── ×2 ─┐
    res-4 ── head ── BR ────── + ── BR ── ×2 ─┐
    res-3 ── head ── BR ───────────────────── + ── BR ── ×2 ─┐
    res-2 ── head ── BR ──────────────────────────────────── + ── BR ── ×2 ── BR ── ×2 ── BR ── scores

Each head turns a feature map of the ResNet into one score map per class; coarse scores are doubled and
added to finer ones. Nine boundary refinements: after the four heads, after the three sums, and after
each of the last two upsamplings.

**Any input size.** A stride-2 stage makes ⌈n/2⌉ of n pixels, its pixel i lying on pixel 2i below. Doubled
scores are therefore cut to the finer map at the bottom and right, which keeps every pixel in its place.
"""

from collections.abc import Sequence
from typing import Any

from torch import nn

from gcnlab.annotations import Float, Tensor
from gcnlab.arguments import Whole, flag, items, shown, whole
from gcnlab.models.backbones import build_backbone
from gcnlab.models.blocks import BoundaryRefinement
from gcnlab.models.heads import make_head
from gcnlab.models.upsampling import make_upsampler


class SegmentationNet(nn.Module):
    """ResNet, one head per level, boundary refinement, decoder: image to scores, one per class.

    Args:
        backbone: a name for `build_backbone`, or a module with `.channels` and `.strides` that maps
            an image to its feature maps at strides 4, 8, 16 and 32.
        num_classes: score maps (21 for VOC, background included).
        head: "gcn", or one of the paper's comparisons "conv1x1", "conv", "stack".
        kernel_size: k of the heads, odd, in pixels of each level's feature map: one int for all
            levels, or one per level from res-2 to res-5. The paper gives one k per network and not
            how it is spread over the levels; one k for all is our reading.
        refine: with the nine boundary refinements, or without.
        upsample: "deconv" (learned, starts bilinear) or "bilinear" (fixed).
        mid_channels: inner width of the "stack" head: one for all levels, or one per level from res-2 to
            res-5; None: the width of each level's feature map.

    Raises:
        ValueError: for an unknown name, an even k, a number that is no whole one, a backbone without what it has to
            have, or a list of k or widths that has not one entry per level.
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
    ):
        super().__init__()
        num_classes, refine = whole("num_classes", num_classes, 1), flag("refine", refine)
        self.backbone = build_backbone(backbone) if isinstance(backbone, str) else backbone
        check_backbone(self.backbone)
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
        levels = [
            refine(head(feature))
            for feature, head, refine in zip(self.backbone(image), self.heads, self.refine_heads)
        ]
        scores = levels.pop()  # res-5
        for upsample, refine in zip(self.upsample[:3], self.refine_sums):
            finer = levels.pop()
            scores = refine(cut(upsample(scores), finer) + finer)
        half = self.refine_outputs[0](self.upsample[3](scores))  # stride 2
        return self.refine_outputs[1](cut(self.upsample[4](half), image))


def check_backbone(backbone: Any) -> None:
    """Raise ValueError unless `backbone` is a module with four feature maps at strides 4, 8, 16 and 32."""
    if not isinstance(backbone, nn.Module):
        raise ValueError(f"backbone must be a name or a module, not {shown(backbone)}")
    if not (hasattr(backbone, "channels") and hasattr(backbone, "strides")):
        raise ValueError(
            f"backbone {type(backbone).__name__} must have .channels and .strides, of four feature maps; "
            "gcnlab.models.ResNetBackbone makes such a one of a ResNet"
        )
    if tuple(backbone.strides) != (4, 8, 16, 32) or len(backbone.channels) != 4:
        raise ValueError(
            f"backbone strides must be (4, 8, 16, 32), not {tuple(backbone.strides)} with "
            f"{len(backbone.channels)} channels"
        )


def per_level(
    name: str, value: Whole | Sequence[int] | None, levels: int
) -> Sequence[int | Any | None]:
    """`value` for each of the levels, from res-2 on; one value is for all.

    Raises:
        ValueError: naming the setting, if there is not one per level.
    """
    several = items(value)
    values = (value,) * levels if several is None else several
    if len(values) != levels:
        raise ValueError(f"{name} needs one value per level ({levels}), not {tuple(values)}")
    return values


def cut(
    scores: Float[Tensor, "batch classes _ _"], like: Tensor
) -> Float[Tensor, "batch classes height width"]:
    """The top-left part of `scores` that has the height and width of `like`."""
    return scores[..., : like.shape[-2], : like.shape[-1]]


def count_weights(module: nn.Module) -> int:
    """Number of trainable parameters."""
    return sum(parameter.numel() for parameter in module.parameters() if parameter.requires_grad)
