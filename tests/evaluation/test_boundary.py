"""Distance to the boundary against its definition: the nearest pixel of another label."""

import jaxtyping
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torchvision import tv_tensors

from gcnlab.evaluation import boundary_distance, boundary_mask

NORMS = {
    "euclidean": lambda rows, columns: np.hypot(rows, columns),
    "chebyshev": lambda rows, columns: np.maximum(abs(rows), abs(columns)),
    "cityblock": lambda rows, columns: abs(rows) + abs(columns),
}


@pytest.fixture
def untyped(monkeypatch):
    """The function without jaxtyping's checks, as users call it."""
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)


def definition(labels: torch.Tensor, norm: str, void: str, ignore_index: int = 255) -> torch.Tensor:
    """For each pixel the minimum, over the pixels of another label, of the distance between the two."""
    ids = labels.numpy()
    distances = np.full(ids.shape, np.inf, np.float32)
    for row, column in np.ndindex(ids.shape):
        if ids[row, column] == ignore_index:
            distances[row, column] = np.nan
            continue
        other = ids != ids[row, column]
        if void == "blank":
            other &= ids != ignore_index
        if other.any():
            rows, columns = np.nonzero(other)
            distances[row, column] = NORMS[norm](rows - row, columns - column).min()
    return torch.from_numpy(distances)


@st.composite
def label_maps(draw) -> torch.Tensor:
    """Small maps of a few rectangles, some of them void, some one pixel wide or at the border."""
    height, width = draw(st.integers(1, 9)), draw(st.integers(1, 9))
    labels = torch.full((height, width), draw(st.sampled_from([0, 3, 255])), dtype=torch.uint8)
    for _ in range(draw(st.integers(0, 5))):
        top, left = draw(st.integers(0, height - 1)), draw(st.integers(0, width - 1))
        bottom, right = draw(st.integers(top + 1, height)), draw(st.integers(left + 1, width))
        labels[top:bottom, left:right] = draw(st.sampled_from([0, 1, 2, 255]))
    return labels


def halves(height: int = 5, width: int = 40) -> torch.Tensor:
    """Class 0 on the left, 1 on the right of a straight edge."""
    labels = torch.zeros(height, width, dtype=torch.uint8)
    labels[:, width // 2 :] = 1
    return labels


# --- Against the definition


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("void", ["edge", "blank"])
@settings(max_examples=60, deadline=None)
@given(labels=label_maps())
def test_the_distance_is_its_definition(norm, void, labels):
    distance = boundary_distance(labels, norm=norm, void=void)
    assert torch.allclose(distance, definition(labels, norm, void), equal_nan=True)


@settings(max_examples=30, deadline=None)
@given(labels=label_maps(), limit=st.floats(0.5, 6))
def test_the_mask_is_where_the_distance_is_small(labels, limit):
    expected = definition(labels, "euclidean", "edge") <= limit
    assert torch.equal(boundary_mask(labels, limit), expected)


@settings(max_examples=30, deadline=None)
@given(labels=label_maps())
def test_boundary_and_interior_are_all_but_void(labels):
    near, labelled = boundary_mask(labels, 2), labels != 255
    assert not (near & ~labelled).any()
    assert torch.equal(near | (~near & labelled), labelled)


# --- By hand


def test_a_straight_edge_has_seven_columns_on_each_side():
    assert boundary_mask(halves())[0].nonzero().flatten().tolist() == list(range(13, 27))


@pytest.mark.parametrize("distance", [1, 2.5, 3, 100])
def test_the_distance_sets_the_width(distance):
    columns = boundary_mask(halves(), distance)[0].sum().item()
    assert columns == min(40, 2 * int(distance))


def test_a_pixel_that_touches_another_label_has_distance_1():
    assert boundary_distance(halves(1, 6)).tolist() == [[3, 2, 1, 1, 2, 3]]


@pytest.mark.parametrize(
    ("norm", "inside"), [("euclidean", 29), ("chebyshev", 49), ("cityblock", 25)]
)
def test_the_norms_are_a_disc_a_square_and_a_diamond(norm, inside):
    """Around one pixel, up to distance 3: that many pixels, itself among them."""
    labels = torch.zeros(11, 11, dtype=torch.uint8)
    labels[5, 5] = 1
    assert boundary_mask(labels, 3, norm=norm).sum() == inside


@pytest.mark.parametrize(
    ("void", "expected"),
    [
        ("edge", [2, 1, float("nan"), float("nan"), 1, 1, 2]),
        ("blank", [5, 4, float("nan"), float("nan"), 1, 1, 2]),
    ],
)
def test_void_is_an_edge_or_looked_through(void, expected):
    labels = torch.tensor([[0, 0, 255, 255, 0, 1, 1]])
    assert boundary_distance(labels, void=void)[0].tolist() == pytest.approx(expected, nan_ok=True)


def test_the_border_of_the_image_is_no_boundary():
    labels = torch.full((9, 9), 4)
    assert boundary_distance(labels).isposinf().all()
    assert not boundary_mask(labels).any()


def test_an_image_of_void_has_no_boundary():
    labels = torch.full((3, 4), 255)
    assert boundary_distance(labels).isnan().all()
    assert not boundary_mask(labels).any()


def test_beside_void_alone_a_class_has_a_boundary_only_if_void_is_an_edge():
    labels = torch.tensor([[2, 2, 255]])
    assert boundary_mask(labels).tolist() == [[True, True, False]]
    assert not boundary_mask(labels, void="blank").any()


@pytest.mark.parametrize("ignore_index", [-1, 0])
def test_another_id_can_be_void(ignore_index):
    labels = torch.tensor([[ignore_index, 1, 1, 2]])
    expected = definition(labels, "euclidean", "edge", ignore_index)
    found = boundary_distance(labels, ignore_index)
    assert torch.allclose(found, expected, equal_nan=True)


# --- Shapes and types


@pytest.mark.parametrize("batch", [(2,), (1,), (2, 3)])
def test_images_of_a_batch_are_measured_each_for_itself(batch):
    generator = torch.Generator().manual_seed(0)
    labels = torch.randint(0, 3, (*batch, 5, 6), generator=generator)
    distance = boundary_distance(labels)
    assert distance.shape == labels.shape
    for place in np.ndindex(batch):
        assert torch.equal(distance[place], definition(labels[place], "euclidean", "edge"))


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int32, torch.int64])
def test_any_integers_are_labels(dtype):
    assert torch.equal(boundary_distance(halves().to(dtype)), boundary_distance(halves()))


def test_label_maps_of_a_data_set_are_taken_as_they_come():
    assert torch.equal(boundary_mask(tv_tensors.Mask(halves()), 3), boundary_mask(halves(), 3))


def test_types_of_the_answers():
    assert boundary_distance(halves()).dtype == torch.float32
    assert boundary_mask(halves()).dtype == torch.bool


def test_an_empty_batch_has_an_empty_answer():
    assert boundary_mask(torch.zeros(0, 4, 5).long()).shape == (0, 4, 5)


# --- Errors


@pytest.mark.parametrize("distance", [0, -1, float("nan")])
def test_a_distance_that_is_not_positive_is_refused(distance):
    with pytest.raises(ValueError, match="distance must be positive"):
        boundary_mask(halves(), distance)


@pytest.mark.usefixtures("untyped")
@pytest.mark.parametrize("argument", ["norm", "void"])
def test_an_unknown_rule_is_named(argument):
    with pytest.raises(ValueError, match=f"unknown {argument}.*'manhattan'"):
        boundary_mask(halves(), **{argument: "manhattan"})
