"""Regions of a field, single numbers that describe a region, and the mean of many fields.

The paper thresholds the discrepancy map and does not say how; neither do Zhou et al. There are two
rules:

- "mass": the smallest region that holds the share `threshold` of the sum of |field|. Of pixels with
  equal values, which are common in an occlusion field, either all belong to it or none.
- "maximum": the region is where |field| ≥ threshold × its maximum.

The default is 80 % of the mass. Under the other rule a single number, the maximum, decides the whole
region, and often a single window decides the maximum. On 60 large objects of Shapes, under a 1×1
head and under GCN with k = 7 (three seeds each), more of the object is covered under GCN by 80 % of
the mass for all 60, by 2.4 standard deviations of the paired difference; by 0.2 of the maximum for
47, by 0.6. Without the window of the largest drop the area changes by 0.6 % (maximum: 2.5 %), and
two seeds rank the areas of the objects alike with a correlation of 0.76 (0.48). With windows of half
the side, the area is 0.86 times as large (0.70). These are fields of the logit. The margin's tell
the two heads apart about as well, but their coverage agrees less between seeds (0.58 instead of
0.67); the probability hardly changes where the network is certain, and its coverage tells the heads
apart by 1.2 standard deviations. `radius` needs no threshold: it is larger under GCN for all 60
objects, by 3.3. The numbers are in `data/results/fields/quick`, and
`gcnlab.experiments.field_measures` computes them.
"""

from collections.abc import Iterable
from typing import Any

import torch
from torch.nn import functional as F

from gcnlab.annotations import Bool, Float, Shaped, Tensor
from gcnlab.arguments import Pixel, Whole, pixel_of, whole
from gcnlab.receptive.settings import fraction, region_rule


def region(
    field: Float[Tensor, "height width"],
    threshold: int | float | None = None,
    rule: str | None = None,
) -> Bool[Tensor, "height width"]:
    """The region where `|field|` is large; it is empty if the field is zero.

    Args:
        field: discrepancy or gradient.
        threshold: share of the mass, or of the maximum, in (0, 1]; None for 0.8 of the mass, or
            0.2 of the maximum.
        rule: "mass" or "maximum"; None for "mass", or "maximum" if only a threshold is given.

    Raises:
        ValueError: unknown rule, threshold out of range, or a field that is not finite.
    """
    size, (threshold, rule) = _finite_size(field), region_rule(threshold, rule)
    level = level_of(size, torch.ones_like(size), threshold, rule)
    return (size >= level) & (size > 0)


def region_text(threshold: int | float | None = None, rule: str | None = None) -> str:
    """A region in words, for labels: "80 % of the mass" or "≥ 20 % of the maximum".

    Args:
        threshold, rule: see `region`.
    """
    threshold, rule = region_rule(threshold, rule)
    return f"{'≥ ' if rule == 'maximum' else ''}{100 * threshold:g} % of the {rule}"


def level_of(size: Tensor, area: Tensor, threshold: int | float, rule: str) -> float:
    """The value of `|field|` at the region's edge.

    Args:
        size: `|field|` of parts of the image.
        area: areas of these parts.
        threshold, rule: see `region`.
    """
    threshold, rule = region_rule(threshold, rule)
    if rule == "maximum":
        return threshold * size.max().item()
    order = size.flatten().argsort(descending=True)
    mass = (size * area).flatten()[order].double().cumsum(0)
    # The first part with which the mass is reached. The index is limited because of rounding
    # errors.
    reached = int(torch.searchsorted(mass, threshold * mass[-1]))
    return size.flatten()[order[min(reached, len(order) - 1)]].item()


def coverage(region: Bool[Tensor, "height width"], mask: Shaped[Tensor, "rows columns"]) -> float:
    """Share of the mask's pixels inside the region, 0 … 1.

    Raises:
        ValueError: the shapes differ, or the mask is empty.
    """
    if region.shape != mask.shape:
        raise ValueError(
            f"region {tuple(region.shape)} and mask {tuple(mask.shape)} differ in shape"
        )
    mask = mask.to(device=region.device, dtype=torch.bool)
    if not mask.any():
        raise ValueError("the mask is empty, so its coverage is not defined")
    return (region & mask).sum().item() / mask.sum().item()


def area(
    field: Float[Tensor, "height width"],
    threshold: int | float | None = None,
    rule: str | None = None,
) -> float:
    """Share of the image in the region, 0 … 1; 0 if the field is zero.

    Args:
        field: discrepancy or gradient.
        threshold, rule: see `region`.
    """
    return region(field, threshold, rule).float().mean().item()


def radius(field: Float[Tensor, "height width"], pixel: Pixel) -> float:
    """Root mean square distance of `|field|` from a pixel, in pixels: √(Σ|f|·d² / Σ|f|).

    It depends on no threshold and on all of the field. For a field that falls off as a Gaussian
    around the pixel, it is √2 times the standard deviation along one axis. Negative values, where
    an occluder raises the logit, count by their size: they drive the unit, too.

    Args:
        field: discrepancy or gradient.
        pixel: (row, column) on the field from which distances are measured, between pixel centres.

    Returns:
        The radius, at most the distance of the farthest pixel; NaN if the field is zero.

    Raises:
        ValueError: the pixel is outside the field, or the field is not finite.
    """
    size = _finite_size(field).double()
    places = _inside(pixel, field)
    if size.max() == 0:
        return float("nan")
    rows, columns = (
        (torch.arange(n, device=size.device, dtype=torch.float64) - p).square()
        for n, p in zip(size.shape, places)
    )
    size = size / size.max()
    return (((rows[:, None] + columns) * size).sum() / size.sum()).sqrt().item()


def area_share(field: Float[Tensor, "height width"], mass: int | float) -> float:
    """Share of the image in the smallest region that holds `mass` of the field's sum, 0 … 1.

    The region can have any shape (the rule "mass" of `region`).

    Args:
        field: discrepancy or gradient.
        mass: share of the field's sum, in (0, 1].
    """
    return area(field, mass, "mass")


def square_share(
    field: Float[Tensor, "height width"], mass: int | float, pixel: Pixel | None = None
) -> float:
    """Share of the image in the smallest square around a pixel that holds `mass` of the field's
    sum, 0 … 1.

    This is RepLKNet's "high-contribution area ratio" (Ding et al., CVPR 2022), which is reported at
    20, 30, 50 and 99 %, for the middle of the image and the mean field of many images. The
    published script (erf/analyze_erf.py) measures log10(1 + field) instead of the field, which
    gives the faint surroundings a larger weight and depends on the field's unit; to reproduce it,
    pass the logarithm. The script also never tries a square of one pixel.

    Args:
        field: discrepancy or gradient.
        mass: share of the field's sum, in (0, 1].
        pixel: (row, column) of the square's middle; None for the middle of the image, (height // 2,
            width // 2). The square is cut off at the image's border.

    Returns:
        The share; 0 if the field is zero.

    Raises:
        ValueError: `mass` is out of range, the pixel outside the field, or the field not finite.
    """
    mass = fraction("mass", mass)
    size = _finite_size(field).double()
    height, width = size.shape
    pixel = _inside((height // 2, width // 2) if pixel is None else pixel, field)
    rows, columns = (torch.arange(n, device=size.device) - p for n, p in zip(size.shape, pixel))
    distance = torch.maximum(rows.abs()[:, None], columns.abs()[None])
    held = size.new_zeros(int(distance.max()) + 1)
    held.index_add_(0, distance.flatten(), size.flatten())
    held = held.cumsum(0)
    if held[-1] == 0:
        return 0.0
    # The factor allows for rounding errors: the mass of the whole image must be reached.
    radius = int(torch.searchsorted(held, mass * held[-1] * (1 - 1e-12)))
    return (distance <= radius).float().mean().item()


def centred(
    field: Float[Tensor, "height width"], pixel: Pixel, radius: Whole
) -> Float[Tensor, "side side"]:
    """The field within `radius` of `pixel` (row, column), with that pixel in the middle.

    Positions outside the image are NaN, since the field is not known there.

    Args:
        radius: radius of the result, in pixels; its side is 2·radius + 1.

    Raises:
        ValueError: the pixel is outside the field, or the radius negative.
    """
    row, column = _inside(pixel, field)
    radius = _radius(radius)
    height, width = field.shape
    padding = (
        radius - column,
        column + radius + 1 - width,
        radius - row,
        row + radius + 1 - height,
    )
    return F.pad(field, padding, value=float("nan"))


def mean_field(
    fields: Iterable[tuple[Float[Tensor, "_ _"], Pixel]], radius: Whole
) -> Float[Tensor, "side side"]:
    """The mean of `|field|` over many images, each shifted so that its pixel is in the middle
    (Zhou et al.).

    Each position is the mean over the images that contain it, or NaN if none does.

    Args:
        fields: fields, each with its pixel. Each is divided by its own sum, so that one strong
            response does not outweigh the others; fields that are zero are ignored. Images may
            differ in size.
        radius: radius of the result, in pixels; its side is 2·radius + 1.

    Raises:
        ValueError: there is no field that is not zero, a field is not finite, a pixel is outside
            its field, or the radius is negative.
    """
    radius = _radius(radius)
    total = torch.zeros(2 * radius + 1, 2 * radius + 1, dtype=torch.float64)
    count = torch.zeros_like(total)
    for field, pixel in fields:
        size = _finite_size(field).double().cpu()
        if size.sum() > 0:
            moved = centred(size / size.sum(), pixel, radius)
            total += moved.nan_to_num()
            count += ~moved.isnan()
    if not count.any():
        raise ValueError("there is no field to average, or all fields are zero")
    return (total / count).float()  # 0/0 is NaN


def _finite_size(field: Tensor) -> Tensor:
    size = field.abs()
    if not torch.isfinite(size).all():
        raise ValueError(
            "the field is not finite: the network returned NaN or infinity, or the field is a mean and "
            "extends beyond its images"
        )
    return size


def _radius(value: Any) -> int:
    radius = whole("radius", value)
    if radius < 0:
        raise ValueError(f"radius must be 0 or positive, not {radius}")
    return radius


def _inside(pixel: Any, field: Tensor) -> tuple[int, int]:
    pixel = pixel_of(pixel)
    if not all(0 <= p < n for p, n in zip(pixel, field.shape)):
        size = "×".join(map(str, field.shape))
        raise ValueError(f"pixel (row, column) = {pixel} is outside the {size} field")
    return pixel
