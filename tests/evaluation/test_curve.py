"""The trimap curve against brute force, and against the scores that it passes through."""

import numpy as np
import pytest
import torch

from gcnlab.evaluation import ConfusionMatrix, DistanceCounts, boundary_distance
from gcnlab.plots import plot_distance_curves

CLASSES = 3


def maps(seed: int, height: int = 17, width: int = 23) -> tuple[np.ndarray, np.ndarray]:
    """Predictions, and labels in blocks with some void."""
    rng = np.random.default_rng(seed)
    blocks = rng.integers(0, CLASSES, (height // 5 + 1, width // 6 + 1))
    labels = np.kron(blocks, np.ones((5, 6), dtype=int))[:height, :width]
    labels[rng.random(labels.shape) < 0.02] = 255
    predicted = np.where(
        rng.random(labels.shape) < 0.6, labels % CLASSES, rng.integers(0, CLASSES, labels.shape)
    )
    return predicted.astype(np.uint8), labels.astype(np.uint8)


def nearest_other(labels: np.ndarray) -> np.ndarray:
    """Distance to the nearest pixel of another label, pair by pair."""
    places = np.stack(np.mgrid[: labels.shape[0], : labels.shape[1]], -1).reshape(-1, 2)
    ids = labels.reshape(-1)
    squares = ((places[:, None] - places[None]) ** 2).sum(-1).astype(float)
    squares[ids[:, None] == ids[None]] = np.inf
    return np.sqrt(squares.min(1)).reshape(labels.shape)


def counted(*pairs, farthest: int) -> DistanceCounts:
    counts = DistanceCounts(CLASSES, farthest)
    for pair in pairs:
        predicted, labels = map(torch.from_numpy, pair)
        counts.update(predicted, labels, boundary_distance(labels))
    return counts


def test_every_point_against_brute_force():
    pairs = [maps(0), maps(1, 12, 30)]
    curve = counted(*pairs, farthest=4).curve()
    predicted, labels = (np.concatenate([p[i].ravel() for p in pairs]) for i in (0, 1))
    distance = np.concatenate([nearest_other(labels).ravel() for _, labels in pairs])
    right, valid = predicted == labels, labels != 255
    assert curve.distance == (1, 2, 3, 4)
    for i, d in enumerate(curve.distance):
        near = valid & (distance <= d)
        assert curve.within[i] == pytest.approx(100 * right[near].mean())
        ring = near & (distance > d - 1)
        assert curve.at[i] == pytest.approx(100 * right[ring].mean())
        assert curve.pixels_within[i] == near.sum()
        ious = [
            (near & right & (labels == c)).sum() / (near & ((labels == c) | (predicted == c))).sum()
            for c in range(CLASSES)
        ]
        assert curve.miou_within[i] == pytest.approx(100 * np.mean(ious))
    far = valid & (distance > 4)
    assert far.any()
    assert curve.beyond == pytest.approx(100 * right[far].mean())
    assert curve.pixels_beyond + curve.pixels_within[-1] == valid.sum()


def test_all_bins_together_are_the_whole_confusion_matrix():
    predicted, labels = map(torch.from_numpy, maps(3))
    whole = ConfusionMatrix(CLASSES).update(predicted, labels)
    assert torch.equal(counted(maps(3), farthest=2).counts.sum(0), whole.counts)


def test_without_a_boundary_everything_is_beyond():
    one = np.ones((3, 4), dtype=np.uint8)
    curve = counted((one, one), farthest=2).curve()
    assert np.isnan(curve.within).all()
    assert (curve.beyond, curve.pixels_beyond) == (100, 12)


def test_a_curve_has_a_point():
    with pytest.raises(ValueError, match="at least 1"):
        DistanceCounts(CLASSES, 0)


def test_the_figure_has_a_line_per_network():
    figure = plot_distance_curves({"base": (50.0, 60.0, 70.0), "GCN": (55.0, 66.0, 77.0)}, 7)
    (axis,) = figure.axes
    lines = {line.get_label(): line for line in axis.lines}
    assert lines["GCN"].get_xydata().tolist() == [[1, 55], [2, 66], [3, 77]]
    assert lines["base"].get_ydata().tolist() == [50, 60, 70]
    assert "px" in axis.get_xlabel()
    assert "%" in axis.get_ylabel()
