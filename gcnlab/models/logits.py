"""Ask any network for score maps: its device, its precision, the form of its output.

A network is whatever maps images (batch, channels, height, width) to scores (batch, classes, rows, columns).
It may have no weights, compute in half precision, or wrap the scores in a dict: torchvision calls them "out",
Hugging Face "logits". Rows and columns need not be those of the image.
"""

from collections.abc import Iterator, Mapping
from typing import no_type_check

import torch
from torch import nn
from torch.nn import functional

from gcnlab.annotations import Float, Tensor
from gcnlab.images import image_tensor

LOGIT_KEYS = ("out", "logits")
"""What a dict of outputs calls the scores."""
PRECISIONS = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
"""What an image may be computed in; weights may be stored in less."""


def logits_of(
    model: nn.Module,
    images: Float[Tensor, "batch channels height width"],
    device: torch.device | str | None = None,
) -> Float[Tensor, "batch classes rows columns"]:
    """Score maps of a batch, on the model's device, in its precision.

    The model gets a copy of the images, so that it may work in place. Its mode is the caller's affair (see
    `gcnlab.models.modes.evaluation_mode`).

    Args:
        device: for a model that has no weights to tell.

    Raises:
        TypeError: the model does not return one map of scores per image.
        ValueError: the device is not the model's.
    """
    return extract_logits(model, model(model_input(model, images, device)), len(images))


def pixel_logits(
    model: nn.Module,
    images: Float[Tensor, "batch channels height width"],
    device: torch.device | str | None = None,
) -> Float[Tensor, "batch classes height width"]:
    """Scores for every pixel, in single precision or better: `logits_of`, resized to the size of the images."""
    return resize_logits(logits_of(model, images, device), tuple(images.shape[-2:]))


def resize_logits(
    scores: Float[Tensor, "batch classes _ _"], size: tuple[int, int]
) -> Float[Tensor, "batch classes height width"]:
    """Score maps of another size than the image, bilinearly brought to the image's (height, width).

    Pixels are areas (align_corners=False), as in SegFormer's own post-processing. The result has at least
    single precision. Scores that already have this size are not interpolated.
    """
    scores = scores.to(torch.promote_types(scores.dtype, torch.float32))
    if tuple(scores.shape[-2:]) == tuple(size):
        return scores
    return functional.interpolate(scores, size, mode="bilinear", align_corners=False)


def model_input(
    model: nn.Module, images: Tensor, device: torch.device | str | None = None
) -> Tensor:
    """A copy of the images for the model to do with as it likes, on its device and in its precision.

    Raises:
        ValueError: `device` is not the model's, or there is none.
    """
    images = images.as_subclass(Tensor)
    return images.to(_agreed(model, device), dtype_of(model) or images.dtype, copy=True)


@no_type_check
def check_network(model: nn.Module) -> None:
    """Raise TypeError unless `model` is a network."""
    if isinstance(model, nn.Module):
        return
    if isinstance(model, type) and issubclass(model, nn.Module):
        raise TypeError(f"model must be a network, not the class {model.__name__}: make one of it")
    if isinstance(getattr(model, "model", None), nn.Module):
        raise TypeError(f"model must be a network, not a {type(model).__name__}: give its .model")
    raise TypeError(
        f"model must be a torch.nn.Module that maps images to scores, not a {type(model).__name__}"
    )


@no_type_check
def check_images(images: Float[Tensor, "batch channels height width"]) -> None:
    """Raise ValueError, with the way out, unless `images` is a batch of normalised images."""
    image_tensor("images", images)
    if images.ndim == 3:
        raise ValueError(
            f"images must be a batch, not one image of {tuple(images.shape)}: add the batch axis, image[None]"
        )
    if images.ndim != 4:
        raise ValueError(
            f"images must be (batch, channels, height, width), not {tuple(images.shape)}"
        )
    if 0 in images.shape:
        raise ValueError(f"images: there is nothing to score in {tuple(images.shape)}")


def extract_logits(
    model: nn.Module, answer: object, count: int
) -> Float[Tensor, "batch classes rows columns"]:
    """The scores in what a model returned for `count` images.

    Raises:
        TypeError: there are none; the message says what there is and what to do.
    """
    scores = _unwrapped(answer)
    name = type(model).__name__
    if not isinstance(scores, Tensor) or scores.ndim != 4 or not scores.is_floating_point():
        raise TypeError(
            f"{name} must return scores (batch, classes, rows, columns), not {_described(answer)}; "
            "wrap it in a module that returns the scores alone"
        )
    if scores.shape[1] == 0 or 0 in scores.shape[-2:]:
        raise TypeError(f"{name} returned scores of nothing, {tuple(scores.shape)}")
    if len(scores) != count:
        raise TypeError(
            f"{name} must return one score map per image, but returned {len(scores)} for {count}; "
            "each image needs its own"
        )
    return scores


def extract_class_logits(
    model: nn.Module, answer: object, count: int
) -> Float[Tensor, "batch classes"]:
    """The scores in what a classifier returned for `count` images.

    Raises:
        TypeError: it is not a row of scores per image.
        ValueError: a score is NaN.
    """
    scores = _unwrapped(answer)
    if (
        not isinstance(scores, Tensor)
        or not scores.is_floating_point()
        or scores.ndim != 2
        or len(scores) != count
    ):
        raise TypeError(
            f"{type(model).__name__} must return class scores ({count}, classes), not {_described(answer)}"
        )
    if scores.isnan().any():
        raise ValueError(
            f"the scores of {type(model).__name__} are NaN: has its training diverged?"
        )
    return scores


def _unwrapped(answer: object) -> object:
    if isinstance(answer, Mapping):
        return next((answer[key] for key in LOGIT_KEYS if key in answer), None)
    return answer


def device_of(model: nn.Module) -> torch.device:
    """Where the model computes: where its weights are; the CPU if it has none."""
    return next((tensor.device for tensor in _tensors(model)), torch.device("cpu"))


def dtype_of(model: nn.Module) -> torch.dtype | None:
    """The precision of the model's weights, or of its buffers if it has no weights; None if it has neither."""
    return next((t.dtype for t in _tensors(model) if t.dtype in PRECISIONS), None)


def _tensors(model: nn.Module) -> Iterator[Tensor]:
    yield from model.parameters()
    yield from model.buffers()


def _agreed(model: nn.Module, device: torch.device | str | None) -> torch.device:
    """The model's device, with which `device` must not disagree; `device` for a model without weights."""
    if device is None:
        return device_of(model)
    try:
        wanted = torch.device(device)
        torch.empty(0, device=wanted)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise ValueError(f"device {str(device)!r}: there is none on this machine") from error
    own = next((tensor.device for tensor in _tensors(model)), wanted)
    if wanted.type != own.type or wanted.index not in (None, own.index):
        raise ValueError(
            f"device {str(device)!r}: the model's weights are on {own}; leave device out, or move the model"
        )
    return own


def _described(answer: object) -> str:
    if isinstance(answer, Tensor):
        ids = "" if answer.is_floating_point() else " (class ids? return the scores before argmax)"
        return f"a tensor {tuple(answer.shape)} of {_dtype(answer)}{ids}"
    if isinstance(answer, Mapping):
        return (
            f"a dict with {', '.join(map(repr, answer)) or 'nothing'}, of which none is a score map"
        )
    if isinstance(answer, (tuple, list)):
        return f"a {type(answer).__name__} of {len(answer)}"
    return f"a {type(answer).__name__}"


def _dtype(tensor: Tensor) -> str:
    return str(tensor.dtype).removeprefix("torch.")
