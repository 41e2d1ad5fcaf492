"""The large objects in the label maps of a data set, and the pixel deepest inside each.

An object is a connected region of one class that is not the background (id 0) or void. Two animals
of one class that touch are one object: label maps of semantic segmentation do not divide them.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch.utils.data import Dataset

from gcnlab.annotations import Bool, Shaped, Tensor
from gcnlab.datasets.cutout import depths
from gcnlab.datasets.labels import IGNORE

BACKGROUND = 0


@dataclass(frozen=True)
class LabelledObject:
    """One object of a label map.

    Attributes:
        image: index of the image in its data set.
        kind: class id.
        pixel: (row, column) deepest inside the object.
        size: square root of its area, in pixels.
        depth: distance of `pixel` to the nearest pixel outside of the object, or of the image, in
            pixels: the radius of the largest circle inside.
    """

    image: int
    kind: int
    pixel: tuple[int, int]
    size: float
    depth: float


def objects_in(
    labels: Shaped[Tensor, "height width"], image: int = 0, least_depth: int | float = 0
) -> list[LabelledObject]:
    """The objects of a label map with at least a depth, in pixels, by class and then from the
    top."""
    from scipy import ndimage  # here, as in gcnlab.evaluation.boundary

    ids = labels.numpy()
    found = []
    for kind in np.unique(ids):
        if kind in (BACKGROUND, IGNORE):
            continue
        regions, _ = ndimage.label(ids == kind)
        for number, box in enumerate(ndimage.find_objects(regions), start=1):
            mask = regions[box] == number
            if min(mask.shape) < 2 * least_depth - 1:
                continue  # no circle of that radius fits
            # The border of the box is an end of the object. So is the image's: no pixel beyond it
            # supports the class.
            depth = depths(torch.from_numpy(mask))
            if depth.max() >= least_depth:
                row, column = np.unravel_index(depth.argmax(), depth.shape)
                pixel = int(row) + box[0].start, int(column) + box[1].start
                size, deepest = float(np.sqrt(mask.sum())), float(depth.max())
                found.append(LabelledObject(image, int(kind), pixel, size, deepest))
    return found


def mask_of(
    labels: Shaped[Tensor, "height width"], item: LabelledObject
) -> Bool[Tensor, "height width"]:
    """The pixels of an object.

    Raises:
        ValueError: the label map has another class at the object's pixel, so it is not its map.
    """
    from scipy import ndimage

    if labels[item.pixel] != item.kind:
        raise ValueError(f"the label map has no class {item.kind} at {item.pixel}")
    regions, _ = ndimage.label((labels == item.kind).numpy())
    return torch.from_numpy(regions == regions[item.pixel])


def choose_objects(
    dataset: Dataset, least_depth: int | float, count: int, seed: int
) -> list[LabelledObject]:
    """`count` objects of a data set with at least a depth, or all if there are fewer, chosen at
    random.

    The choice depends on the labels and the seed alone, so every network gets the same objects.

    Raises:
        ValueError: no object is that deep.
    """
    found: list[Any] = []
    for image in range(len(dataset)):
        labels = torch.as_tensor(dataset[image][1])
        found += objects_in(labels, image, least_depth)
    if not found:
        raise ValueError(f"no object has a pixel {least_depth} px or more from its edge")
    order = np.random.default_rng(seed).permutation(len(found))[:count]
    return [found[i] for i in sorted(order)]
