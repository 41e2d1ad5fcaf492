"""Scores of networks whose predictions are known."""

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import Subset
from torchvision import tv_tensors

from gcnlab.datasets import LabelSet, Shapes, evaluation_transform
from gcnlab.datasets.normalization import Normalization
from gcnlab.evaluation import BoundaryRule, Inference, Predictor, Scores, evaluate, predict

LABELS = LabelSet(("ground", "house", "tree"), ((0, 0, 0), (200, 0, 0), (0, 200, 0)))


class Known(nn.Module):
    """A network that predicts the ids in the image's first channel and records its inputs."""

    def __init__(self, classes: int = 3, keep=lambda ids: ids):
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(1))  # a network has weights, and they have a device
        self.norm, self.drop = nn.BatchNorm2d(3), nn.Dropout()
        self.classes, self.keep = classes, keep
        self.batches: list[int] = []
        self.was_training: list[bool] = []

    def forward(self, images):
        self.batches.append(len(images))
        self.was_training += [module.training for module in self.modules()]
        ids = self.keep(images[:, 0].round().long())
        return nn.functional.one_hot(ids, self.classes).movedim(-1, 1).float()


class Pictures(torch.utils.data.Dataset):
    """Pairs of maps: the prediction (written into the image) and the labels."""

    labels = LABELS

    def __init__(self, *pairs):
        self.pairs = [tuple(torch.tensor(ids, dtype=torch.uint8) for ids in pair) for pair in pairs]

    def __len__(self):
        return len(self.pairs)

    def __getitem__(self, index):
        predicted, labels = self.pairs[index]
        return tv_tensors.Image(predicted.float().expand(3, -1, -1)), tv_tensors.Mask(labels)


def score(*pairs, model=None, **arguments) -> Scores:
    return evaluate(model or Known(), Pictures(*pairs), progress=False, **arguments)


# Twelve pixels in a row, an edge between the sixth and the seventh; the last is void.
ROW = [[0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 255]]


# --- By hand


def test_a_perfect_prediction_has_100():
    perfect = [[0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 2]]  # void is not scored
    scores = score((perfect, ROW), rule=BoundaryRule(distance=2, void="blank"))
    assert scores.miou == scores.accuracy == 100
    assert scores.boundary_accuracy == scores.internal_accuracy == 100
    assert scores.iou == pytest.approx({"ground": 100, "house": 100, "tree": np.nan}, nan_ok=True)


def test_boundary_and_internal_accuracy_by_hand():
    """With distance 2, columns 4 … 7 are boundary, 0 … 3 and 8 … 10 internal."""
    predicted = [[0, 0, 0, 2, 1, 0, 0, 1, 1, 0, 0, 0]]
    #             i  i  i  x  x  b  x  b  i  x  x  void
    scores = score((predicted, ROW), rule=BoundaryRule(distance=2, void="blank"))
    assert scores.boundary_accuracy == pytest.approx(100 * 2 / 4)
    assert scores.internal_accuracy == pytest.approx(100 * 4 / 7)
    assert scores.accuracy == pytest.approx(100 * 6 / 11)
    assert scores.iou["ground"] == pytest.approx(100 * 4 / (6 + 7 - 4))
    assert scores.iou["house"] == pytest.approx(100 * 2 / (5 + 3 - 2))
    assert scores.iou["tree"] == 0
    assert scores.miou == pytest.approx(100 * (4 / 9 + 2 / 6 + 0) / 3)


def test_the_void_rule_reaches_the_scores():
    """If void is an edge, too, columns 9 and 10 move to the boundary."""
    predicted = [[0, 0, 0, 0, 0, 0, 1, 1, 1, 0, 0, 0]]
    blank = score((predicted, ROW), rule=BoundaryRule(2, void="blank"))
    edge = score((predicted, ROW), rule=BoundaryRule(2, void="edge"))
    assert (blank.boundary_accuracy, blank.internal_accuracy) == pytest.approx((100, 100 * 5 / 7))
    assert (edge.boundary_accuracy, edge.internal_accuracy) == pytest.approx((100 * 4 / 6, 100))


def test_the_norm_reaches_the_scores():
    """A wrong pixel diagonal to the only other label: near in squares, far in diamonds."""
    labels = [[1, 0, 0], [0, 0, 0], [0, 0, 0]]
    predicted = [[1, 0, 0], [0, 2, 0], [0, 0, 0]]
    assert score((predicted, labels), rule=BoundaryRule(1, "chebyshev")).internal_accuracy == 100
    assert score((predicted, labels), rule=BoundaryRule(1, "cityblock")).boundary_accuracy == 100


def test_pixels_are_pooled_over_the_images():
    """Counts are summed over images: 1 of 4 and 1 of 1 are 2 of 5, not the mean of 25 and 100 %."""
    scores = score(([[0, 1, 1, 1]], [[0, 0, 0, 0]]), ([[0]], [[0]]))
    assert scores.accuracy == pytest.approx(100 * 2 / 5)
    assert scores.images == 2


def test_a_subset_is_scored_by_itself():
    pictures = Pictures(([[0, 1]], [[0, 1]]), ([[0, 1]], [[1, 0]]), ([[2, 2]], [[2, 2]]))
    part = Subset(Subset(pictures, [0, 1]), [0])
    found = evaluate(Known(), part, progress=False)
    assert (found.images, found.accuracy) == (1, 100)
    assert evaluate(Known(), pictures, progress=False).accuracy < 100


def test_without_a_boundary_its_score_is_nan():
    scores = score(([[0, 1]], [[0, 0]]))
    assert np.isnan(scores.boundary_accuracy)
    assert scores.internal_accuracy == 50


def test_the_rule_is_kept_with_the_scores_and_is_the_papers_by_default():
    assert score(([[0]], [[0]])).rule == BoundaryRule(7, "euclidean", "edge")
    rule = BoundaryRule(3, "cityblock", "blank")
    assert score(([[0]], [[0]]), rule=rule).rule == rule


def test_the_summary_has_the_three_numbers():
    scores = Scores(71.26, {}, 90.0, 73.4, 95.1, 2, BoundaryRule())
    assert scores.summary() == "mIoU 71.3 %, boundary 73.4 %, internal 95.1 %"


# --- A network on a data set


def test_the_oracle_has_100_on_shapes():
    """Shapes whose image is their label map: everything between data set and scores is in place."""

    def tell(image, labels):
        return tv_tensors.Image(labels.float().expand(3, -1, -1)), labels

    data = Shapes("val", length=3, image_size=48, transforms=tell)
    scores = evaluate(Known(classes=7), data, progress=False)
    assert (scores.miou, scores.boundary_accuracy, scores.accuracy) == (100, 100, 100)
    assert list(scores.iou) == list(data.labels.names)


def test_void_of_padding_is_not_scored():
    plain = Normalization((0.0, 0.0, 0.0), (1 / 255, 1 / 255, 1 / 255))  # keeps 0 … 255
    pad = evaluation_transform(plain, (4, 6))

    class Padded(Pictures):
        def __getitem__(self, index):
            image, labels = super().__getitem__(index)
            return pad(tv_tensors.wrap(image.to(torch.uint8), like=image), labels)

    data = Padded(([[1, 1], [2, 2]], [[1, 1], [2, 1]]))
    assert data[0][0].shape == (3, 4, 6)
    assert evaluate(Known(), data, progress=False).accuracy == pytest.approx(75)


def test_images_may_differ_in_size():
    pairs = [([[0, 1]], [[0, 0]]), ([[1], [1]], [[1], [1]]), ([[2, 2, 2]], [[2, 2, 0]])]
    scores = score(*pairs)
    assert scores.accuracy == pytest.approx(100 * 5 / 7)
    assert scores.images == 3


def test_each_image_is_run_separately():
    model = Known()
    score(*[([[0, 1]], [[0, 1]])] * 5, model=model)
    assert model.batches == [1] * 5


def test_a_predictor_holds_what_the_arguments_say():
    rng = np.random.default_rng(0)
    pairs = [tuple(rng.integers(0, 3, (2, 12, 10)).tolist()) for _ in range(3)]
    inference, rule = Inference(flip=True, scales=(1.0, 0.5)), BoundaryRule(1)
    predictor = Predictor(Known(), inference=inference)
    assert score(*pairs, model=predictor, rule=rule) == score(
        *pairs, rule=rule, inference=inference
    )
    image = Pictures(*pairs)[0][0]
    expected = predict(Known(), image[None], inference=inference)
    assert torch.equal(predict(predictor, image[None]), expected)
    with pytest.raises(ValueError, match="inference must be set in the Predictor"):
        predict(predictor, image[None], inference=inference)


@pytest.mark.slow
def test_a_dataset_may_be_loaded_by_workers():
    pairs = [([[0, 1, 1]], [[0, 0, 1]]), ([[2]], [[2]])]
    assert score(*pairs, num_workers=1).iou == score(*pairs).iou


# --- The network is left as it was


def test_a_network_is_scored_in_evaluation_mode_and_gets_its_modes_back():
    model = Known().train()
    model.norm.eval()  # frozen batch norm in a network that trains
    score(([[0]], [[0]]), model=model)
    assert not any(model.was_training)
    assert (model.training, model.norm.training, model.drop.training) == (True, False, True)


def test_modes_come_back_after_an_error_too():
    model = Known(keep=lambda ids: ids + 99).train()
    with pytest.raises(RuntimeError):
        score(([[0]], [[0]]), model=model)
    assert model.training
    assert model.drop.training


def test_weights_and_statistics_do_not_change():
    model = Known().train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    score(([[0, 1]], [[0, 1]]), model=model)
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())


# --- predict


def test_predict_gives_the_ids_of_a_batch():
    ids = torch.tensor([[[0, 1], [2, 2]], [[1, 1], [0, 2]]])
    found = predict(Known(), ids[:, None].expand(-1, 3, -1, -1).float())
    assert torch.equal(found, ids)
    assert not found.requires_grad
