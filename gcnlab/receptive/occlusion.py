"""The valid receptive field, by occlusion (Zhou et al., ICLR 2015; the paper's Figure 3).

A small occluder is laid on the image at each position of a grid; how much the score of one unit drops is
the discrepancy of the pixels beneath it. Thresholded, the map is the region that really drives the unit.

Windows are laid as `captum.attr.Occlusion` lays them: from the top left, one every `stride` pixels, until
the border is covered; the last ones are cut by the border. A pixel's discrepancy is the mean over the
windows that cover it.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import nn
from tqdm.auto import tqdm

from gcnlab.annotations import Bool, Float, Tensor
from gcnlab.models.modes import evaluation_mode
from gcnlab.receptive.region import coverage, region
from gcnlab.receptive.unit import check_image, locate, scores_of


@dataclass(frozen=True)
class ValidField:
    """The valid receptive field of one unit on one image.

    Attributes:
        discrepancy: per pixel the mean of score(clean) − score(occluded) over the windows on it;
            positive where the pixel speaks for the class. On the CPU.
        pixel: (row, column) of the unit.
        target: its class.
        score: its score on the clean image.
        window, stride: (height, width) of the occluder and of its steps, in pixels.
        fill: the value it has.
    """

    discrepancy: Float[Tensor, "height width"]
    pixel: tuple[int, int]
    target: int
    score: float
    window: tuple[int, int]
    stride: tuple[int, int]
    fill: int | float

    def region(self, threshold: float = 0.2) -> Bool[Tensor, "height width"]:
        """Where |discrepancy| ≥ threshold × its maximum (see `gcnlab.receptive.region`)."""
        return region(self.discrepancy, threshold)

    def coverage(self, mask: Tensor, threshold: float = 0.2) -> float:
        """Share of `mask`, (height, width) bool, that lies inside the region, 0 … 1."""
        return coverage(self.region(threshold), mask)


def valid_field(
    model: nn.Module,
    image: Float[Tensor, "channels height width"],
    pixel: tuple[int, int],
    target: int | None = None,
    window: int | tuple[int, int] = 32,
    stride: int | tuple[int, int] = 16,
    fill: int | float = 0.0,
    method: str = "plain",
    batch_size: int = 16,
    progress: bool = False,
) -> ValidField:
    """Occlude the image at every window and watch one score.

    Args:
        model: maps images to score maps; run in evaluation mode and left as it was.
        image: what the model takes (already normalised).
        pixel: (row, column) on the score map.
        target: class id; None for the class predicted there.
        window: side of the occluder, or (height, width), in pixels; at most the image.
        stride: steps between windows, in pixels; at most the window, or pixels would be skipped.
        fill: value of the occluder in all channels, in the units of `image`. 0 is the mean colour
            of a normalised image.
        method: "plain": the whole network is run for every window.
        batch_size: windows at once.
        progress: show a progress bar.

    Raises:
        ValueError: an argument is out of its range; the message names it.
    """
    check_image(image)
    if method != "plain":
        raise ValueError(f"unknown method {method!r}; this version has 'plain'")
    if batch_size < 1:
        raise ValueError(f"batch_size must be at least 1, not {batch_size}")
    height, width = image.shape[-2:]
    window, stride = _pair(window, "window"), _pair(stride, "stride")
    if window[0] > height or window[1] > width:
        raise ValueError(f"window {window} is larger than the image, {height}×{width}")
    if stride[0] > window[0] or stride[1] > window[1]:
        raise ValueError(f"stride {stride} is larger than window {window}: pixels would be skipped")

    boxes = list(occluders((height, width), window, stride))
    row, column = pixel
    with evaluation_mode(model), torch.inference_mode():
        clean = scores_of(model, image[None])[0]
        target = locate(clean, pixel, target)
        score = clean[target, row, column]
        drops = []
        bar = tqdm(total=len(boxes), desc="occlude", unit="window", disable=not progress)
        with bar:
            for start in range(0, len(boxes), batch_size):
                batch = boxes[start : start + batch_size]
                images = image.repeat(len(batch), 1, 1, 1)
                for occluded, (rows, columns) in zip(images, batch):
                    occluded[:, rows, columns] = fill
                drops.append(score - scores_of(model, images)[:, target, row, column])
                bar.update(len(batch))
    return ValidField(
        discrepancy=spread(torch.cat(drops).float().cpu(), boxes, (height, width)),
        pixel=(row, column),
        target=target,
        score=score.item(),
        window=window,
        stride=stride,
        fill=fill,
    )


def occluders(
    size: tuple[int, int], window: tuple[int, int], stride: tuple[int, int]
) -> Iterator[tuple[slice, slice]]:
    """Rows and columns of each occluder on an image of `size`, cut at the bottom and right."""
    counts = [math.ceil((n - w) / s) + 1 for n, w, s in zip(size, window, stride)]
    for i in range(counts[0]):
        for j in range(counts[1]):
            top, left = i * stride[0], j * stride[1]
            yield (
                slice(top, min(top + window[0], size[0])),
                slice(left, min(left + window[1], size[1])),
            )


def spread(
    drops: Float[Tensor, "windows"], boxes: list[tuple[slice, slice]], size: tuple[int, int]
) -> Float[Tensor, "height width"]:
    """Give each pixel the mean of the drops of the windows on it."""
    total, count = torch.zeros(size), torch.zeros(size)
    for drop, box in zip(drops, boxes):
        total[box] += drop
        count[box] += 1
    return total / count


def _pair(value: int | tuple[int, int], name: str) -> tuple[int, int]:
    pair = (value, value) if isinstance(value, int) else tuple(value)
    if len(pair) != 2 or min(pair) < 1:
        raise ValueError(f"{name} must be a positive number of pixels, or two, not {value}")
    return pair
