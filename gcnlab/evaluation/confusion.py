"""The confusion matrix, and the scores computed from it.

One matrix is summed over the whole data set, and the scores are computed at the end (corpus scores,
as VOC and Cityscapes define them), not averaged over images.
"""

import torch

from gcnlab.annotations import Float, Int, Shaped, Tensor
from gcnlab.datasets.ids import scored_ids
from gcnlab.datasets.labels import IGNORE


class ConfusionMatrix:
    """Streaming confusion matrix: `counts[true, predicted]`, in pixels.

    Args:
        num_classes: classes 0 … num_classes − 1.
        ignore_index: label that is not counted, whatever is predicted there.
    """

    def __init__(self, num_classes: int, ignore_index: int = IGNORE):
        self.num_classes = num_classes
        self.ignore_index = ignore_index
        self.counts: Int[Tensor, "true predicted"] = torch.zeros(
            num_classes, num_classes, dtype=torch.int64
        )

    def update(
        self, predictions: Shaped[Tensor, "*pixels"], labels: Shaped[Tensor, "*pixels"]
    ) -> "ConfusionMatrix":
        """Add the pixels of predicted ids and labels of one shape; returns itself.

        Raises:
            ValueError: shapes differ, an id is out of range, or the values are not ids. Nothing is
                counted.
        """
        _, predicted, true = scored_ids(predictions, labels, self.num_classes, self.ignore_index)
        flat = true * self.num_classes + predicted
        counts = torch.bincount(flat, minlength=self.num_classes**2)
        self.counts += counts.reshape(self.num_classes, self.num_classes).to(self.counts.device)
        return self

    def iou(self) -> Float[Tensor, "num_classes"]:
        """Intersection over union per class, 0 … 1; NaN for a class neither labelled nor
        predicted."""
        hit = self.counts.diagonal().double()
        union = self.counts.sum(0) + self.counts.sum(1) - self.counts.diagonal()
        return hit / union  # 0/0 is NaN

    def miou(self) -> float:
        """Mean of `iou()` over the classes that occur, 0 … 1; NaN if none does."""
        return self.iou().nanmean().item()

    def accuracy(self) -> float:
        """Share of the labelled pixels that are correct, 0 … 1; NaN if there are none."""
        return (self.counts.diagonal().sum().double() / self.counts.sum()).item()

    def class_accuracy(self) -> Float[Tensor, "num_classes"]:
        """Share of each class's pixels that are correct, 0 … 1; NaN for a class without pixels."""
        return self.counts.diagonal().double() / self.counts.sum(1)
