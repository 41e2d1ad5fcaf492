"""Joint transforms of an image and its label map.

All are v2 transforms of torchvision on tv_tensors. This module adds padding to a size with the void
label. Normalisation comes before padding, so that padding with the mean colour is padding with
zero.

Images become normalised floats; labels stay uint8 ids with void 255.
"""

from typing import Any

import torch
from torchvision import tv_tensors
from torchvision.transforms import v2
from torchvision.transforms.v2 import functional as F

from gcnlab.datasets.labels import IGNORE
from gcnlab.datasets.normalization import Normalization


class Normalize(v2.Transform):
    """Apply a `Normalization` to the image; the labels are unchanged."""

    def __init__(self, normalization: Normalization):
        super().__init__()
        self.normalization = normalization

    def transform(self, inpt: Any, params: dict[str, Any]) -> Any:
        if isinstance(inpt, tv_tensors.Image):
            return tv_tensors.wrap(self.normalization(inpt), like=inpt)
        return inpt


class PadTo(v2.Transform):
    """Pad at the bottom and right to at least `size`: zeros in the image, void in the labels.

    Apply it after `Normalize`, so that zero is the mean colour. Padding on these two sides does not
    change the coordinates of pixels.

    Args:
        size: (height, width), in pixels. Larger images are unchanged.
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
    """Crop a random part of at most `size`; an axis that is shorter is unchanged.

    Followed by `PadTo` with the same size, this is a random crop of the padded image. Cropping
    first saves normalising pixels that are discarded.

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
    """Resize by a random factor, bilinearly for the image, with nearest neighbours for the labels.

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
        nearest = v2.InterpolationMode.NEAREST_EXACT  # NEAREST is shifted by half a pixel
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
    """The transform for training: colour jitter, scale, crop, flip, normalise, pad to the crop.

    The image stays uint8 until it is normalised, because this is faster.

    Args:
        normalization: the normalisation of the image.
        crop: (height, width) of a random crop, in pixels; smaller images are padded to it with void
            labels (with crop = (512, 512) this is the paper's padding). None keeps the size.
        scale: range of the factor of the random resize; (1, 1) for none.
        flip: mirror half of the images.
        color_jitter: strength of random brightness, contrast and saturation; 0 for none.
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
    """The transform for evaluation: normalise, and pad to (height, width) if `pad_to` is given."""
    steps: list[v2.Transform] = [Normalize(normalization)]
    if pad_to is not None:
        steps.append(PadTo(pad_to))
    return v2.Compose(steps)


def classification_training_transform(
    normalization: Normalization,
    crop: int,
    area: tuple[float, float],
    ratio: tuple[float, float],
    flip: bool,
) -> v2.Transform:
    """Augmentation of a classifier's images: a random crop, resized; horizontal flip; normalisation.

    Args:
        normalization: of the image.
        crop: side of the result, in pixels.
        area: range of the crop's share of the image's area.
        ratio: range of the crop's width / height.
        flip: mirror half of the images.
    """
    random_crop = v2.RandomResizedCrop(crop, area, ratio, antialias=True)
    flips = [v2.RandomHorizontalFlip()] if flip else []
    return v2.Compose([random_crop, *flips, Normalize(normalization)])


def classification_evaluation_transform(
    normalization: Normalization, resize: int, crop: int
) -> v2.Transform:
    """Resize the shorter side to `resize` pixels, cut out the central square of `crop` pixels,
    normalise."""
    steps = [v2.Resize(resize, antialias=True), v2.CenterCrop(crop), Normalize(normalization)]
    return v2.Compose(steps)
