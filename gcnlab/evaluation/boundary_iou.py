"""Boundary IoU per class: the agreement of outlines (Cheng, Girshick, Dollár, Berg, Kirillov, CVPR
2021).

    boundary IoU = |(G_d ∩ G) ∩ (P_d ∩ P)| / |(G_d ∩ G) ∪ (P_d ∩ P)|

G is the binary mask of a class in the labels, P that in the prediction, and G_d the pixels within d
of G's contour; so G_d ∩ G is a band inside the mask. Peng et al. do not report it; it complements
their Table 5, whose bands come from the labels only. It is defined per class, on each class's mask,
as in the authors' code:

- d is 2 % of the image's diagonal, rounded, at least 1 pixel; the distance is the Chebyshev
  distance (their d erosions by a 3×3 square), and the image's border counts as contour.
- Intersections and unions are summed over the images, as for IoU: a corpus score.

**Void** (their masks have none) is removed from both masks before their contours are computed. If a
prediction is correct wherever there is a label, its band is the labels' band, whatever it predicts
on void.

All classes are computed in one pass: a pixel is in its class's band if the square of side 2d + 1
around it contains another label.
"""

import numpy as np
import torch

from gcnlab.annotations import Bool, Float, Int, Shaped, Tensor
from gcnlab.datasets.ids import check_ids, scored_ids
from gcnlab.datasets.labels import IGNORE
from gcnlab.evaluation.settings import BandRule


def class_bands(
    labels: Shaped[Tensor, "height width"], width: int, image_border: bool = True
) -> Bool[Tensor, "height width"]:
    """Mark the pixels within `width` of the contour of their class's mask (Chebyshev distance, in
    pixels).

    Args:
        labels: ids, 0 … 255; void is a label like any other.
        width: width of the band.
        image_border: count the image's border as contour.

    Raises:
        ValueError: `labels` are not ids, or out of that range.
    """
    check_ids(labels, 256, "labels")
    return _bands(labels, width, image_border)


def _bands(labels: Tensor, width: int, image_border: bool) -> Tensor:
    """`class_bands` without checks; void may be any integer."""
    from scipy import ndimage  # here, so that training runs without scipy

    ids = labels.detach().cpu().numpy().astype(np.int32)
    side = 2 * width + 1
    if image_border:
        least = ndimage.minimum_filter(ids, side, mode="constant", cval=-1)
        most = ndimage.maximum_filter(ids, side, mode="constant", cval=-1)
    else:
        least = ndimage.minimum_filter(ids, side, mode="nearest")
        most = ndimage.maximum_filter(ids, side, mode="nearest")
    return torch.from_numpy(least != most)


class BoundaryIoU:
    """Streaming boundary IoU.

    Args:
        num_classes: classes 0 … num_classes − 1.
        rule: width of the band.
        ignore_index: the void id.
    """

    def __init__(self, num_classes: int, rule: BandRule | None = None, ignore_index: int = IGNORE):
        self.num_classes, self.rule, self.ignore_index = (
            num_classes,
            rule or BandRule(),
            ignore_index,
        )
        self.counts: Int[Tensor, "3 num_classes"] = torch.zeros(3, num_classes, dtype=torch.int64)
        """Pixels in the labels' bands, in the predictions' bands, and in both."""

    def update(
        self,
        predictions: Shaped[Tensor, "*batch height width"],
        labels: Shaped[Tensor, "*_ _ _"],
    ) -> "BoundaryIoU":
        """Add predicted ids and labels of one shape; returns itself.

        Raises:
            ValueError: shapes differ, an id is out of range, or the values are not ids. Nothing is
                counted.
        """
        scored_ids(predictions, labels, self.num_classes, self.ignore_index)
        size = labels.shape[-2:]
        width = self.rule.width(*size)
        maps = zip(predictions.cpu().reshape(-1, *size), labels.cpu().reshape(-1, *size))
        for predicted, true in maps:
            true = true.to(torch.int64)
            void = true == self.ignore_index
            predicted = predicted.to(torch.int64).masked_fill(void, self.ignore_index)
            ours = _bands(predicted, width, self.rule.image_border) & ~void
            theirs = _bands(true, width, self.rule.image_border) & ~void
            both = ours & theirs & (predicted == true)
            for row, ids in zip(self.counts, (true[theirs], predicted[ours], predicted[both])):
                row += torch.bincount(ids.long(), minlength=self.num_classes)
        return self

    def iou(self) -> Float[Tensor, "num_classes"]:
        """Boundary IoU per class, 0 … 1; NaN for a class neither labelled nor predicted."""
        true, predicted, both = self.counts.double()
        return both / (true + predicted - both)

    def mean(self) -> float:
        """Mean of `iou()` over the classes that occur."""
        return self.iou().nanmean().item()
