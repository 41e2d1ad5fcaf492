"""The gradient receptive field: how strongly each pixel of the image changes one logit.

One backward pass from one unit gives ∂logit/∂image (Luo et al., "Understanding the effective
receptive field", NIPS 2016); its magnitude, summed over the colour channels, is the field. Where it
is zero the unit sees nothing, so the field is inside the theoretical receptive field.
"""

from collections.abc import Iterable, Iterator
from typing import no_type_check

import torch
from torch import nn

from gcnlab.annotations import Float, Tensor
from gcnlab.arguments import Pixel, Whole
from gcnlab.devices import without_tf32
from gcnlab.models.logits import check_network, logits_of
from gcnlab.models.modes import evaluation_mode
from gcnlab.receptive.regions import mean_field
from gcnlab.receptive.unit import check_finite, check_image, locate, middle_pixel


@no_type_check  # the function's own errors say what to do instead
def gradient_field(
    model: nn.Module,
    image: Float[Tensor, "channels height width"],
    pixel: Pixel,
    target: Whole | None = None,
) -> Float[Tensor, "height width"]:
    """Σ over channels of `|∂ logit(target, pixel) / ∂ image|`, on the CPU.

    Args:
        model: maps images to score maps; run in evaluation mode and left as it was.
        image: the model's input (already normalised).
        pixel: (row, column) on the score map. If map and image differ in size,
            `gcnlab.receptive.unit.unit_at` converts a pixel of the image into a position on the
            map.
        target: class id; None for the class predicted there.

    Raises:
        ValueError: the pixel or class is outside the score map, the image is not one image, or its
            logits are not finite or have no gradient.
        TypeError: the model does not return a score map.
    """
    return _gradient(model, image, pixel, target)[0]


@no_type_check
def _gradient(
    model: nn.Module, image: Tensor, unit: tuple[int, int], target: int | None
) -> tuple[Tensor, tuple[int, int]]:
    """The field of a unit, and the rows and columns of the score map."""
    check_network(model)
    check_image(image)
    leaf = image.detach().as_subclass(Tensor).clone().requires_grad_()
    with evaluation_mode(model), torch.enable_grad(), without_tf32():
        logits = logits_of(model, leaf[None])[0]
        check_finite(logits)
        logit = logits[locate(logits.detach(), unit, target), unit[0], unit[1]]
        if not logit.requires_grad:
            raise ValueError(
                f"the logits of {type(model).__name__} have no gradient with respect to the image"
            )
        (gradient,) = torch.autograd.grad(logit, leaf, allow_unused=True)
    if gradient is None:
        raise ValueError(f"the logits of {type(model).__name__} do not depend on the image")
    return gradient.abs().sum(0).cpu(), tuple(logits.shape[-2:])


def mean_gradient_field(
    model: nn.Module,
    examples: Iterable[tuple[Float[Tensor, "channels _ _"], Pixel]],
    radius: Whole,
    target: Whole | None = None,
) -> Float[Tensor, "side side"]:
    """The mean gradient field over many images, each shifted so that its pixel is in the middle.

    Luo et al. call it the effective receptive field. The field of one image follows that image's
    edges; the mean shows what the network contributes. (They start the backward pass with 1 at a
    unit of any layer; here it starts at the logit of one class.)

    Args:
        model: see `gradient_field`.
        examples: images, each with a position (row, column) on the score map. The result is centred
            on the pixel in the middle of that unit.
        radius: radius of the result, in pixels; its side is 2·radius + 1.
        target: class id; None for the class predicted at each pixel.

    Returns:
        The mean, see `gcnlab.receptive.regions.mean_field`.

    Raises:
        ValueError: there is no image, or `gradient_field` raises an error.
    """

    def fields() -> Iterator[tuple[Tensor, tuple[int, int]]]:
        for image, unit in examples:
            field, map_size = _gradient(model, image, unit, target)
            yield field, middle_pixel(unit, tuple(field.shape), map_size)

    return mean_field(fields(), radius)
