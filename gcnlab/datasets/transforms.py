"""Transforms that treat an image and its label map alike.

All are torchvision's v2 transforms on tv_tensors; what is added here is padding to a size with the void
label, and the order that makes "pad with the mean colour" simply "pad with zero": normalise first.

Units: images leave with float values, normalised; labels stay uint8 ids with void 255.
"""

from typing import Any

import torch
from torchvision import tv_tensors
from torchvision.transforms import v2
from torchvision.transforms.v2 import functional as F

from gcnlab.datasets.labels import IGNORE
from gcnlab.datasets.normalization import Normalization


class Normalize(v2.Transform):
    """`Normalization` on the image; the labels pass."""

    def __init__(self, normalization: Normalization):
        super().__init__()
        self.normalization = normalization

    def transform(self, inpt: Any, params: dict[str, Any]) -> Any:
        if isinstance(inpt, tv_tensors.Image):
            return tv_tensors.wrap(self.normalization(inpt), like=inpt)
        return inpt


class PadTo(v2.Transform):
    """Pad at the bottom and right to at least `size`: zeros in the image, void in the labels.

    Use it behind `Normalize`, where zero is the mean colour. Padding on these two sides only leaves
    every pixel's coordinates as they were.

    Args:
        size: (height, width), in pixels. Larger images pass unchanged.
    """

    def __init__(self, size: tuple[int, int]):
        super().__init__()
        self.size = size

    def transform(self, inpt: Any, params: dict[str, Any]) -> Any:
        height, width = inpt.shape[-2:]
        right, bottom = max(0, self.size[1] - width), max(0, self.size[0] - height)
        if right == bottom == 0:
            return inpt
        fill = IGNORE if isinstance(inpt, tv_tensors.Mask) else 0
        return F.pad(inpt, [0, 0, right, bottom], fill=fill)


class RandomCropTo(v2.Transform):
    """A random part of at most `size`; what is smaller passes unchanged along that axis.

    With a `PadTo` of the same size behind it, this is a random crop of the padded image. Cropping first saves
    normalising what is thrown away.

    Args:
        size: (height, width), in pixels.
    """

    def __init__(self, size: tuple[int, int]):
        super().__init__()
        self.size = size

    def make_params(self, flat_inputs: list[Any]) -> dict[str, Any]:
        start = [
            int(torch.randint(0, side - most + 1, ())) if side > most else 0
            for side, most in zip(flat_inputs[0].shape[-2:], self.size)
        ]
        return {"top": start[0], "left": start[1]}

    def transform(self, inpt: Any, params: dict[str, Any]) -> Any:
        height, width = (min(side, most) for side, most in zip(inpt.shape[-2:], self.size))
        return F.crop(inpt, params["top"], params["left"], height, width)


class RandomScale(v2.Transform):
    """Resize by a random factor: bilinear for the image, nearest for the labels.

    Args:
        scale: smallest and largest factor.
    """

    def __init__(self, scale: tuple[float, float]):
        super().__init__()
        self.scale = scale

    def make_params(self, flat_inputs: list[Any]) -> dict[str, Any]:
        low, high = self.scale
        factor = low + (high - low) * torch.rand(()).item()
        height, width = flat_inputs[0].shape[-2:]
        return {"size": [max(1, round(height * factor)), max(1, round(width * factor))]}

    def transform(self, inpt: Any, params: dict[str, Any]) -> Any:
        nearest = v2.InterpolationMode.NEAREST_EXACT  # NEAREST is off by half a pixel
        bilinear = v2.InterpolationMode.BILINEAR
        mode = nearest if isinstance(inpt, tv_tensors.Mask) else bilinear
        return F.resize(inpt, params["size"], interpolation=mode, antialias=True)


def training_transform(
    normalization: Normalization,
    crop: tuple[int, int] | None = None,
    scale: tuple[float, float] = (1.0, 1.0),
    flip: bool = True,
    color_jitter: float = 0.0,
) -> v2.Transform:
    """Jitter, scale, crop, flip, normalise, pad to the crop: bytes as long as possible, floats last.

    Args:
        normalization: of the image.
        crop: (height, width) of a random crop, in pixels; smaller images are padded to it with void
            labels (with crop = (512, 512) this is the paper's padding). None keeps the image's size.
        scale: range of the random resize; (1, 1) for none.
        flip: mirror half of the images.
        color_jitter: strength of random brightness, contrast and saturation, 0 for none.
    """
    steps: list[v2.Transform] = []
    if color_jitter > 0:
        steps.append(v2.ColorJitter(color_jitter, color_jitter, color_jitter))
    if scale != (1.0, 1.0):
        steps.append(RandomScale(scale))
    if crop is not None:
        steps.append(RandomCropTo(crop))
    if flip:
        steps.append(v2.RandomHorizontalFlip())
    steps.append(Normalize(normalization))
    if crop is not None:
        steps.append(PadTo(crop))
    return v2.Compose(steps)


def evaluation_transform(
    normalization: Normalization, pad_to: tuple[int, int] | None = None
) -> v2.Transform:
    """Normalise, and pad to (height, width) with void labels if a size is given."""
    steps: list[v2.Transform] = [Normalize(normalization)]
    if pad_to is not None:
        steps.append(PadTo(pad_to))
    return v2.Compose(steps)
