"""Every score rejects an invalid label map with the same error, and counts nothing of it."""

import pytest
import torch

from gcnlab.evaluation import (
    BoundaryIoU,
    ConfusionMatrix,
    DistanceCounts,
    boundary_distance,
    boundary_mask,
)
from gcnlab.evaluation.boundary_iou import class_bands
from gcnlab.evaluation.submission import write_cityscapes, write_voc

GOOD = torch.tensor([[0, 1, 1], [2, 2, 255]])
FAR = torch.tensor([[1.0, 1.0, 1.0], [1.0, 1.0, float("nan")]])

SCORES = {
    "confusion": lambda: ConfusionMatrix(3),
    "boundary IoU": lambda: BoundaryIoU(3),
    "curve": lambda: DistanceCounts(3, 4),
}


def update(score, predictions, labels):
    if isinstance(score, DistanceCounts):
        return score.update(predictions, labels, FAR)
    return score.update(predictions, labels)


def refuses(kind: str, words: str, predictions=GOOD, labels=GOOD) -> None:
    score = SCORES[kind]()
    with pytest.raises(ValueError, match=words):
        update(score, predictions, labels)
    assert score.counts.sum() == 0


def with_id(wrong: int) -> torch.Tensor:
    labels = GOOD.clone()
    labels[0, 1] = wrong
    return labels


@pytest.mark.parametrize("kind", SCORES)
@pytest.mark.parametrize("wrong", [-1, 3, 254, 300])
def test_ids_out_of_range(kind, wrong):
    refuses(kind, rf"labels contain ids \[{wrong}\]: classes are 0 … 2", labels=with_id(wrong))
    refuses(kind, rf"predictions contain ids \[{wrong}\]: classes are 0 … 2", with_id(wrong))


@pytest.mark.parametrize("kind", SCORES)
@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        (GOOD.float(), "must be class ids, not float32: use argmax"),
        (GOOD.half(), "must be class ids, not float16"),
        (GOOD > 0, "must be class ids, not a mask of bools"),
    ],
)
def test_scores_and_masks(kind, wrong, words):
    refuses(kind, f"labels {words}", labels=wrong)
    refuses(kind, f"predictions {words}", wrong)


@pytest.mark.parametrize("kind", SCORES)
def test_void_as_a_prediction_where_there_is_a_label(kind):
    refuses(kind, r"predictions contain ids \[255\]", with_id(255))


@pytest.mark.parametrize("kind", SCORES)
@pytest.mark.parametrize("dtype", [torch.uint8, torch.int16, torch.int32, torch.int64])
def test_integers_of_any_size_score_the_same(kind, dtype):
    expected = update(SCORES[kind](), GOOD, GOOD).counts
    assert expected.sum() > 0
    assert torch.equal(update(SCORES[kind](), GOOD.to(dtype), GOOD.to(dtype)).counts, expected)


@pytest.mark.parametrize("measure", [boundary_distance, boundary_mask, lambda x: class_bands(x, 1)])
@pytest.mark.parametrize(
    ("labels", "words"),
    [
        (GOOD.float(), "labels must be class ids, not float32"),
        (GOOD > 0, "labels must be class ids, not a mask of bools"),
        (with_id(-1), r"labels contain ids \[-1\]: classes are 0"),
        (with_id(-7), r"labels contain ids \[-7\]: classes are 0"),
    ],
)
def test_what_measures_boundaries(measure, labels, words):
    with pytest.raises(ValueError, match=words):
        measure(labels)


def test_bands_of_ids_that_would_be_another_id_in_16_bits():
    with pytest.raises(ValueError, match=r"labels contain ids \[65536\]"):
        class_bands(torch.tensor([[0, 65536]]), 1)


def test_distances_of_another_label_map():
    """A distance of NaN, which void has, was counted in an arbitrary bin."""
    with pytest.raises(ValueError, match="distances are NaN"):
        DistanceCounts(3).update(GOOD, GOOD, FAR * float("nan"))
    with pytest.raises(ValueError, match="NaN or not positive"):
        DistanceCounts(3).update(GOOD, GOOD, FAR - 1)


@pytest.mark.parametrize("write", [write_voc, write_cityscapes])
@pytest.mark.parametrize("wrong", [GOOD.float(), GOOD > 0])
def test_submissions(write, wrong, tmp_path):
    name = "bonn_000000_000019"
    with pytest.raises(ValueError, match=f"prediction of {name}: labels must be class ids"):
        write([(name, wrong)], tmp_path)
