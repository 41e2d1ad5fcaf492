"""Label sets, their colours, and the check for ids that mean nothing."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from gcnlab.datasets import CAMVID, IGNORE, SHAPES, LabelSet, check_labels

THREE = LabelSet(("sky", "road", "car"), ((10, 20, 30), (40, 50, 60), (70, 80, 90)))
WHITE = (255, 255, 255)


def test_void_is_255():
    assert IGNORE == 255


def test_classes_are_counted():
    assert THREE.num_classes == 3
    assert CAMVID.num_classes == 11
    assert SHAPES.num_classes == 7


def test_names_and_colours_must_be_as_many():
    with pytest.raises(ValueError, match="2 names but 1 colours"):
        LabelSet(("sky", "road"), ((0, 0, 0),))


@pytest.mark.parametrize("labels", [CAMVID, SHAPES])
def test_no_two_classes_share_a_name_or_a_colour(labels):
    assert len(set(labels.names)) == len({*labels.colors, WHITE}) - 1 == labels.num_classes


# --- colorize


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int64])
def test_each_class_gets_its_colour_and_void_is_white(dtype):
    picture = THREE.colorize(torch.tensor([[0, 1, 2], [2, 255, 0]], dtype=dtype))
    assert picture.dtype == torch.uint8
    assert picture.tolist() == [
        [[10, 20, 30], [40, 50, 60], [70, 80, 90]],
        [[70, 80, 90], [255, 255, 255], [10, 20, 30]],
    ]


# --- check_labels


@settings(max_examples=50, deadline=None)
@given(
    arrays("uint8", st.tuples(st.integers(1, 4), st.integers(1, 4)), elements=st.integers(0, 255))
)
def test_exactly_classes_and_void_pass(ids):
    wrong = set(ids.flatten().tolist()) - {0, 1, 2, 255}
    if wrong:
        with pytest.raises(ValueError, match="out of range"):
            check_labels(torch.from_numpy(ids), 3, "a.png")
    else:
        check_labels(torch.from_numpy(ids), 3, "a.png")


def test_the_message_names_the_file_the_ids_and_the_classes():
    with pytest.raises(ValueError, match=r"a\.png: label ids 3, 254 .*0 … 2, void is 255"):
        check_labels(torch.tensor([[0, 3], [254, 255]]), 3, "a.png")


def test_of_many_wrong_ids_five_are_shown():
    with pytest.raises(ValueError, match=r"ids 3, 4, 5, 6, 7, … are"):
        check_labels(torch.arange(100), 3, "a.png")


def test_a_negative_id_is_out_of_range():
    with pytest.raises(ValueError, match=r"a\.png.*-1"):
        check_labels(torch.tensor([[-1, 0]]), 3, "a.png")
