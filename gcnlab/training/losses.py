"""What is minimised: cross-entropy, over pixels or over images."""

import torch
from torch.nn import functional as F

from gcnlab.annotations import Float, Int, Shaped, Tensor
from gcnlab.datasets.labels import IGNORE


def segmentation_loss(
    logits: Float[Tensor, "batch classes height width"],
    labels: Shaped[Tensor, "batch height width"],
    count: Shaped[Tensor, ""] | None = None,
) -> Float[Tensor, ""]:
    """Cross-entropy, averaged over the labelled pixels of the batch; 0 if all are void.

    Args:
        count: number to divide by in place of the batch's labelled pixels, where the batch is a part of
            a step's images: a mean of parts' means would weigh a pixel by the voids around it.
    """
    count = labelled_pixels(labels) if count is None else count
    logits, labels = logits.float(), labels.long()
    if torch.are_deterministic_algorithms_enabled():  # on a GPU only the loss of a list is
        logits, labels = logits.movedim(1, -1).flatten(0, -2), labels.flatten()
    total = F.cross_entropy(logits, labels, ignore_index=IGNORE, reduction="sum")
    return total / count.clamp(min=1)


def labelled_pixels(labels: Shaped[Tensor, "batch height width"]) -> Int[Tensor, ""]:
    """Number of pixels that are not void."""
    return (labels != IGNORE).sum()


def classification_loss(
    logits: Float[Tensor, "batch classes"],
    labels: Int[Tensor, "batch"],
    smoothing: float = 0.0,
    count: Shaped[Tensor, ""] | None = None,
) -> Float[Tensor, ""]:
    """Cross-entropy, averaged over the images; `smoothing` spreads that share of each label evenly
    over all classes.

    Args:
        count: number to divide by in place of the batch's images, where the batch is a part of a step's.
    """
    total = F.cross_entropy(logits.float(), labels, label_smoothing=smoothing, reduction="sum")
    return total / (len(labels) if count is None else count)
