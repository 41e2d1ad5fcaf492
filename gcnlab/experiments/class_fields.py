"""The mean re-centred valid field of each class, inside its objects and at their boundaries apart.

Every field is moved so that its pixel is in the middle, and the mean is taken over the pixels of a
class in some images (`gcnlab.receptive.mean_field`).
"""

from collections.abc import Iterable, Iterator
from itertools import chain

import torch

from gcnlab.annotations import Bool, Float, Shaped, Tensor
from gcnlab.arguments import Whole
from gcnlab.evaluation import boundary_mask
from gcnlab.receptive import FieldAtlas, fields_at, mean_field

Pair = tuple[FieldAtlas, Shaped[Tensor, "_ _"]]


def mean_class_fields(
    pairs: Iterable[Pair],
    names: dict[int, str],
    radius: Whole,
    band: int | float = 7,
) -> dict[str, Float[Tensor, "_ _"]]:
    """The mean field of each class that occurs, inside and at boundaries: "cat, inside" → field.

    `gcnlab.plots.plot_mean_fields` draws them.

    Args:
        pairs: the atlas of an image, and its label map at the image's size.
        names: class id → name.
        radius: radius of the result, in pixels.
        band: largest distance from a boundary that counts as at the boundary, in pixels.

    Raises:
        ValueError: a label map has another size than its image, or an argument is out of range.
    """
    pairs, found = list(pairs), {}
    bands = [boundary_mask(labels, band) for _, labels in pairs]
    for kind, name in names.items():
        for part, at_boundary in (("inside", False), ("boundary", True)):
            masks = [
                (labels == kind) & (near if at_boundary else ~near)
                for (_, labels), near in zip(pairs, bands)
            ]
            fields = chain.from_iterable(_not_zero(p[0], m) for p, m in zip(pairs, masks))
            if (first := next(fields, None)) is not None:
                found[f"{name}, {part}"] = mean_field(chain([first], fields), radius)
    return found


def _not_zero(
    atlas: FieldAtlas, mask: Bool[Tensor, "height width"]
) -> Iterator[tuple[Float[Tensor, "height width"], tuple[int, int]]]:
    """The fields of a mask that have a value; the others say nothing about a mean."""
    for field, pixel in fields_at(atlas, mask):
        if torch.any(field):
            yield field, pixel
