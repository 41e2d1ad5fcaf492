"""Label sets, their colours, and the check for unknown ids."""

import re

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from gcnlab.datasets import CAMVID, IGNORE, SHAPES, LabelSet
from gcnlab.datasets.ids import check_ids, check_labels

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


# --- What is no id at all: the same words wherever labels are looked at

IDS = torch.tensor([[0, 1], [2, 255]])


@pytest.mark.parametrize(
    ("labels", "words"),
    [
        (IDS.float(), "labels must be class ids, not float32"),
        (IDS.double() + 0.5, "labels must be class ids, not float64"),
        (IDS > 0, "labels must be class ids, not a mask of bools"),
        (IDS.to(torch.complex64), "not complex64"),
    ],
)
def test_scores_and_masks_are_no_ids(labels, words):
    for call in (
        lambda: check_labels(labels, 3, "a.png"),
        lambda: check_ids(labels, 3, "labels", void=255),
        lambda: THREE.colorize(labels),
    ):
        with pytest.raises(ValueError, match=words):
            call()


@pytest.mark.parametrize("wrong", [-1, 3, 254, 256, 511, -255])
def test_an_id_without_a_colour_is_not_painted(wrong):
    """254 was painted as void, −1 and 511 like other ids."""
    with pytest.raises(
        ValueError, match=rf"labels contain ids \[{wrong}\]: classes are 0 … 2, void"
    ):
        THREE.colorize(torch.tensor([[0, wrong]]))


@pytest.mark.parametrize(
    "dtype", [torch.uint8, torch.int16, torch.int32, torch.int64, torch.uint16, torch.uint32]
)
def test_integers_of_any_size_are_ids(dtype):
    check_ids(IDS.to(dtype), 3, "labels", void=255)
    with pytest.raises(ValueError, match=r"labels contain ids \[2, 255\]: classes are 0 … 1$"):
        check_ids(IDS.to(dtype), 2, "labels")


@settings(max_examples=50, deadline=None)
@given(
    arrays("int16", st.integers(0, 6), elements=st.integers(-3, 260)),
    st.integers(1, 255),
    st.sampled_from([None, 255, 0, -1]),
)
def test_exactly_the_strange_ids_are_named(ids, classes, void):
    wrong = sorted({i for i in ids.tolist() if not 0 <= i < classes and i != void})
    if wrong:
        shown = ", ".join(map(str, wrong[:5])) + (", …" if len(wrong) > 5 else "")
        with pytest.raises(ValueError, match=re.escape(f"contain ids [{shown}]: classes are 0 …")):
            check_ids(torch.from_numpy(ids), classes, "labels", void)
    else:
        check_ids(torch.from_numpy(ids), classes, "labels", void)


def test_a_byte_has_room_for_255_classes():
    LabelSet(tuple(map(str, range(255))), ((0, 0, 0),) * 255)
    with pytest.raises(ValueError, match="256 classes"):
        LabelSet(tuple(map(str, range(256))), ((0, 0, 0),) * 256)
