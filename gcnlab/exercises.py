"""Comparisons for the exercises: they say what is wrong in an answer and where.

They compare a student's answer with the expected one. The AssertionError names the first difference
and recognises common mistakes: no return value, exchanged rows and columns, a wrong sign, a factor,
a border.
"""

from collections.abc import Sequence
from numbers import Number

import torch
from torch import Tensor


def assert_same(found, expected, name: str, tolerance: int | float = 1e-5) -> None:
    """Raise an AssertionError that says what is wrong, unless `found` equals `expected`.

    Args:
        found: the answer.
        expected: a tensor, a number, a sequence of numbers, or None.
        name: the name of the answer in the message.
        tolerance: relative and absolute tolerance of the values.
    """
    if expected is None:
        assert found is None, f"{name} is {_brief(found)}, but should be None"
        return
    assert found is not None, f"{name} is None: is the `return` missing?"
    assert found is not Ellipsis, f"{name} is still `...`: replace it by your answer"
    if isinstance(expected, Tensor):
        _same_tensor(found, expected, name, tolerance)
    elif isinstance(expected, Sequence) and not isinstance(expected, str):
        _same_sequence(found, expected, name, tolerance)
    else:
        _same_number(found, expected, name, tolerance)


def _same_number(found, expected: Number, name: str, tolerance: int | float) -> None:
    if isinstance(found, Tensor) and found.numel() == 1:
        found = found.item()
    assert isinstance(found, Number), f"{name} is a {type(found).__name__}, not a number"
    if torch.isclose(
        torch.tensor(float(found)),
        torch.tensor(float(expected)),
        tolerance,
        tolerance,
        equal_nan=True,
    ):
        return
    percent = float(found) == 100 * expected or abs(found - 100 * expected) < 100 * tolerance
    hint = " (give a fraction from 0 to 1, not a percentage)" if percent and expected else ""
    raise AssertionError(f"{name} is {found:g}, but should be {expected:g}{hint}")


def _same_sequence(found, expected: Sequence, name: str, tolerance: int | float) -> None:
    assert isinstance(found, Sequence), f"{name} is a {type(found).__name__}, not a tuple"
    assert len(found) == len(expected), f"{name} has {len(found)} items, not {len(expected)}"
    if list(found) == list(expected)[::-1] != list(expected):
        raise AssertionError(
            f"{name} is {tuple(found)}: the numbers are right, but in the wrong order"
        )
    for number, (one, other) in enumerate(zip(found, expected)):
        _same_number(one, other, f"{name}[{number}]", tolerance)


def _same_tensor(found, expected: Tensor, name: str, tolerance: int | float) -> None:
    assert isinstance(found, Tensor), f"{name} is a {type(found).__name__}, not a tensor"
    found = found.detach()
    if found.shape != expected.shape:
        turned = found.ndim >= 2 and found.shape == expected.mT.shape
        hint = ": rows and columns are exchanged" if turned else ""
        raise AssertionError(
            f"{name} has shape {tuple(found.shape)}, not {tuple(expected.shape)}{hint}"
        )
    if expected.dtype == torch.bool:
        assert found.dtype == torch.bool, f"{name} holds {found.dtype} values, not True and False"
        assert not torch.equal(found, ~expected) or not expected.numel(), (
            f"{name} is inverted: it is True where it should be False"
        )
    found, expected = found.double(), expected.double()
    wrong = ~torch.isclose(found, expected, tolerance, tolerance, equal_nan=True)
    if wrong.any():
        raise AssertionError(
            f"{name} {_slip(found, expected, tolerance) or _place(found, expected, wrong)}"
        )


def _slip(found: Tensor, expected: Tensor, tolerance: int | float) -> str:
    """Describe a single mistake that explains all differences; "" if there is none."""

    def explains(other: Tensor) -> bool:
        return other.shape == expected.shape and torch.allclose(
            other, expected, tolerance, tolerance
        )

    if not found.any():
        return "is zero everywhere"
    if explains(-found):
        return "has the wrong sign"
    if found.ndim >= 2 and explains(found.mT):
        return "has rows and columns exchanged"
    factor = (found * expected).sum() / (found * found).sum()
    if factor != 0 and explains(found * factor):
        return f"is {1 / factor.item():.3g} times the expected value everywhere"
    return ""


def _place(found: Tensor, expected: Tensor, wrong: Tensor) -> str:
    """Describe how many values are wrong, and the first one."""
    first = tuple(wrong.nonzero()[0].tolist())
    text = (
        f"is wrong at {int(wrong.sum())} of {wrong.numel()} positions; "
        f"at the first, {list(first)}, it is {found[first]:.4g}, but should be {expected[first]:.4g}"
    )
    if wrong.ndim >= 2 and (depth := _border(wrong)):
        text += f". All of them are within {depth} of the border: what happens there?"
    return text


def _border(wrong: Tensor) -> int:
    """Width of the border that contains all wrong positions; 0 if the border is most of the map."""
    height, width = wrong.shape[-2:]
    rows, columns = wrong.reshape(-1, height, width).any(0).nonzero().T
    depth = (
        torch.stack([rows, columns, height - 1 - rows, width - 1 - columns]).amin(0).max().item()
        + 1
    )
    return (
        depth
        if (height - 2 * depth) * (width - 2 * depth) > 0 and 4 * depth <= min(height, width)
        else 0
    )


def _brief(value) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "…"
