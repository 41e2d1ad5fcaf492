"""Get logits from any network, whatever its device, its precision and the form of its output.

A network is any module that maps images (batch, channels, height, width) to logits (batch, classes,
rows, columns). It may have no weights, compute in half precision, or return its logits in a dict
under "out" (torchvision) or "logits" (Hugging Face). Rows and columns may differ from those of the
image.
"""

from collections.abc import Iterator, Mapping
from typing import no_type_check

import torch
from torch import nn
from torch.nn import functional

from gcnlab.annotations import Float, Tensor
from gcnlab.images import image_tensor

LOGIT_KEYS = ("out", "logits")
"""Keys of the logits in a dict of outputs."""
PRECISIONS = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
"""Types that an image can have in the computation; weights may be stored with less precision."""


def logits_of(
    model: nn.Module,
    images: Float[Tensor, "batch channels height width"],
    device: torch.device | str | None = None,
) -> Float[Tensor, "batch classes rows columns"]:
    """Compute the logits of a batch, on the model's device and in its precision.

    The model gets a copy of the images, so it may change them in place. The caller sets its mode
    (see `gcnlab.models.modes.evaluation_mode`).

    Args:
        device: where to compute if the model has no weights.

    Raises:
        TypeError: the model does not return one map of logits per image.
        ValueError: the model's weights are on another device.
    """
    return extract_logits(model, model(model_input(model, images, device)), len(images))


def pixel_logits(
    model: nn.Module,
    images: Float[Tensor, "batch channels height width"],
    device: torch.device | str | None = None,
) -> Float[Tensor, "batch classes height width"]:
    """Compute `logits_of` and resize them to the size of the images, in at least single precision."""
    return resize_logits(logits_of(model, images, device), tuple(images.shape[-2:]))


def resize_logits(
    logits: Float[Tensor, "batch classes _ _"], size: tuple[int, int]
) -> Float[Tensor, "batch classes height width"]:
    """Resize logits to (height, width) by bilinear interpolation.

    The interpolation uses align_corners=False, as SegFormer's own post-processing does. The result
    has at least single precision. Logits that already have this size are not interpolated.
    """
    logits = logits.to(torch.promote_types(logits.dtype, torch.float32))
    if tuple(logits.shape[-2:]) == tuple(size):
        return logits
    return functional.interpolate(logits, size, mode="bilinear", align_corners=False)


def model_input(
    model: nn.Module, images: Tensor, device: torch.device | str | None = None
) -> Tensor:
    """Copy images to the model's device and precision; the model may change the copy in place.

    Raises:
        ValueError: `device` is not available, or the model's weights are on another device.
    """
    images = images.as_subclass(Tensor)
    return images.to(_device_for(model, device), dtype_of(model) or images.dtype, copy=True)


@no_type_check
def check_network(model: nn.Module) -> None:
    """Raise TypeError unless `model` is a torch.nn.Module."""
    if isinstance(model, nn.Module):
        return
    if isinstance(model, type) and issubclass(model, nn.Module):
        raise TypeError(
            f"model must be a network, not the class {model.__name__}: create an instance of it"
        )
    if isinstance(getattr(model, "model", None), nn.Module):
        raise TypeError(f"model must be a network, not a {type(model).__name__}: use its .model")
    raise TypeError(
        f"model must be a torch.nn.Module that maps images to logits, not a {type(model).__name__}"
    )


@no_type_check
def check_images(images: Float[Tensor, "batch channels height width"]) -> None:
    """Raise ValueError unless `images` is a batch of normalised images."""
    image_tensor("images", images)
    if images.ndim == 3:
        raise ValueError(
            f"images must be a batch, not one image of shape {tuple(images.shape)}: add a batch axis, image[None]"
        )
    if images.ndim != 4:
        raise ValueError(
            f"images must have the shape (batch, channels, height, width), not {tuple(images.shape)}"
        )
    if 0 in images.shape:
        raise ValueError(f"images must not be empty, but have the shape {tuple(images.shape)}")


def extract_logits(
    model: nn.Module, output: object, count: int
) -> Float[Tensor, "batch classes rows columns"]:
    """Find the logits in the output of a model for `count` images.

    Raises:
        TypeError: there are none; the message says what was returned and what to do.
    """
    logits = _unwrapped(output)
    name = type(model).__name__
    if not isinstance(logits, Tensor) or logits.ndim != 4 or not logits.is_floating_point():
        raise TypeError(
            f"{name} must return logits (batch, classes, rows, columns), not {_describe(output)}; "
            "wrap it in a module that returns only the logits"
        )
    if logits.shape[1] == 0 or 0 in logits.shape[-2:]:
        raise TypeError(f"{name} returned empty logits, of shape {tuple(logits.shape)}")
    if len(logits) != count:
        raise TypeError(
            f"{name} must return the logits of each image, but returned {len(logits)} for {count}"
        )
    return logits


def extract_class_logits(
    model: nn.Module, output: object, count: int
) -> Float[Tensor, "batch classes"]:
    """Find the logits in the output of a classifier for `count` images.

    Raises:
        TypeError: the output does not hold one row of logits per image.
        ValueError: a logit is NaN.
    """
    logits = _unwrapped(output)
    if (
        not isinstance(logits, Tensor)
        or not logits.is_floating_point()
        or logits.ndim != 2
        or len(logits) != count
    ):
        raise TypeError(
            f"{type(model).__name__} must return logits ({count}, classes), not {_describe(output)}"
        )
    if logits.isnan().any():
        raise ValueError(
            f"the logits of {type(model).__name__} are NaN: has its training diverged?"
        )
    return logits


def _unwrapped(output: object) -> object:
    if isinstance(output, Mapping):
        return next((output[key] for key in LOGIT_KEYS if key in output), None)
    return output


def device_of(model: nn.Module) -> torch.device:
    """The device of the model's weights; the CPU if it has none."""
    return next((tensor.device for tensor in _tensors(model)), torch.device("cpu"))


def dtype_of(model: nn.Module) -> torch.dtype | None:
    """The type of the model's weights, or of its buffers if it has no weights; None without both."""
    return next((t.dtype for t in _tensors(model) if t.dtype in PRECISIONS), None)


def _tensors(model: nn.Module) -> Iterator[Tensor]:
    yield from model.parameters()
    yield from model.buffers()


def _device_for(model: nn.Module, device: torch.device | str | None) -> torch.device:
    """The model's device, which must agree with `device`; `device` if the model has no weights."""
    if device is None:
        return device_of(model)
    try:
        wanted = torch.device(device)
        torch.empty(0, device=wanted)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise ValueError(f"device {str(device)!r} is not available on this machine") from error
    own = next((tensor.device for tensor in _tensors(model)), wanted)
    if wanted.type != own.type or wanted.index not in (None, own.index):
        raise ValueError(
            f"device is {str(device)!r}, but the model's weights are on {own}: omit device, or move the model"
        )
    return own


def _describe(output: object) -> str:
    if isinstance(output, Tensor):
        ids = "" if output.is_floating_point() else " (class ids? return the logits before argmax)"
        return f"a tensor {tuple(output.shape)} of {_dtype(output)}{ids}"
    if isinstance(output, Mapping):
        return f"a dict with {', '.join(map(repr, output)) or 'no entries'}, none of which holds logits"
    if isinstance(output, (tuple, list)):
        return f"a {type(output).__name__} of {len(output)}"
    return f"a {type(output).__name__}"


def _dtype(tensor: Tensor) -> str:
    return str(tensor.dtype).removeprefix("torch.")
