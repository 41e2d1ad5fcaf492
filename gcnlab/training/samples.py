"""What the network predicts while it is trained: images, their labels and the predictions, as one picture."""

import torch
from torch import nn
from torch.nn import functional as F

from gcnlab.annotations import Tensor, UInt8
from gcnlab.datasets import LabelSet, Normalization
from gcnlab.evaluation import predict
from gcnlab.models.modes import evaluation_mode


def prediction_picture(
    model: nn.Module,
    pairs: list[tuple[Tensor, Tensor]],
    labels: LabelSet,
    normalization: Normalization,
) -> UInt8[Tensor, "3 height width"]:
    """A row for each image: the image, its labels, the prediction. Smaller images are padded with white.

    Args:
        model: maps normalised images to scores; left as it was.
        pairs: (normalised image, label map), at least one.
        labels: for the colours.
        normalization: of the images.
    """
    rows = []
    with evaluation_mode(model):
        for image, truth in pairs:
            image, truth = image.as_subclass(Tensor), truth.as_subclass(Tensor)
            ids = predict(model, image[None])[0]
            photo = (normalization.invert(image) * 255).round().to(torch.uint8)
            maps = [labels.colorize(m).permute(2, 0, 1) for m in (truth, ids)]
            rows.append(torch.cat([photo, *maps], dim=2))
    height, width = (max(row.shape[axis] for row in rows) for axis in (1, 2))
    padded = [F.pad(r, (0, width - r.shape[2], 0, height - r.shape[1]), value=255) for r in rows]
    return torch.cat(padded, dim=1)
