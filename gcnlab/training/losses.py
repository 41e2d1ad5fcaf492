"""What is minimised: cross-entropy, over pixels or over images."""

from torch.nn import functional as F

from gcnlab.annotations import Float, Int, Shaped, Tensor
from gcnlab.datasets.labels import IGNORE


def segmentation_loss(
    logits: Float[Tensor, "batch classes height width"],
    labels: Shaped[Tensor, "batch height width"],
) -> Float[Tensor, ""]:
    """Cross-entropy, averaged over the labelled pixels of the batch; 0 if all are void."""
    labels = labels.long()
    total = F.cross_entropy(logits.float(), labels, ignore_index=IGNORE, reduction="sum")
    return total / (labels != IGNORE).sum().clamp(min=1)


def classification_loss(
    logits: Float[Tensor, "batch classes"], labels: Int[Tensor, "batch"], smoothing: float = 0.0
) -> Float[Tensor, ""]:
    """Cross-entropy, averaged over the images; `smoothing` spreads that share of each label evenly
    over all classes."""
    return F.cross_entropy(logits.float(), labels, label_smoothing=smoothing)
