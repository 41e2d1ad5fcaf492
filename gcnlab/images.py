"""Validate image tensors: an error names the argument and how to convert it."""

from typing import Any

import numpy as np

from gcnlab.annotations import Tensor


def image_tensor(name: str, image: Any) -> Tensor:
    """Return `image` if it is a floating-point tensor.

    Raises:
        ValueError: `image` is a NumPy array, a list or a PIL image (the error gives the call that
            converts it), or holds integers, which are not normalised values.
    """
    if isinstance(image, np.ndarray):
        looks_like_a_picture = image.ndim == 3 and image.shape[-1] in (1, 3, 4)
        axes = ".permute(2, 0, 1)" if looks_like_a_picture else ""
        what = name if name.isidentifier() else "…"
        why = (
            ", because its axes look like (height, width, channels)" if looks_like_a_picture else ""
        )
        raise ValueError(
            f"{name} must be a tensor, not a NumPy array: use torch.from_numpy({what}){axes}{why}; then normalise it"
        )
    if isinstance(image, list | tuple):
        raise ValueError(
            f"{name} must be one tensor, not a {type(image).__name__}: torch.stack makes a batch of images"
        )
    if not isinstance(image, Tensor):
        raise ValueError(
            f"{name} must be a tensor (channels, height, width), not a {type(image).__name__}: "
            "gcnlab.datasets.read_image reads an image file, torch.from_numpy converts an array"
        )
    if not image.is_floating_point():
        raise ValueError(
            f"{name} must be normalised floating-point values, not {image.dtype}: normalise it first "
            "(gcnlab.datasets.Normalization)"
        )
    return image
