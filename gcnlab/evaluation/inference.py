"""Inference modes: flipped, at several scales, on tiles whose score maps are fused (section 4.2,
Tables 7 and 9).

The paper tests at several scales and, on Cityscapes, cuts the 1024×2048 image into four crops of
1024×1024 "whose score maps are fused". It gives neither the scales nor the offsets nor the method
of fusion. Our choices:

- **Offsets**: equally spaced from one side of the image to the other. Four crops start at columns 0,
  341, 683 and 1024, and overlap by two thirds.
- **Fusing tiles**: a weighted mean. A tile's weights decrease linearly towards its sides, except
  those on a side of the image: near the other sides, zero padding replaced the pixels beyond. The
  weights of all tiles sum to 1 at each pixel, so seams blend. blend="mean" uses constant weights.
- **Fusing passes** (scales, flips): the mean of the class probabilities. A confident pass counts no
  more than its probability of 1, and the mean is a probability, which a CRF needs. fuse="logits"
  takes the mean of the logits before the softmax.
- **Scaling**: bilinear, with pixels as areas (align_corners=False). Images and score maps are
  smoothed when they are scaled down (antialias=True).

**Memory.** All passes are added in place, so memory does not grow with the number of tiles, scales
and flips. One image of H×W pixels with C classes takes, in addition to the network's weights and a
copy of them, at most

    4 bytes × H·W × [ C + s²·(C + 3) + 2·max(1, s²) ] + one pass over one tile

where s is the largest scale other than 1 (0 if there is none). The terms are the fused map, the map
and image at that scale, and a class being resized. `map_bytes` is the first term. Without `tile`
the one tile is the whole scaled image.
"""

import math
from dataclasses import dataclass
from typing import no_type_check

import torch
from torch import nn
from torch.nn import functional as F

from gcnlab.annotations import Float, Tensor
from gcnlab.evaluation.settings import Inference, tile_step
from gcnlab.models.logits import check_images, check_network, pixel_logits
from gcnlab.models.modes import evaluation_mode


@no_type_check  # the function's own errors say what to do instead
@torch.no_grad()
def score_map(
    model: nn.Module,
    images: Float[Tensor, "batch channels height width"],
    inference: Inference | None = None,
    device: torch.device | str | None = None,
) -> Float[Tensor, "batch classes height width"]:
    """Fused class probabilities (or logits, by `inference.fuse`) at the images' size, on the
    model's device.

    Each image goes through the network separately. Logits of another size than the network's input
    (the scaled tile) are resized to it, bilinearly (align_corners=False), before the softmax.

    Args:
        model: maps normalised images to score maps; run in evaluation mode and left as it was.
        images: normalised, of any size; they are moved to the model's device and precision.
        inference: flip, scales, tiles; None is one pass over the whole images.
        device: where to run a model without weights; other models have to be there already.

    Raises:
        ValueError: images or a device that do not fit.
        TypeError: `model` is not a network, `images` is not a tensor, or the network does not
            return score maps.
    """
    check_network(model)
    check_images(images)
    if inference is not None and not isinstance(inference, Inference):
        raise TypeError(f"inference must be an Inference(…) or None, not {inference!r}")
    network = _Network(model, device)
    with evaluation_mode(model):
        maps = [_fuse_scales(network, image[None], inference or Inference()) for image in images]
    return maps[0] if len(maps) == 1 else torch.cat(maps)


@no_type_check
def probabilities(
    model: nn.Module,
    images: Float[Tensor, "batch channels height width"],
    inference: Inference | None = None,
    device: torch.device | str | None = None,
) -> Float[Tensor, "batch classes height width"]:
    """Fused class probabilities (see `score_map`); the softmax of the fused logits if logits are
    fused."""
    fused = score_map(model, images, inference, device)
    return fused.softmax(1) if inference and inference.fuse == "logits" else fused


@dataclass(frozen=True)
class _Network:
    """A network, and the device to run it on if it has no weights."""

    model: nn.Module
    device: torch.device | str | None

    def __call__(self, image: Tensor) -> Tensor:
        with evaluation_mode(self.model):  # each pass starts from the same state of the network
            return pixel_logits(self.model, image, self.device)


def _fuse_scales(network: _Network, image: Tensor, inference: Inference) -> Tensor:
    size, share = tuple(image.shape[-2:]), 1 / len(inference.scales)
    image = image.as_subclass(Tensor)
    fused: Tensor | None = None
    for scale in inference.scales:
        scaled = scaled_size(size, scale)
        if scaled == size:
            fused = _add_tiles(network, image, inference, share, fused)
            continue
        maps = _add_tiles(network, _resize(image, scaled), inference, share, None)
        if fused is None:
            fused = maps.new_zeros(*maps.shape[:2], *size)
        for i in range(maps.shape[1]):  # one class at a time, so that no third map is needed
            fused[:, i : i + 1] += _resize(maps[:, i : i + 1], size)
        del maps
    return fused


def scaled_size(size: tuple[int, int], scale: float) -> tuple[int, int]:
    """Height and width times `scale`, rounded, at least 1 pixel."""
    return tuple(max(1, round(side * scale)) for side in size)


def map_bytes(num_classes: int, size: tuple[int, int], inference: Inference) -> int:
    """Bytes of all maps held at once for one image of `size`, without the pass over one tile."""
    pixels = size[0] * size[1]
    others = [scaled_size(size, scale) for scale in inference.scales]
    largest = max((h * w for h, w in others if (h, w) != size), default=0)
    return 4 * (num_classes * pixels + (num_classes + 3) * largest + 2 * max(pixels, largest))


def tile_offsets(length: int, tile: int, overlap: float) -> list[int]:
    """First pixels of the tiles along an axis of `length` pixels, equally spaced from side to side.

    It is the smallest number of tiles that overlap by at least `overlap` × `tile`; one tile at 0 if
    that covers the axis.
    """
    if tile >= length:
        return [0]
    count = 1 + math.ceil((length - tile) / tile_step(tile, overlap))
    return [round(i * (length - tile) / (count - 1)) for i in range(count)]


def tile_weights(
    length: int, tile: int, offsets: list[int], blend: str = "linear", margin: int = 0
) -> Float[Tensor, "tiles tile"]:
    """Each tile's weights along an axis; the weights of all tiles sum to 1 at every pixel of the
    axis."""
    tile = min(tile, length)
    positions = torch.arange(tile, dtype=torch.float64)
    weights = []
    for offset in offsets:
        inside = torch.full_like(
            positions, tile
        )  # pixels to the nearest side that is not the image's
        if offset > 0:
            inside = inside.minimum(positions + 1)
        if offset + tile < length:
            inside = inside.minimum(tile - positions)
        if offset > 0 or offset + tile < length:
            inside = inside - margin
        weights.append(inside.clamp(min=0) if blend == "linear" else (inside > 0).double())
    total = torch.zeros(length, dtype=torch.float64)
    for offset, weight in zip(offsets, weights):
        total[offset : offset + tile] += weight
    return torch.stack([w / total[o : o + tile] for o, w in zip(offsets, weights)]).float()


def _add_tiles(
    network: _Network, images: Tensor, inference: Inference, share: float, out: Tensor | None
) -> Tensor:
    """Add `share` × the blended maps of all tiles to `out`; None creates a new map."""
    size = images.shape[-2:]
    tile = tuple(map(min, zip(size, inference.tile or size)))
    offsets = [tile_offsets(n, t, inference.overlap) for n, t in zip(size, tile)]
    rows, columns = (
        tile_weights(n, t, o, inference.blend, inference.margin)
        for n, t, o in zip(size, tile, offsets)
    )
    for top, row_weights in zip(offsets[0], rows):
        for left, column_weights in zip(offsets[1], columns):
            part = images[..., top : top + tile[0], left : left + tile[1]]
            tile_map = _one_tile(network, part, inference)
            if out is None:
                out = tile_map.new_zeros(*tile_map.shape[:2], *size)
            place = out[..., top : top + tile[0], left : left + tile[1]]
            weights = (row_weights[:, None] * column_weights).to(tile_map)
            place.addcmul_(tile_map, weights, value=share)
            del tile_map
    return out


def _one_tile(network: _Network, images: Tensor, inference: Inference) -> Tensor:
    found = _one_pass(network, images, inference)
    if not inference.flip:
        return found
    return (found + _one_pass(network, images.flip(-1), inference).flip(-1)) / 2


def _one_pass(network: _Network, images: Tensor, inference: Inference) -> Tensor:
    size = images.shape[-2:]
    least = inference.pad_to or size
    bottom, right = (max(0, wanted - side) for wanted, side in zip(least, size))
    padded = F.pad(images, (0, right, 0, bottom)) if bottom or right else images
    logits = network(padded)[..., : size[0], : size[1]]
    return logits.softmax(1) if inference.fuse == "probabilities" else logits


def _resize(maps: Tensor, size: tuple[int, int]) -> Tensor:
    return F.interpolate(maps, size, mode="bilinear", align_corners=False, antialias=True)
