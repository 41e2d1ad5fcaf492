"""Accuracy against the distance to the boundary: the trimap curve.

Table 5 separates boundary and interior at 7 pixels. The curve covers all distances d: the accuracy
and the mean IoU of the pixels within d of a boundary (the trimap of Krähenbühl & Koltun, NIPS 2011,
Figure 5), and the accuracy of the pixels at distance d. The distance (norm, void) is that of the
boundary rule, so the curve at d = 7 equals Table 5's boundary accuracy.
"""

from dataclasses import dataclass

import torch

from gcnlab.annotations import Float, Int, Shaped, Tensor
from gcnlab.datasets.ids import scored_ids
from gcnlab.datasets.labels import IGNORE
from gcnlab.evaluation.confusion import ConfusionMatrix


@dataclass(frozen=True)
class Curve:
    """Scores against distance, in percent; NaN where there are no pixels.

    Attributes:
        distance: 1, 2, … in pixels.
        within: share of correct pixels at most this distance from a boundary.
        at: share of correct pixels between the previous distance (excluded) and this one
            (included).
        miou_within: mean IoU over the pixels at most this distance from a boundary.
        pixels_within: number of these pixels.
        beyond: share of correct pixels beyond the last distance.
        pixels_beyond: number of these pixels.
    """

    distance: tuple[int, ...]
    within: tuple[float, ...]
    at: tuple[float, ...]
    miou_within: tuple[float, ...]
    pixels_within: tuple[int, ...]
    beyond: float
    pixels_beyond: int


class DistanceCounts:
    """Streaming confusion matrices, one per pixel of distance: `counts[bin, true, predicted]`.

    Bin i contains the distances in (i, i + 1]; the last bin those beyond `farthest`.

    Args:
        num_classes: classes 0 … num_classes − 1.
        farthest: last distance of the curve, in pixels.
        ignore_index: label that is not counted.

    Raises:
        ValueError: `farthest` is less than 1.
    """

    def __init__(self, num_classes: int, farthest: int = 40, ignore_index: int = IGNORE):
        if farthest < 1:
            raise ValueError(f"the curve's farthest distance must be at least 1, not {farthest}")
        self.num_classes, self.farthest, self.ignore_index = num_classes, farthest, ignore_index
        self.counts: Int[Tensor, "bins true predicted"] = torch.zeros(
            farthest + 1, num_classes, num_classes, dtype=torch.int64
        )

    def update(
        self,
        predictions: Shaped[Tensor, "*pixels"],
        labels: Shaped[Tensor, "*pixels"],
        distances: Float[Tensor, "*pixels"],
    ) -> "DistanceCounts":
        """Add pixels; `distances` are those of `boundary_distance(labels)`. Returns itself.

        Raises:
            ValueError: shapes differ, an id is out of range, or a labelled pixel has no distance.
                Nothing is counted.
        """
        if distances.shape != labels.shape:
            raise ValueError(
                f"distances {tuple(distances.shape)} and labels {tuple(labels.shape)} differ in shape"
            )
        valid, predicted, true = scored_ids(
            predictions, labels, self.num_classes, self.ignore_index
        )
        far = distances[valid]
        if not (far > 0).all():  # also false for NaN
            raise ValueError(
                "distances are NaN or not positive at labelled pixels: use boundary_distance of these labels"
            )
        bins = (far.ceil() - 1).clamp(0, self.farthest).long()
        flat = (bins * self.num_classes + true) * self.num_classes + predicted
        counts = torch.bincount(flat, minlength=self.counts.numel())
        self.counts += counts.reshape(self.counts.shape).to(self.counts.device)
        return self

    def curve(self) -> Curve:
        """The scores of the counts."""
        within = self.counts[:-1].cumsum(0)
        return Curve(
            distance=tuple(range(1, self.farthest + 1)),
            within=tuple(100 * self._scored(c).accuracy() for c in within),
            at=tuple(100 * self._scored(c).accuracy() for c in self.counts[:-1]),
            miou_within=tuple(100 * self._scored(c).miou() for c in within),
            pixels_within=tuple(int(c.sum()) for c in within),
            beyond=100 * self._scored(self.counts[-1]).accuracy(),
            pixels_beyond=int(self.counts[-1].sum()),
        )

    def _scored(self, counts: Tensor) -> ConfusionMatrix:
        matrix = ConfusionMatrix(self.num_classes, self.ignore_index)
        matrix.counts = counts
        return matrix
