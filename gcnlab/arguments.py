"""Checks of what is handed in: each refusal is one line that names the argument and the fix.

A number may be Python's or NumPy's: the result is always Python's, so that it can be compared, printed and
written to JSON. `True` does not count as a number, nor 2.0 as a whole number.
"""

import difflib
import numbers
import operator
from collections.abc import Iterable
from typing import Any

import numpy as np
import torch

from gcnlab.annotations import Tensor

Whole = int | Any
"""In a signature: a whole number, NumPy's too. `whole` checks it, not its type: the message names the argument."""
Pair = int | tuple[int, int] | Any
"""In a signature: a whole number, or two (rows, columns)."""
Pixel = tuple[int, int] | Any
"""In a signature: (row, column)."""


def whole(name: str, value: Any, at_least: int | None = None) -> int:
    """`value` as an int: Python's, NumPy's, or a tensor of one whole number.

    Raises:
        ValueError: naming the argument: a bool, a float, a string, or less than `at_least`.
    """
    try:
        if _is_bool(value):
            raise TypeError
        number = operator.index(value)
    except TypeError:
        raise ValueError(f"{name} must be a whole number, not {shown(value)}") from None
    if at_least is not None and number < at_least:
        raise ValueError(f"{name} must be at least {at_least}, not {number}")
    return number


def number(name: str, value: Any) -> int | float:
    """`value` as a float, or as an int if it is one.

    Raises:
        ValueError: naming the argument: a bool, a string.
    """
    scalar = isinstance(value, Tensor | np.ndarray) and value.ndim == 0
    value = value.item() if scalar else value
    if _is_bool(value) or not isinstance(value, numbers.Real):
        raise ValueError(f"{name} must be a number, not {shown(value)}")
    return int(value) if isinstance(value, numbers.Integral) else float(value)


def flag(name: str, value: Any) -> bool:
    """`value` as a bool.

    Raises:
        ValueError: naming the argument: a string such as "no" would count as true.
    """
    if not isinstance(value, bool | np.bool_):
        raise ValueError(f"{name} must be True or False, not {shown(value)}")
    return bool(value)


def pair(name: str, value: Any, at_least: int | None = None) -> tuple[int, int]:
    """(rows, columns) out of one whole number, which is for both, or of two.

    Raises:
        ValueError: naming the argument.
    """
    several = items(value)
    if several is None:
        return (whole(name, value, at_least),) * 2
    if len(several) != 2:
        raise ValueError(f"{name} must be a whole number, or two, not {shown(value)}")
    first, second = (whole(name, one, at_least) for one in several)
    return first, second


def pixel_of(value: Any) -> tuple[int, int]:
    """A pixel (row, column) as two ints; where it lies is not looked at.

    Raises:
        ValueError: it is not two whole numbers.
    """
    several = items(value)
    if several is None or len(several) != 2:
        raise ValueError(f"pixel must be (row, column), not {shown(value)}")
    row, column = (whole("pixel (row, column)", one) for one in several)
    return row, column


def class_of(value: Any, classes: int, name: str = "target") -> int:
    """A class id as an int.

    Raises:
        ValueError: it is a name, no whole number, or outside 0 … classes − 1.
    """
    if isinstance(value, str):
        raise ValueError(
            f"{name} must be a class's id, 0 … {classes - 1}, not {value!r}: the network knows no names; "
            "with a data set's labels, give labels.names.index(NAME)"
        )
    found = whole(name, value)
    if not 0 <= found < classes:
        raise ValueError(f"{name} {found} is outside the classes 0 … {classes - 1}")
    return found


def image_tensor(name: str, image: Any) -> Tensor:
    """`image`, if it is a tensor of floats.

    Raises:
        ValueError: it is NumPy's or a picture, with the call that makes a tensor of it; or its values are whole
            numbers, 0 … 255 perhaps, and not normalised.
    """
    if isinstance(image, np.ndarray):
        looks_like_a_picture = image.ndim == 3 and image.shape[-1] in (1, 3, 4)
        axes = ".permute(2, 0, 1)" if looks_like_a_picture else ""
        what = name if name.isidentifier() else "…"
        why = ", as its axes look like height × width × colours" if looks_like_a_picture else ""
        raise ValueError(
            f"{name} must be a tensor, not an array of NumPy: torch.from_numpy({what}){axes}{why}; then normalise it"
        )
    if isinstance(image, list | tuple):
        raise ValueError(
            f"{name} must be one tensor, not a {type(image).__name__}: torch.stack puts images together"
        )
    if not isinstance(image, Tensor):
        raise ValueError(
            f"{name} must be a tensor (channels, height, width), not a {type(image).__name__}: "
            "gcnlab.datasets.read_image reads a picture's file, torch.from_numpy takes an array"
        )
    if not image.is_floating_point():
        raise ValueError(
            f"{name} must hold the normalised values that the model takes, not {image.dtype}: normalise first "
            "(gcnlab.datasets.Normalization)"
        )
    return image


def items(value: Any) -> list | None:
    """What a list, a tuple, or an array with one axis holds; None for anything else."""
    if isinstance(value, np.ndarray | torch.Tensor) and value.ndim == 1:
        return list(value)
    return list(value) if isinstance(value, list | tuple) else None


def nearest(name: str, known: Iterable[str]) -> str:
    """ "; did you mean …?" for the known name that is most like `name`; empty if none is."""
    found = difflib.get_close_matches(str(name), list(known), n=1)
    return f"; did you mean {found[0]}?" if found else ""


def shown(value: Any) -> str:
    """A value in a message: short, and in one line."""
    text = " ".join(repr(value).split())
    return text if len(text) <= 60 else f"{text[:57]}…"


def first_line(error: BaseException) -> str:
    """An error's first line, not too long."""
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return lines[0] if len(lines[0]) <= 160 else f"{lines[0][:157]}…"


def _is_bool(value: Any) -> bool:
    return isinstance(value, bool | np.bool_) or getattr(value, "dtype", None) in (bool, torch.bool)
