import pytest
import torch

from gcnlab.exercises import assert_same

MAP = torch.arange(1.0, 65.0).reshape(8, 8)


def changed(rows, columns):
    other = MAP.clone()
    other[rows, columns] += 1
    return other


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        (MAP, MAP),
        (MAP.requires_grad_(False) + 1e-7, MAP),
        (torch.tensor([float("nan")]), torch.tensor([float("nan")])),
        (torch.tensor(3), 3),
        (0.1 + 0.2, 0.3),
        ([3, 0], (3, 0)),
        (None, None),
    ],
)
def test_what_is_the_same_passes(found, expected):
    assert_same(found, expected, "it")


@pytest.mark.parametrize(
    ("found", "expected", "message"),
    [
        (None, MAP, "it is None: is the `return` missing"),
        (..., 3, "still `...`"),
        (5, None, "it is 5, but should be None"),
        (3.0, MAP, "it is a float, not a tensor"),
        ("3", 3, "it is a str, not a number"),
        (4, 3, "it is 4, but should be 3"),
        (40.0, 0.4, "not a percentage"),
        (float("nan"), 0.4, "it is nan"),
        ((0, 3), (3, 0), "numbers are right, but in the wrong order"),
        ((1, 3), (3, 0), r"it\[0\] is 1, but should be 3"),
        ((1,), (3, 0), "has 1 items, not 2"),
        (7, (3, 0), "it is a int, not a tuple"),
        (MAP[:4], MAP, r"shape \(4, 8\), not \(8, 8\)"),
        (MAP[:4].T, MAP[:4], "rows and columns are exchanged"),
        (MAP.T, MAP, "has rows and columns exchanged"),
        (-MAP, MAP, "has the wrong sign"),
        (MAP / 4, MAP, "is 0.25 times the expected value"),
        (0 * MAP, MAP, "is zero everywhere"),
        (
            changed(3, 4),
            MAP,
            r"at 1 of 64 positions; at the first, \[3, 4\], it is 30, but should be 29$",
        ),
        (changed(slice(0, 2), slice(None)), MAP, "within 2 of the border"),
        (MAP > 5, MAP <= 5, "is inverted"),
        (MAP, MAP > 5, "holds torch.float32 values, not True and False"),
    ],
)
def test_what_differs_is_named(found, expected, message):
    with pytest.raises(AssertionError, match=message):
        assert_same(found, expected, "it")


def test_a_wrong_map_is_not_blamed_on_its_border():
    with pytest.raises(AssertionError) as error:
        assert_same(changed(slice(0, 4), slice(None)), MAP, "it")
    assert "border" not in str(error.value)
