"""The gradient receptive field: how strongly each pixel of the image moves one score.

One backward pass from one unit gives ∂score/∂image (Luo et al., "Understanding the effective receptive
field", NIPS 2016); its magnitude, summed over the colour channels, is the field. Where it is zero the unit
sees nothing, so its support can only be as large as the theoretical receptive field.
"""

import torch
from torch import nn

from gcnlab.annotations import Float, Tensor
from gcnlab.models.modes import evaluation_mode
from gcnlab.receptive.unit import check_image, locate, scores_of


def gradient_field(
    model: nn.Module,
    image: Float[Tensor, "channels height width"],
    pixel: tuple[int, int],
    target: int | None = None,
) -> Float[Tensor, "height width"]:
    """Σ over channels of |∂ score(target, pixel) / ∂ image|, on the CPU.

    Args:
        model: maps images to score maps; run in evaluation mode and left as it was.
        image: what the model takes (already normalised).
        pixel: (row, column) on the score map.
        target: class id; None for the class predicted there.

    Raises:
        ValueError: the pixel or class is outside the score map, or the image is not one image.
    """
    check_image(image)
    leaf = image.detach().clone().requires_grad_()
    with evaluation_mode(model), torch.enable_grad():
        scores = scores_of(model, leaf[None])[0]
        score = scores[locate(scores.detach(), pixel, target), pixel[0], pixel[1]]
        (gradient,) = torch.autograd.grad(score, leaf)
    return gradient.abs().sum(0).cpu()
