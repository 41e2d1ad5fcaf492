"""Ask any network for score maps: its device, its precision, the form of its answer.

A network is whatever maps images (batch, channels, height, width) to scores (batch, classes, rows, columns).
It may have no weights, compute in half precision, or wrap the scores in a dict: torchvision calls them "out",
Hugging Face "logits". Rows and columns need not be those of the image.
"""

from collections.abc import Mapping

import torch
from torch import nn

from gcnlab.annotations import Float, Tensor

SCORES = ("out", "logits")
"""What a dict of outputs calls the scores."""


def scores_of(
    model: nn.Module, images: Float[Tensor, "batch channels height width"]
) -> Float[Tensor, "batch classes rows columns"]:
    """Score maps of a batch, on the model's device, in its precision.

    The model gets a copy of the images, so that it may work in place. Its mode is the caller's affair (see
    `gcnlab.models.modes.evaluation_mode`).

    Raises:
        TypeError: the model does not return one map of scores per image.
    """
    own = images.to(device_of(model), dtype_of(model) or images.dtype, copy=True)
    return score_maps(model, model(own), len(images))


def score_maps(
    model: nn.Module, answer: object, count: int
) -> Float[Tensor, "batch classes rows columns"]:
    """The scores in what a model returned for `count` images.

    Raises:
        TypeError: there are none; the message says what there is and what to do.
    """
    scores = answer
    if isinstance(answer, Mapping):
        scores = next((answer[key] for key in SCORES if key in answer), None)
    name = type(model).__name__
    if not isinstance(scores, Tensor) or scores.ndim != 4 or not scores.is_floating_point():
        raise TypeError(
            f"{name} must return scores (batch, classes, rows, columns), not {_described(answer)}; "
            "wrap it in a module that returns the scores alone"
        )
    if len(scores) != count:
        raise TypeError(
            f"{name} must return one score map per image, but returned {len(scores)} for {count}; "
            "give it one image at a time"
        )
    return scores


def device_of(model: nn.Module) -> torch.device:
    """Where the model computes: where its weights are; the CPU if it has none."""
    for tensors in (model.parameters(), model.buffers()):
        for tensor in tensors:
            return tensor.device
    return torch.device("cpu")


def dtype_of(model: nn.Module) -> torch.dtype | None:
    """The precision of the model's weights; None if it has none."""
    return next((p.dtype for p in model.parameters() if p.is_floating_point()), None)


def _described(answer: object) -> str:
    if isinstance(answer, Tensor):
        return f"a tensor {tuple(answer.shape)} of {str(answer.dtype).removeprefix('torch.')}"
    if isinstance(answer, Mapping):
        return (
            f"a dict with {', '.join(map(repr, answer)) or 'nothing'}, of which none is a score map"
        )
    if isinstance(answer, (tuple, list)):
        return f"a {type(answer).__name__} of {len(answer)}"
    return f"a {type(answer).__name__}"
