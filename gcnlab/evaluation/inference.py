"""Inference modes: mirrored, at several scales, on tiles whose scores are fused (section 4.2, Tables 7 and 9).

The paper tests at several scales and, on Cityscapes, cuts the 1024×2048 image into four crops of 1024×1024
"whose score maps are fused". It gives neither the scales nor the offsets nor the way of fusing. Our choices:

- **Offsets**: equally spaced from one side of the image to the other. Four crops lie at columns 0, 341, 683
  and 1024, and overlap by two thirds.
- **Fusing tiles**: a weighted mean. A tile's weights fall off linearly to those of its sides that are not the
  image's, where zero padding stood in for what lies beyond; the weights of all tiles sum to 1 at each pixel, so
  seams blend. blend="mean" weighs all alike.
- **Fusing passes** (scales, mirrored): their mean, of class probabilities. A pass that is sure has no more say
  than its probability of 1, and a mean of probabilities is one, as a CRF needs. fuse="scores" takes the mean
  of the scores before the softmax.
- **Scaling**: bilinear, pixels as areas (align_corners=False), the image smoothed when it shrinks
  (antialias=True), and the maps, when they do, too.

**Memory.** All passes are added up in place, so the number of tiles, scales and mirrored passes costs none. For
one image of H×W pixels and C classes, beside the network's weights and a copy of them, at most

    4 bytes × H·W × [ C + s²·(C + 3) + 2·max(1, s²) ] + one pass over one tile

where s is the largest scale other than 1 (0 if there is none): the fused map, that scale's map and image, and
a class being resized. `map_bytes` is the first term. Without `tile` the one tile is the whole scaled image.
"""

import math
from dataclasses import dataclass
from typing import Literal, no_type_check

import torch
from torch import nn
from torch.nn import functional as F

from gcnlab.annotations import Float, Tensor
from gcnlab.models.logits import check_images, check_network, pixel_logits
from gcnlab.models.modes import evaluation_mode
from gcnlab.settings import check


@dataclass(frozen=True)
class Inference:
    """How an image is brought through the network. The defaults are one pass over the whole image."""

    flip: bool = False
    """Also pass each tile mirrored left to right, and mirror its scores back."""
    scales: tuple[float, ...] = (1.0,)
    """Factors of the image's size, one pass each."""
    tile: tuple[int, int] | None = None
    """Height and width of the tiles, in pixels of the scaled image; None: the whole image at once.
    Where the image is smaller, the tile is as large as the image."""
    overlap: float = 0.5
    """Least overlap of neighbouring tiles, as a share of the tile's side, in [0, 1)."""
    margin: int = 0
    """Pixels at those sides of a tile that are not the image's whose scores are not used."""
    blend: Literal["linear", "mean"] = "linear"
    """Weights of a tile: falling off to its sides, or all alike."""
    fuse: Literal["probabilities", "scores"] = "probabilities"
    """What the mean is taken of: class probabilities, or the scores before the softmax."""
    pad_to: tuple[int, int] | None = None
    """Least height and width of what the network gets, in pixels: less is padded at the bottom and
    right with 0, the mean colour, and the scores are cut back. (The paper pads VOC to 512×512.)"""

    def __post_init__(self):
        check("inference.scales", len(self.scales) > 0, "at least one factor")
        good = all(math.isfinite(scale) and scale > 0 for scale in self.scales)
        check("inference.scales", good, f"positive factors, not {self.scales}")
        check(
            "inference.tile", self.tile is None or min(self.tile) >= 1, f"positive, not {self.tile}"
        )
        check("inference.overlap", 0 <= self.overlap < 1, f"in [0, 1), not {self.overlap}")
        check("inference.margin", self.margin >= 0, f"0 or positive, not {self.margin}")
        check(
            "inference.blend",
            self.blend in ("linear", "mean"),
            f"linear or mean, not {self.blend!r}",
        )
        check(
            "inference.fuse",
            self.fuse in ("probabilities", "scores"),
            f"probabilities or scores, not {self.fuse!r}",
        )
        check(
            "inference.pad_to",
            self.pad_to is None or min(self.pad_to) >= 1,
            f"positive: {self.pad_to}",
        )
        if self.tile is not None:
            least = min(side - _step(side, self.overlap) for side in self.tile)
            check(
                "inference.margin",
                2 * self.margin <= least,
                f"at most half of the overlap ({least} pixels), not {self.margin}",
            )


@no_type_check  # its own checks say what to do instead
@torch.no_grad()
def score_map(
    model: nn.Module,
    images: Float[Tensor, "batch channels height width"],
    inference: Inference | None = None,
    device: torch.device | str | None = None,
) -> Float[Tensor, "batch classes height width"]:
    """Fused class probabilities (or scores, by `inference.fuse`) at the images' own size, on the model's device.

    Each image goes through the network by itself. Scores of another size than what the network was given (the
    scaled tile) are resized to it, bilinearly (align_corners=False), before the softmax.

    Args:
        model: maps normalised images to scores, one map per class; run in evaluation mode and left as it was.
        images: normalised, of any size; they are brought to the model's device and precision.
        inference: the modes; None is one pass over the whole images.
        device: where to run a model that has no weights to tell; any other has to be there already.

    Raises:
        ValueError: images or a device that do not fit.
        TypeError: what is given is no network or no tensor, or the network does not return scores.
    """
    check_network(model)
    check_images(images)
    if inference is not None and not isinstance(inference, Inference):
        raise TypeError(f"inference must be an Inference(…) or None, not {inference!r}")
    network = _Network(model, device)
    with evaluation_mode(model):
        maps = [_score_one(network, image[None], inference or Inference()) for image in images]
    return maps[0] if len(maps) == 1 else torch.cat(maps)


@no_type_check
def probabilities(
    model: nn.Module,
    images: Float[Tensor, "batch channels height width"],
    inference: Inference | None = None,
    device: torch.device | str | None = None,
) -> Float[Tensor, "batch classes height width"]:
    """Fused class probabilities; those of the fused scores if `inference` fuses scores (see `score_map`)."""
    fused = score_map(model, images, inference, device)
    return fused.softmax(1) if inference and inference.fuse == "scores" else fused


@dataclass(frozen=True)
class _Network:
    """A network, and where it runs if it has no weights to tell."""

    model: nn.Module
    device: torch.device | str | None

    def __call__(self, image: Tensor) -> Tensor:
        with evaluation_mode(self.model):  # each pass finds the network as the first one did
            return pixel_logits(self.model, image, self.device)


def _score_one(network: _Network, image: Tensor, inference: Inference) -> Tensor:
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
        for i in range(maps.shape[1]):  # a class at a time, so that no third map is needed
            fused[:, i : i + 1] += _resize(maps[:, i : i + 1], size)
        del maps
    return fused


def scaled_size(size: tuple[int, int], scale: float) -> tuple[int, int]:
    """Height and width times `scale`, rounded, at least 1 pixel."""
    return tuple(max(1, round(side * scale)) for side in size)


def map_bytes(num_classes: int, size: tuple[int, int], inference: Inference) -> int:
    """Bytes of all maps held at once for one image of `size`; a pass over one tile comes on top."""
    pixels = size[0] * size[1]
    others = [scaled_size(size, scale) for scale in inference.scales]
    largest = max((h * w for h, w in others if (h, w) != size), default=0)
    return 4 * (num_classes * pixels + (num_classes + 3) * largest + 2 * max(pixels, largest))


def tile_offsets(length: int, tile: int, overlap: float) -> list[int]:
    """First pixels of the tiles along an axis of `length` pixels: equally spaced, side to side.

    As few tiles as overlap by at least `overlap` × `tile`; one at 0 if the tile covers the axis.
    """
    if tile >= length:
        return [0]
    count = 1 + math.ceil((length - tile) / _step(tile, overlap))
    return [round(i * (length - tile) / (count - 1)) for i in range(count)]


def tile_weights(
    length: int, tile: int, offsets: list[int], blend: str = "linear", margin: int = 0
) -> Float[Tensor, "tiles tile"]:
    """Each tile's weights along an axis; those of all tiles sum to 1 at every pixel of the axis."""
    tile = min(tile, length)
    positions = torch.arange(tile, dtype=torch.float64)
    weights = []
    for offset in offsets:
        inside = torch.full_like(positions, tile)  # pixels to the nearest side not the image's
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
    """Add `share` × the blended scores of all tiles to `out`, which is made if it is None."""
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
            scores = _one_tile(network, part, inference)
            if out is None:
                out = scores.new_zeros(*scores.shape[:2], *size)
            place = out[..., top : top + tile[0], left : left + tile[1]]
            weights = (row_weights[:, None] * column_weights).to(scores)
            place.addcmul_(scores, weights, value=share)
            del scores
    return out


def _one_tile(network: _Network, images: Tensor, inference: Inference) -> Tensor:
    scores = _one_pass(network, images, inference)
    if not inference.flip:
        return scores
    return (scores + _one_pass(network, images.flip(-1), inference).flip(-1)) / 2


def _one_pass(network: _Network, images: Tensor, inference: Inference) -> Tensor:
    size = images.shape[-2:]
    least = inference.pad_to or size
    bottom, right = (max(0, wanted - side) for wanted, side in zip(least, size))
    padded = F.pad(images, (0, right, 0, bottom)) if bottom or right else images
    scores = network(padded)[..., : size[0], : size[1]]
    return scores.softmax(1) if inference.fuse == "probabilities" else scores


def _resize(maps: Tensor, size: tuple[int, int]) -> Tensor:
    return F.interpolate(maps, size, mode="bilinear", align_corners=False, antialias=True)


def _step(tile: int, overlap: float) -> int:
    """Largest distance of neighbouring tiles, in pixels."""
    return max(1, math.floor(tile * (1 - overlap) + 1e-9))


CITYSCAPES_CROPS = Inference(tile=(1024, 1024), overlap=0.6)
"""The paper's evaluation on Cityscapes: of 1024×2048 pixels, four crops at columns 0, 341, 683, 1024."""

VOC_PADDED = Inference(pad_to=(512, 512))
"""The paper's size on VOC: padded to 512×512, so that res-5 is 16×16 and k = 15 sees all of it."""
