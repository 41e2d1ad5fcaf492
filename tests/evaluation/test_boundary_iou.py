"""Boundary IoU against erosions of each class's mask, as its authors' code has it, and by hand."""

import numpy as np
import pytest
import torch
from scipy import ndimage

from gcnlab.evaluation import BandRule, BoundaryIoU
from gcnlab.evaluation.boundary_iou import class_bands

CLASSES = 4


def authors_band(mask: np.ndarray, width: int, image_border: bool) -> np.ndarray:
    """`mask_to_boundary` of boundary-iou-api: the mask without its erosion by d squares of 3×3, after a
    frame of zeros; here with scipy in the place of OpenCV."""
    square = np.ones((3, 3), dtype=bool)
    framed = np.pad(mask, 1, constant_values=False)
    eroded = ndimage.binary_erosion(framed, square, iterations=width)[1:-1, 1:-1]
    if not image_border:
        eroded = ndimage.binary_erosion(mask, square, iterations=width, border_value=1)
    return mask & ~eroded


def maps(seed: int, height: int = 21, width: int = 33) -> tuple[torch.Tensor, torch.Tensor]:
    """Predictions and labels in blobs, with void in the labels; class 3 is not predicted."""
    rng = np.random.default_rng(seed)
    smooth = ndimage.gaussian_filter(rng.normal(size=(CLASSES, height, width)), (0, 3, 3))
    labels = smooth.argmax(0)
    moved = ndimage.gaussian_filter(rng.normal(size=(CLASSES, height, width)), (0, 3, 3))
    predicted = (smooth + 0.5 * moved)[:3].argmax(0)
    labels[ndimage.gaussian_filter(rng.normal(size=labels.shape), 2) > 0.2] = 255
    return torch.from_numpy(predicted.astype(np.uint8)), torch.from_numpy(labels.astype(np.uint8))


@pytest.mark.parametrize("image_border", [True, False])
@pytest.mark.parametrize("width", [1, 2, 5, 40])
def test_the_bands_of_all_classes_at_once_are_those_of_each_mask(width, image_border):
    labels = maps(0)[1]
    found = class_bands(labels, width, image_border).numpy()
    for c in [*range(CLASSES), 255]:
        mask = (labels == c).numpy()
        assert mask.any()
        assert np.array_equal(found & mask, authors_band(mask, width, image_border))


@pytest.mark.parametrize("image_border", [True, False])
@pytest.mark.parametrize("share", [0.02, 0.06])
def test_against_each_class_on_its_own(share, image_border):
    """Summed over two images of two sizes, with void cut out of both masks."""
    rule, pairs = BandRule(share, image_border), [maps(1), maps(2, 40, 30)]
    both, either = np.zeros(CLASSES), np.zeros(CLASSES)
    score = BoundaryIoU(CLASSES, rule)
    for predicted, labels in pairs:
        score.update(predicted, labels)
        width = max(1, round(share * np.hypot(*labels.shape)))
        void = (labels == 255).numpy()
        for c in range(CLASSES):
            true = authors_band((labels == c).numpy(), width, image_border)
            ours = authors_band((predicted == c).numpy() & ~void, width, image_border)
            both[c] += (true & ours).sum()
            either[c] += (true | ours).sum()
    assert np.allclose(score.iou().numpy(), both / either)
    assert score.mean() == pytest.approx(np.mean(both / either))
    assert score.iou()[3] == 0  # labelled, and never predicted


def test_by_hand():
    """A square of 4 and the same moved by a pixel, bands of 1: rings of 12 that share 6 pixels."""
    labels, predicted = (torch.zeros(9, 9, dtype=torch.uint8) for _ in range(2))
    labels[2:6, 2:6] = 1
    predicted[2:6, 3:7] = 1
    score = BoundaryIoU(2, BandRule(0.01)).update(predicted, labels)
    assert score.counts[:, 1].tolist() == [12, 12, 6]
    assert score.iou()[1].item() == pytest.approx(6 / 18)


def test_a_prediction_that_is_right_has_1_whatever_it_says_on_void():
    predicted, labels = maps(4)
    right = torch.where(labels == 255, predicted, labels)
    assert (BoundaryIoU(CLASSES).update(right, labels).iou() == 1).all()


def test_a_class_that_is_nowhere_has_no_score():
    one = torch.ones(1, 5, 5, dtype=torch.uint8)
    score = BoundaryIoU(3).update(one, one)
    assert score.iou().tolist() == pytest.approx([np.nan, 1, np.nan], nan_ok=True)
    assert score.mean() == 1


def test_the_band_is_two_percent_of_the_diagonal():
    assert BandRule().width(1024, 2048) == 46
    assert BandRule().width(375, 500) == 12  # 12.5 is rounded to even, by their code too
    assert BandRule().width(3, 4) == 1


@pytest.mark.parametrize("share", [0.0, -0.1, 1.5])
def test_a_band_without_width_is_refused(share):
    with pytest.raises(ValueError, match=r"band\.share"):
        BandRule(share)


def test_shapes_have_to_agree():
    with pytest.raises(ValueError, match="must have the same shape"):
        BoundaryIoU(2).update(torch.zeros(2, 2).byte(), torch.zeros(2, 3).byte())
