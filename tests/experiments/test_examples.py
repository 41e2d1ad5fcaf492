"""Examples are the images with the largest, the median and the smallest gain."""

import math

import pytest
import torch
from torch.utils.data import Dataset

from gcnlab.datasets import IGNORE, LabelSet, Normalization
from gcnlab.experiments.examples import choose_examples, image_score, show_example
from gcnlab.plots import plot_examples
from gcnlab.training import RunConfig, TrainedRun

CLASSES = LabelSet(("ground", "left", "right"), ((0, 0, 0), (255, 0, 0), (0, 0, 255)))


class Halves(Dataset):
    """Images of two columns; the labels say which are of class 1; the rest is ground."""

    labels = CLASSES
    ones = (4, 0, 2, 3, 1)  # of each image, of its 8 pixels

    def __len__(self):
        return len(self.ones)

    def __getitem__(self, index):
        labels = torch.zeros(8, dtype=torch.uint8)
        labels[: self.ones[index]] = 1
        image = torch.full((3, 4, 2), index, dtype=torch.uint8)
        return image, labels.reshape(4, 2)


class Constant(torch.nn.Module):
    """Predicts one class everywhere."""

    def __init__(self, chosen):
        super().__init__()
        self.chosen = chosen

    def forward(self, images):
        logits = images.new_zeros(len(images), 3, *images.shape[-2:])
        logits[:, self.chosen] = 1
        return logits


@pytest.fixture
def runs(monkeypatch):
    monkeypatch.setattr(TrainedRun, "normalization", Normalization())
    return {
        name: TrainedRun(Constant(chosen), RunConfig(), [], 0.0)
        for name, chosen in (("all ground", 0), ("all one", 1))
    }


def test_the_score_of_an_image_is_the_mean_over_the_classes_in_its_labels():
    labels = torch.tensor([[0, 0, 1, IGNORE]])
    prediction = torch.tensor([[0, 1, 1, 2]])
    assert image_score(prediction, labels, 3) == pytest.approx(100 * (1 / 2 + 1 / 2) / 2)
    assert image_score(torch.tensor([[0, 2]]), torch.tensor([[0, 0]]), 3) == pytest.approx(50)
    assert math.isnan(image_score(prediction, torch.full_like(labels, IGNORE), 3))


def test_the_cases_are_the_largest_the_median_and_the_smallest_gain(runs):
    # The baseline scores (8 − n) / 8 on the ground, the other n / 8 on class 1; each is averaged over
    # the classes that occur.
    gains = {n: 100 * (n - (8 - n)) / 16 if n else -100 for n in Halves.ones}
    chosen = choose_examples(runs, Halves(), progress=False)
    assert [(e.case, e.index) for e in chosen] == [("best", 0), ("typical", 2), ("worst", 1)]
    for example in chosen:
        assert example.gain == pytest.approx(gains[Halves.ones[example.index]])
        assert torch.equal(example.image, Halves()[example.index][0])
        assert torch.equal(example.truth, Halves()[example.index][1])
        assert (example.predictions["all one"] == 1).all()
    reverse = choose_examples(runs, Halves(), "all ground", "all one", progress=False)
    assert [e.index for e in reverse] == [1, 2, 0]


def test_two_images_are_too_few(runs):
    pair = Halves()
    pair.ones = (1, 2)
    with pytest.raises(ValueError, match="2 images with labels are too few"):
        choose_examples(runs, pair, progress=False)


def test_the_figure_has_a_row_per_image_with_scores(runs):
    chosen = choose_examples(runs, Halves(), progress=False)
    figure = plot_examples(chosen, CLASSES)
    titles = [[axis.get_title() for axis in figure.axes[4 * row : 4 * row + 4]] for row in (0, 2)]
    assert titles[0] == ["image", "all ground  25", "all one  25", "labels"]
    assert titles[1] == ["", "100", "0", ""]
    assert figure.axes[8].get_ylabel() == "worst\n-100 points"
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["ground", "left"]
    assert plot_examples([show_example(runs, Halves(), 3)], CLASSES).axes[0].get_ylabel() == ""
    with pytest.raises(ValueError, match="no example"):
        plot_examples([], CLASSES)
