"""Two attribution methods of Captum for the logit of one unit, to compare with the fields.

They need the package captum, which the extra `lab` installs.

- **Integrated gradients** (Sundararajan et al., ICML 2017) start from a baseline, an image that
  stands for "nothing", and add up what each pixel contributes on the straight line to the image. The
  contributions of all pixels sum to the difference of the two logits.
- **Occlusion** is the valid field by another implementation, which runs the whole network for every
  window. With the same windows and fill, it has the same values.
"""

from types import ModuleType
from typing import Any, no_type_check

import torch
from torch import nn

from gcnlab.annotations import Float, Tensor
from gcnlab.arguments import Pair, Pixel, Whole, pair, whole
from gcnlab.devices import without_tf32
from gcnlab.images import image_tensor
from gcnlab.models.logits import check_network, logits_of
from gcnlab.models.modes import evaluation_mode
from gcnlab.receptive.fills import fill_image
from gcnlab.receptive.gradient import gradient_field
from gcnlab.receptive.grid import OcclusionGrid
from gcnlab.receptive.settings import fill_of
from gcnlab.receptive.unit import check_finite, check_image, locate

BATCH = 4
"""Images per pass. More of them need more memory for the gradients, and are not faster on a CPU."""


@no_type_check  # the function's own errors say what to do instead
def integrated_gradients(
    model: nn.Module,
    image: Float[Tensor, "channels height width"],
    pixel: Pixel,
    target: Whole | None = None,
    baseline: int | float | str | Float[Tensor, "channels height width"] = 0.0,
    steps: Whole = 32,
) -> Float[Tensor, "height width"]:
    """What each pixel contributes to a logit, by Captum's `IntegratedGradients`. The result is on the CPU.

    Args:
        model: maps images to score maps; run in evaluation mode and left as it was.
        image: the model's input (already normalised).
        pixel: (row, column) on the score map.
        target: class id; None for the class predicted there.
        baseline: the image to start from, of the size of `image`; a number fills all channels. 0
            is the mean colour of a normalised image. "mean" and "noise" are those of
            `gcnlab.receptive.fill_image`. "blur" depends on a window: pass its image.
        steps: number of images on the line, at least 1. More of them bring the sum of the
            contributions closer to the difference of the logits.

    Returns:
        The contributions, summed over the channels; they can be negative.

    Raises:
        ImportError: captum is not installed.
        ValueError: the pixel or class is outside the score map, the baseline is not finite or not of
            the image's size, or the logits are not finite or have no gradient, as within
            `torch.inference_mode()`.
    """
    attr = _captum()
    steps = whole("steps", steps, 1)
    target = _target(model, image, pixel, target)
    start = _baseline(image, baseline)
    gradient_field(model, image, pixel, target)  # raises an error if there is no gradient
    with evaluation_mode(model), torch.enable_grad(), without_tf32():
        found = attr.IntegratedGradients(lambda images: logits_of(model, images)).attribute(
            image.detach()[None],
            baselines=start[None],
            target=(target, *pixel),
            n_steps=steps,
            internal_batch_size=BATCH,
        )
    return found[0].sum(0).float().cpu()


@no_type_check
def captum_occlusion(
    model: nn.Module,
    image: Float[Tensor, "channels height width"],
    pixel: Pixel,
    target: Whole | None = None,
    window: Pair = 32,
    stride: Pair = 16,
    fill: int | float | str | Float[Tensor, "channels height width"] = 0.0,
) -> Float[Tensor, "height width"]:
    """The mean change of a logit where windows cover the image, by Captum's `Occlusion`.

    Args:
        model, image, pixel, target: see `integrated_gradients`.
        window, stride, fill: the occluder and its positions; see `gcnlab.valid_field`. A `fill` can
            also be an image of the size of `image`, from which the windows are copied.

    Returns:
        The mean drop of the logit (clean − occluded) over the windows that cover each pixel, on the
        CPU.

    Raises:
        ImportError: captum is not installed.
        ValueError: an argument is out of its range, or the logits are not finite.
    """
    attr = _captum()
    window, stride = pair("window", window, 1), pair("stride", stride, 1)
    OcclusionGrid(tuple(image.shape[-2:]), window, stride)  # raises its errors
    target = _target(model, image, pixel, target)
    if _is_array(fill):
        filling = _image("fill", fill, image)
    else:
        filling = fill_image(image, fill_of(fill), window)
    with evaluation_mode(model), torch.no_grad(), without_tf32():
        found = attr.Occlusion(lambda images: logits_of(model, images)).attribute(
            image.detach()[None],
            sliding_window_shapes=(len(image), *window),
            strides=(len(image), *stride),
            baselines=filling[None],
            target=(target, *pixel),
            perturbations_per_eval=BATCH,
        )
    return found[0, 0].float().cpu()


def _target(model: nn.Module, image: Tensor, pixel: Pixel, target: int | None) -> int:
    check_network(model)
    check_image(image)
    with evaluation_mode(model), torch.no_grad(), without_tf32():
        score_map = logits_of(model, image[None])[0]
    check_finite(score_map)
    return locate(score_map, pixel, target)


def _baseline(image: Tensor, baseline: int | float | str | Tensor | Any) -> Tensor:
    if _is_array(baseline):
        return _image("baseline", baseline, image)
    baseline = fill_of(baseline, "baseline")
    if baseline == "blur":
        raise ValueError(
            'baseline "blur" depends on a window, in pixels: pass '
            'gcnlab.receptive.fill_image(image, "blur", (height, width))'
        )
    return fill_image(image, baseline, (1, 1))


def _is_array(value: object) -> bool:
    """Whether a value is meant as an image. A tensor or array without axes is a number."""
    return getattr(value, "ndim", 0) > 0 or isinstance(value, list | tuple)


def _image(name: str, value: Tensor | Any, image: Tensor) -> Tensor:
    """A fill or baseline that is an image, with the type and the device of `image`."""
    found = image_tensor(name, value)
    if found.shape != image.shape:
        raise ValueError(
            f"{name} must have the size of the image, {tuple(image.shape)}, "
            f"not {tuple(found.shape)}"
        )
    found = found.detach().to(image)
    if not torch.isfinite(found).all():
        raise ValueError(f"{name} is not finite: it has NaN or infinite values")
    return found


def _captum() -> ModuleType:
    try:
        from captum import attr
    except ImportError as error:
        raise ImportError(
            "this method needs the package captum: pip install captum, or gcnlab with the extra lab"
        ) from error
    return attr
