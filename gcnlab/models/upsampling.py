"""Upsampling of score maps by two: a learned deconvolution or fixed bilinear interpolation.

The paper's decoder has five deconvolutions of stride 2 (Figure 2) and gives no kernel size. We use
FCN's kernel of 4, initialised to bilinear interpolation. Two details make this initialisation
exactly bilinear interpolation: the map is extended by one replicated pixel before the
deconvolution, because the outermost pixels have no neighbour to interpolate with; and each class is
initialised to depend on itself alone.
"""

import torch
from torch import nn
from torch.nn import functional as F

from gcnlab.annotations import Float, Tensor
from gcnlab.arguments import Whole, shown, whole
from gcnlab.models.choices import UPSAMPLES


class BilinearDeconv(nn.ConvTranspose2d):
    """Learned ×2 deconvolution of a score map, initialised to bilinear interpolation.

    At initialisation it equals `interpolate(scale_factor=2, mode="bilinear")`, borders included.
    It has kernel size 4, stride 2, no bias, and connects every class to every class: 16·channels²
    weights.

    Args:
        channels: channels of the score map; the number of classes.
    """

    def __init__(self, channels: Whole):
        channels = whole("channels", channels, 1)
        # One replicated pixel on each side adds 2 output pixels there; padding 3 removes them again.
        super().__init__(channels, channels, kernel_size=4, stride=2, padding=3, bias=False)

    def reset_parameters(self) -> None:
        tent = torch.tensor([0.25, 0.75, 0.75, 0.25])
        identity = torch.eye(self.in_channels)
        with torch.no_grad():
            self.weight.copy_(identity[:, :, None, None] * torch.outer(tent, tent))

    def forward(
        self, score_map: Float[Tensor, "batch channels height width"]
    ) -> Float[Tensor, "batch channels 2*height 2*width"]:
        return super().forward(replicate_border(score_map))


def replicate_border(
    score_map: Float[Tensor, "batch channels height width"],
) -> Float[Tensor, "batch channels _ _"]:
    """Extend a map by one replicated pixel on each side."""
    # torch.compile gets the memory layout of the padding's gradient wrong, so it concatenates instead.
    # An exported graph keeps the padding.
    if torch.compiler.is_compiling() and not torch.compiler.is_exporting():
        score_map = torch.cat([score_map[..., :1, :], score_map, score_map[..., -1:, :]], dim=-2)
        return torch.cat([score_map[..., :1], score_map, score_map[..., -1:]], dim=-1)
    return F.pad(score_map, (1, 1, 1, 1), mode="replicate")


def make_upsampler(kind: str, channels: int) -> nn.Module:
    """A module that doubles height and width: "deconv" (learned) or "bilinear" (fixed).

    Raises:
        ValueError: the kind is unknown.
    """
    if kind == "deconv":
        return BilinearDeconv(channels)
    if kind == "bilinear":
        return nn.Upsample(scale_factor=2, mode="bilinear", align_corners=False)
    raise ValueError(f"unknown upsample {shown(kind)}; choose {' or '.join(UPSAMPLES)}")
