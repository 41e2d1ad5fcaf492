"""The confusion matrix against torchmetrics, a hand computation, and itself in pieces."""

import jaxtyping
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torchmetrics.classification import MulticlassJaccardIndex

from gcnlab.evaluation import ConfusionMatrix

nan = float("nan")


@pytest.fixture
def untyped(monkeypatch):
    """The class without jaxtyping's checks, as users call it."""
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)


@st.composite
def scored_pixels(draw, classes: int = 4):
    """Predictions, and labels with some void; some classes are in neither."""
    size = draw(st.integers(0, 60))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    present = draw(st.lists(st.integers(0, classes - 1), min_size=1, unique=True))
    predictions = torch.from_numpy(rng.choice(present, size))
    labels = torch.from_numpy(rng.choice([*present, 255], size))
    return predictions, labels


def score(predictions, labels, classes: int = 3, ignore_index: int = 255) -> ConfusionMatrix:
    return ConfusionMatrix(classes, ignore_index).update(
        torch.tensor(predictions, dtype=torch.int64), torch.tensor(labels, dtype=torch.int64)
    )


# --- By hand


def test_scores_by_hand():
    """Six labelled pixels, four of them right; the void pixel's prediction does not count."""
    matrix = score([0, 0, 1, 1, 1, 2, 2], [0, 0, 0, 1, 1, 1, 255])
    assert matrix.counts.tolist() == [[2, 1, 0], [0, 2, 1], [0, 0, 0]]
    assert matrix.iou().tolist() == pytest.approx([2 / 3, 2 / 4, 0])
    assert matrix.miou() == pytest.approx((2 / 3 + 2 / 4 + 0) / 3)
    assert matrix.accuracy() == pytest.approx(4 / 6)
    assert matrix.class_accuracy().tolist() == pytest.approx([2 / 3, 2 / 3, nan], nan_ok=True)


def test_scores_are_taken_over_the_whole_set_not_averaged_over_images():
    matrix = score([0, 0], [0, 1])  # IoU of class 0: 1/2 here
    matrix.update(torch.tensor([0, 0, 0, 1]), torch.tensor([0, 0, 0, 1]))  # 3/3 here
    assert matrix.iou()[0].item() == pytest.approx(4 / 5)


def test_a_class_in_neither_has_no_score_and_is_left_out_of_the_mean():
    matrix = score([0, 1, 1], [0, 0, 1])
    assert matrix.iou().tolist() == pytest.approx([1 / 2, 1 / 2, nan], nan_ok=True)
    assert matrix.miou() == pytest.approx(1 / 2)


def test_a_class_that_is_only_predicted_counts_as_zero():
    assert score([2, 0], [0, 0]).miou() == pytest.approx((1 / 2 + 0) / 2)


def test_all_void_is_no_score():
    matrix = score([0, 1], [255, 255])
    assert matrix.counts.sum() == 0
    assert np.isnan(
        [matrix.miou(), matrix.accuracy(), *matrix.iou(), *matrix.class_accuracy()]
    ).all()


def test_void_is_not_looked_at():
    """Neither its own id nor what is predicted there has to be a class."""
    assert score([7, 1], [255, 1]).accuracy() == 1


@pytest.mark.parametrize("ignore_index", [-1, 0])
def test_another_id_can_be_void(ignore_index):
    labels = [ignore_index, 1, 2, 2]
    assert score([1, 1, 2, 1], labels, ignore_index=ignore_index).accuracy() == pytest.approx(2 / 3)


def test_a_fresh_matrix_has_no_score():
    assert np.isnan(ConfusionMatrix(3).miou())


# --- Against torchmetrics


@settings(max_examples=60, deadline=None)
@given(scored_pixels())
def test_the_mean_is_torchmetrics(pair):
    predictions, labels = pair
    matrix = ConfusionMatrix(4).update(predictions, labels)
    if (labels != 255).any():  # without any, torchmetrics says 0
        reference = MulticlassJaccardIndex(4, ignore_index=255)
        assert matrix.miou() == pytest.approx(reference(predictions, labels).item(), abs=1e-6)


@settings(max_examples=60, deadline=None)
@given(scored_pixels())
def test_the_classes_are_torchmetrics(pair):
    """For a class in neither, torchmetrics gives 0, and we give NaN."""
    predictions, labels = pair
    ours = ConfusionMatrix(4).update(predictions, labels).iou()
    theirs = MulticlassJaccardIndex(4, average=None, ignore_index=255)(predictions, labels)
    valid = labels != 255
    present = torch.cat([predictions[valid], labels[valid]]).unique()
    assert torch.allclose(ours[present].float(), theirs[present])
    assert ours.isfinite().sum() == len(present)


# --- In pieces


@settings(max_examples=40, deadline=None)
@given(scored_pixels(), st.lists(st.integers(0, 60), max_size=3))
def test_pieces_add_up_to_the_whole(pair, cuts):
    predictions, labels = pair
    whole = ConfusionMatrix(4).update(predictions, labels)
    pieces = ConfusionMatrix(4)
    for p, l in zip(*(x.tensor_split(sorted(cuts)) for x in pair), strict=True):  # noqa: E741
        pieces.update(p, l)
    assert torch.equal(whole.counts, pieces.counts)


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int32, torch.int64])
def test_shape_and_type_do_not_matter(dtype):
    predictions, labels = torch.tensor([0, 1, 2, 0, 1, 2]), torch.tensor([0, 1, 1, 0, 255, 2])
    shaped = ConfusionMatrix(3).update(
        predictions.reshape(1, 2, 3).to(dtype), labels.reshape(1, 2, 3).to(torch.uint8)
    )
    assert torch.equal(shaped.counts, ConfusionMatrix(3).update(predictions, labels).counts)


def test_many_classes_fit_into_small_types():
    """150 · 150 overflows the uint8 that the ids come in."""
    ids = torch.tensor([149, 0], dtype=torch.uint8)
    matrix = ConfusionMatrix(150).update(ids, ids)
    assert matrix.counts[149, 149] == 1
    assert matrix.miou() == 1


def test_the_arguments_are_not_changed():
    predictions, labels = torch.tensor([0, 1]), torch.tensor([255, 1])
    ConfusionMatrix(2).update(predictions, labels)
    assert (predictions.tolist(), labels.tolist()) == ([0, 1], [255, 1])


# --- Errors


@pytest.mark.usefixtures("untyped")
def test_shapes_that_differ_are_named():
    with pytest.raises(ValueError, match=r"\(2, 3\) and labels \(3, 2\)"):
        ConfusionMatrix(3).update(torch.zeros(2, 3).long(), torch.zeros(3, 2).long())


def test_scores_in_place_of_ids_are_refused():
    with pytest.raises(ValueError, match="argmax"):
        ConfusionMatrix(3).update(torch.rand(4), torch.zeros(4).long())


@pytest.mark.parametrize("wrong", [-1, 3, 254])
def test_a_label_out_of_range_is_named(wrong):
    with pytest.raises(ValueError, match=rf"labels contain ids \[{wrong}\]: classes are 0 … 2"):
        score([0, 0], [1, wrong])


@pytest.mark.parametrize("wrong", [-1, 3, 255])
def test_a_prediction_out_of_range_is_named(wrong):
    with pytest.raises(ValueError, match=rf"predictions contain ids \[{wrong}\]"):
        score([0, wrong], [1, 1])


def test_after_an_error_nothing_was_counted():
    matrix = ConfusionMatrix(2)
    with pytest.raises(ValueError, match="predictions contain ids"):
        matrix.update(torch.tensor([0, 5]), torch.tensor([0, 0]))
    assert matrix.counts.sum() == 0
