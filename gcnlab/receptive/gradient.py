"""The gradient receptive field: how strongly each pixel of the image moves one score.

One backward pass from one unit gives ∂score/∂image (Luo et al., "Understanding the effective receptive
field", NIPS 2016); its magnitude, summed over the colour channels, is the field. Where it is zero the unit
sees nothing, so its support can only be as large as the theoretical receptive field.
"""

from collections.abc import Iterable

import torch
from torch import nn

from gcnlab.annotations import Float, Tensor
from gcnlab.arguments import Pixel, Whole
from gcnlab.models.modes import evaluation_mode
from gcnlab.models.scoring import scores_of
from gcnlab.receptive.region import mean_field
from gcnlab.receptive.unit import check_image, check_scores, locate


def gradient_field(
    model: nn.Module,
    image: Float[Tensor, "channels height width"],
    pixel: Pixel,
    target: Whole | None = None,
) -> Float[Tensor, "height width"]:
    """Σ over channels of `|∂ score(target, pixel) / ∂ image|`, on the CPU.

    Args:
        model: maps images to score maps; run in evaluation mode and left as it was.
        image: what the model takes (already normalised).
        pixel: (row, column) on the score map.
        target: class id; None for the class predicted there.

    Raises:
        ValueError: the pixel or class is outside the score map, the image is not one image, its scores are
            not finite or have no gradient.
        TypeError: the model does not answer with a map of scores.
    """
    check_image(image)
    leaf = image.detach().clone().requires_grad_()
    with evaluation_mode(model), torch.enable_grad():
        scores = scores_of(model, leaf[None])[0]
        check_scores(scores)
        score = scores[locate(scores.detach(), pixel, target), pixel[0], pixel[1]]
        if not score.requires_grad:
            raise ValueError(f"the scores of {type(model).__name__} have no gradient by the image")
        (gradient,) = torch.autograd.grad(score, leaf)
    return gradient.abs().sum(0).cpu()


def mean_gradient_field(
    model: nn.Module,
    examples: Iterable[tuple[Float[Tensor, "channels _ _"], Pixel]],
    radius: Whole,
    target: Whole | None = None,
) -> Float[Tensor, "side side"]:
    """The mean gradient field over many images, each moved so that its pixel lies in the middle.

    Luo et al. call it the effective receptive field. One image's field follows that image's edges; in the
    mean, what is left is the network's. (They start the backward pass with 1 at a unit of any layer; here the
    unit is one class's score.)

    Args:
        model: see `gradient_field`.
        examples: images and for each the pixel (row, column).
        radius: of the result, in pixels; its side is 2·radius + 1.
        target: class id; None for the class predicted at each pixel.

    Returns:
        See `gcnlab.receptive.region.mean_field`.

    Raises:
        ValueError: there is no image, and as `gradient_field`.
    """
    fields = (
        (gradient_field(model, image, pixel, target), tuple(pixel)) for image, pixel in examples
    )
    return mean_field(fields, radius)
