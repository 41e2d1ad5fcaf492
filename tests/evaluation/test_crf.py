"""The dense CRF against the mean-field updates written out pair by pair, and its effect on noise."""

import sys

import numpy as np
import pytest
import torch
from torchvision import tv_tensors

from gcnlab.datasets import SHAPES, LabelSet, Normalization, Shapes, evaluation_transform
from gcnlab.evaluation import (
    CRF,
    CRFGrid,
    Predictor,
    evaluate,
    predict,
    refine_probabilities,
    search_crf,
)
from gcnlab.evaluation.crf import colors_of
from gcnlab.evaluation.crf_search import evenly_spaced

needs_crf = pytest.mark.skipif(
    __import__("importlib.util").util.find_spec("pydensecrf") is None,
    reason="the extra crf is not installed",
)


def picture(height: int = 9, width: int = 12) -> torch.Tensor:
    """Dark on the left, bright on the right of column 6, with some grain."""
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 10, (3, height, width))
    pixels[:, :, 6:] += 180
    return torch.from_numpy(pixels.astype(np.uint8))


def given(height: int = 9, width: int = 12, classes: int = 3) -> torch.Tensor:
    return torch.randn(classes, height, width, generator=torch.Generator().manual_seed(1)).softmax(
        0
    )


def mean_field(image, probabilities, crf: CRF) -> np.ndarray:
    """The updates of the paper, every pair of pixels by itself; kernels normalised symmetrically as in
    the authors' program. Theirs are filtered on a lattice, which is not exact."""
    classes, height, width = probabilities.shape
    places = np.stack(np.mgrid[:height, :width], -1).reshape(-1, 2).astype(float)
    colors = image.numpy().reshape(3, -1).T.astype(float)

    def kernel(features):
        squares = ((features[:, None] - features[None]) ** 2).sum(-1)
        values = np.exp(-squares / 2)
        root = 1 / np.sqrt(values.sum(1))
        return values * root[:, None] * root[None]

    k = crf.smooth_weight * kernel(places / crf.smooth_std)
    both = np.concatenate([places / crf.appearance_std, colors / crf.color_std], 1)
    k += crf.appearance_weight * kernel(both)
    unary = -np.log(probabilities.numpy().reshape(classes, -1))
    q = np.exp(-unary)
    for _ in range(crf.iterations):
        q = np.exp(-unary + q @ k)
        q /= q.sum(0)
    return q.reshape(classes, height, width)


@needs_crf
@pytest.mark.parametrize(
    "crf",
    [
        CRF(iterations=1, smooth_weight=2.0, appearance_weight=0.0),
        CRF(iterations=3, smooth_weight=1.0, appearance_weight=2.0, appearance_std=6.0),
        CRF(iterations=5, smooth_weight=0.0, appearance_weight=3.0, color_std=40.0),
    ],
    ids=str,
)
def test_against_the_updates_pair_by_pair(crf):
    image, before = picture(), given()
    found = refine_probabilities(image, before, crf).numpy()
    expected = mean_field(image, before, crf)
    assert np.abs(found.sum(0) - 1).max() < 1e-5
    change = np.abs(expected - before.numpy())
    assert change.mean() > 0.01
    assert np.abs(found - expected).mean() < 0.1 * change.mean()
    assert np.abs(found - expected).max() < 0.015


@needs_crf
def test_wrong_pixels_follow_the_pictures_edge():
    """Noise disappears, and the edge between the classes moves to the edge in the picture."""
    labels = torch.zeros(9, 12, dtype=torch.long)
    labels[:, 6:] = 1
    wrong = labels.clone()
    wrong[:, 6:8] = 0  # two columns off
    wrong[3, 2] = wrong[6, 10] = 2
    before = torch.nn.functional.one_hot(wrong, 3).movedim(-1, 0).float() * 0.4 + 0.2
    after = refine_probabilities(picture(), before).argmax(0)
    assert torch.equal(after, labels)


@needs_crf
def test_no_iteration_and_no_weight_change_nothing():
    image, before = picture(), given()
    assert torch.equal(refine_probabilities(image, before, CRF(iterations=0)), before)
    alone = CRF(smooth_weight=0.0, appearance_weight=0.0)
    assert torch.allclose(refine_probabilities(image, before, alone), before, atol=1e-4)


@needs_crf
@pytest.mark.parametrize("size", [(1, 1), (1, 7), (5, 1)])
def test_any_size(size):
    found = refine_probabilities(picture(*size), given(*size))
    assert found.shape == (3, *size)
    assert torch.allclose(found.sum(0), torch.ones(size), atol=1e-5)


@needs_crf
def test_a_class_without_a_chance_gets_one():
    before = torch.tensor([1.0, 0.0, 0.0])[:, None, None].expand(3, 4, 4)
    assert torch.isfinite(refine_probabilities(picture(4, 4), before)).all()


@needs_crf
def test_what_are_no_probabilities_is_refused():
    with pytest.raises(ValueError, match="sum to 1"):
        refine_probabilities(picture(), torch.randn(3, 9, 12))
    with pytest.raises(ValueError, match="sum to 1"):
        refine_probabilities(picture(), torch.full((3, 9, 12), 0.5))


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"iterations": -1}, "crf.iterations"),
        ({"appearance_weight": -1.0}, "crf.appearance_weight"),
        ({"color_std": 0.0}, "crf.color_std"),
        ({"floor": 0.0}, "crf.floor"),
    ],
)
def test_bad_settings_are_named(arguments, words):
    with pytest.raises(ValueError, match=words):
        CRF(**arguments)


def test_without_the_package_one_message_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "pydensecrf.densecrf", None)
    with pytest.raises(ValueError, match=r"gcnlab\[crf\]"):
        refine_probabilities(picture(), given())


def test_the_colours_come_back_from_a_normalised_image():
    normalize, image = Normalization(), picture()
    assert torch.equal(colors_of(normalize(image), normalize), image)


# --- In evaluation and prediction


class Blurred(torch.nn.Module):
    """Right in the middle of things, and unsure about 2 pixels along their edges; it reads the labels, that
    are written into the images' red."""

    def __init__(self):
        super().__init__()
        self.unused = torch.nn.Parameter(torch.zeros(1))

    def forward(self, images):
        ids = (images[:, 0] * 255 / 40).round().long().clamp(0, 2)
        sure = torch.nn.functional.one_hot(ids, 3).movedim(-1, 1).float()
        shifted = sure.roll(2, -1)  # wrong on one side of everything
        return 2 * torch.nn.functional.avg_pool2d(shifted, 3, 1, 1)


class Discs(torch.utils.data.Dataset):
    labels = LabelSet(("a", "b", "c"), ((0, 0, 0), (200, 0, 0), (0, 200, 0)))

    def __len__(self):
        return 4

    def __getitem__(self, i):
        rows, columns = torch.meshgrid(torch.arange(24), torch.arange(30), indexing="ij")
        labels = ((rows - 12) ** 2 + (columns - 10 - i) ** 2 < 60).to(torch.uint8)
        labels[:, 24:] = 2
        image = (labels.float() * 40 / 255).expand(3, -1, -1).clone()
        return tv_tensors.Image(image), tv_tensors.Mask(labels)


PLAIN = Normalization((0.0, 0.0, 0.0), (1.0, 1.0, 1.0))


@needs_crf
def test_evaluation_gets_better_where_the_picture_knows_better():
    model = Blurred()
    before = evaluate(model, Discs(), progress=False)
    after = evaluate(model, Discs(), progress=False, crf=CRF(color_std=5.0), normalization=PLAIN)
    assert after.miou > before.miou + 5


@needs_crf
def test_prediction_is_the_largest_of_what_was_refined():
    model, (image, _) = Blurred(), Discs()[0]
    fused = model(image[None])[0].softmax(0)
    expected = refine_probabilities(colors_of(image, PLAIN), fused, CRF()).argmax(0)
    assert torch.equal(predict(model, image[None], crf=CRF(), normalization=PLAIN)[0], expected)


def test_a_crf_needs_the_images_colours():
    with pytest.raises(ValueError, match="normalization"):
        predict(Blurred(), Discs()[0][0][None], crf=CRF())


# --- The search


@needs_crf
def test_the_search_scores_the_grid_and_keeps_images_back():
    grid = CRFGrid(appearance_weight=(0.0, 10.0), appearance_std=(20.0,), color_std=(5.0,))
    found = search_crf(Predictor(Blurred(), PLAIN), Discs(), 2, grid, progress=False)
    assert found.images == (1, 3)
    assert [scores.images for scores in found.searched] == [2, 2, 2]
    assert found.searched[0].crf is None
    assert found.best == max(found.searched[1:], key=lambda s: s.miou).crf
    assert (found.before.images, found.after.images) == (2, 2)
    assert found.after.crf == found.best
    assert found.after.miou > found.before.miou

    class Others(Discs):
        def __len__(self):
            return 2

        def __getitem__(self, i):
            return super().__getitem__(2 * i)

    direct = evaluate(Blurred(), Others(), progress=False, crf=found.best, normalization=PLAIN)
    assert found.after.miou == pytest.approx(direct.miou)
    assert found.after.boundary_accuracy == pytest.approx(direct.boundary_accuracy)


def test_the_grid_is_all_values_with_all():
    points = CRFGrid(appearance_weight=(1.0, 2.0), color_std=(5.0,), appearance_std=(9.0,)).points()
    assert [(p.appearance_weight, p.color_std) for p in points] == [(1.0, 5.0), (2.0, 5.0)]
    with pytest.raises(ValueError, match=r"grid\.color_std"):
        CRFGrid(color_std=()).points()


@pytest.mark.parametrize(("length", "count", "expected"), [
    (10, 2, [2, 7]), (3, 3, [0, 1, 2]), (3, 20, [0, 1, 2]), (101, 1, [50]),
])  # fmt: skip
def test_the_images_of_the_search_are_spread(length, count, expected):
    assert evenly_spaced(length, count) == expected


def test_a_search_has_an_image():
    with pytest.raises(ValueError, match="at least 1"):
        evenly_spaced(10, 0)


@needs_crf
def test_shapes_are_refined_end_to_end():
    data = Shapes("val", 1, 48, transforms=evaluation_transform(Normalization()))
    model = torch.nn.Conv2d(3, SHAPES.num_classes, 1)
    scores = evaluate(
        model, data, progress=False, crf=CRF(iterations=2), normalization=Normalization()
    )
    assert scores.images == 1
