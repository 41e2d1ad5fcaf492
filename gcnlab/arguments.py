"""Validate arguments and settings: each error is one line that names the argument and the fix.

Numbers may come from Python, NumPy or PyTorch. The result is always a Python number, which can be
compared, printed and written to JSON. `True` is not accepted as a number, nor 2.0 as an integer.
This module does not import PyTorch, so that settings and `--help` load quickly.
"""

import difflib
import math
import numbers
import operator
from collections.abc import Iterable
from typing import Any

import numpy as np

Whole = int | Any
"""An integer in a signature, also one of NumPy. `whole` checks it, so that the error names the argument."""
Pair = int | tuple[int, int] | Any
"""One integer, or two: (rows, columns)."""
Pixel = tuple[int, int] | Any
"""A pixel: (row, column)."""


def whole(name: str, value: Any, at_least: int | None = None) -> int:
    """Return `value`, an integer of Python or NumPy or a tensor with one integer, as an int.

    Raises:
        ValueError: `value` is a bool, a float or a string, or is less than `at_least`.
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
    """Return `value` as an int if it is an integer, else as a float.

    Raises:
        ValueError: `value` is a bool or not a number.
    """
    value = value.item() if getattr(value, "ndim", None) == 0 else value
    if _is_bool(value) or not isinstance(value, numbers.Real):
        raise ValueError(f"{name} must be a number, not {shown(value)}")
    return int(value) if isinstance(value, numbers.Integral) else float(value)


def finite(name: str, value: Any, at_least: int | None = None) -> float:
    """Return `value` as a float.

    Raises:
        ValueError: `value` is not a number, is NaN or infinite, is too large for a float, or is less
            than `at_least`.
    """
    found = number(name, value)
    try:
        found = float(found)
    except OverflowError:
        found = math.inf
    if not math.isfinite(found):
        raise ValueError(f"{name} must be a finite number, not {shown(value)}")
    if at_least is not None and found < at_least:
        raise ValueError(f"{name} must be at least {at_least}, not {found:g}")
    return found


def flag(name: str, value: Any) -> bool:
    """Return `value` as a bool.

    Raises:
        ValueError: `value` is not a bool. (A string such as "no" would count as true.)
    """
    if not isinstance(value, bool | np.bool_):
        raise ValueError(f"{name} must be True or False, not {shown(value)}")
    return bool(value)


def pair(name: str, value: Any, at_least: int | None = None) -> tuple[int, int]:
    """Return (rows, columns). One integer stands for both.

    Raises:
        ValueError: `value` is not one or two integers, or one is less than `at_least`.
    """
    several = items(value)
    if several is None:
        return (whole(name, value, at_least),) * 2
    if len(several) != 2:
        raise ValueError(f"{name} must be a whole number, or two, not {shown(value)}")
    first, second = (whole(name, one, at_least) for one in several)
    return first, second


def pixel_of(value: Any) -> tuple[int, int]:
    """Return a pixel (row, column) as two ints. Its position in the image is not checked.

    Raises:
        ValueError: `value` is not two integers.
    """
    several = items(value)
    if several is None or len(several) != 2:
        raise ValueError(f"pixel must be (row, column), not {shown(value)}")
    row, column = (whole("pixel (row, column)", one) for one in several)
    return row, column


def class_of(value: Any, classes: int, name: str = "target") -> int:
    """Return a class id as an int.

    Raises:
        ValueError: `value` is a name, is not an integer, or is outside 0 … classes − 1.
    """
    if isinstance(value, str):
        raise ValueError(
            f"{name} must be a class id, 0 … {classes - 1}, not the name {value!r}; "
            "with the labels of the data set, use labels.names.index(NAME)"
        )
    found = whole(name, value)
    if not 0 <= found < classes:
        raise ValueError(f"{name} {found} is outside the classes 0 … {classes - 1}")
    return found


def items(value: Any) -> list | None:
    """Return the items of a list, a tuple, or a one-dimensional array; None for anything else."""
    if isinstance(value, list | tuple) or getattr(value, "ndim", None) == 1:
        return list(value)
    return None


def nearest(name: str, known: Iterable[str]) -> str:
    """Return "; did you mean …?" with the known name closest to `name`, or "" if none is close."""
    found = difflib.get_close_matches(str(name), list(known), n=1)
    return f"; did you mean {found[0]}?" if found else ""


def shown(value: Any) -> str:
    """Return a value for an error message: short, on one line."""
    text = " ".join(repr(value).split())
    return text if len(text) <= 60 else f"{text[:57]}…"


def first_line(error: BaseException) -> str:
    """Return the first line of an error, at most 160 characters."""
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return lines[0] if len(lines[0]) <= 160 else f"{lines[0][:157]}…"


def _is_bool(value: Any) -> bool:
    dtype = str(getattr(value, "dtype", ""))  # of NumPy or PyTorch, which is not imported here
    return isinstance(value, bool | np.bool_) or dtype in ("bool", "torch.bool")
