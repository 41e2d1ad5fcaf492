"""A data set kept in memory has the same items and is read once; a large one is not kept."""

import pytest
import torch

from gcnlab.datasets import NORMALIZATIONS, Shapes, cached, training_transform
from gcnlab.datasets.cached import Cached
from gcnlab.training import DataConfig, ModelConfig, RunConfig, Segmentation, TrainingConfig, train


class Counting(Shapes):
    """Counts how often an image is drawn."""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.drawn = []

    def __getitem__(self, index):
        self.drawn.append(index)
        return super().__getitem__(index)


def test_items_are_those_of_the_data_set_itself_and_drawn_once():
    source = Counting(length=3, image_size=48)
    transform = training_transform(NORMALIZATIONS["imagenet"], None, (1.0, 1.0), True, 0.2)
    kept = Cached(source, transform)
    plain = Shapes(length=3, image_size=48, transforms=transform)
    assert len(kept) == 3
    assert kept.name(2) == plain.name(2)
    for epoch in range(3):
        for index in range(3):
            torch.manual_seed(10 * epoch + index)
            ours = kept[index]
            torch.manual_seed(10 * epoch + index)
            theirs = plain[index]
            torch.testing.assert_close(ours, theirs, rtol=0, atol=0)
    assert source.drawn == [0, 1, 2]


@pytest.mark.parametrize(("bytes_too_few", "drawn"), [(0, 1), (1, 2)])
def test_a_set_is_kept_if_all_of_it_fits(monkeypatch, bytes_too_few, drawn):
    source = Counting(length=5, image_size=48)
    monkeypatch.setattr(cached, "LIMIT", 5 * 4 * 48 * 48 - bytes_too_few)
    kept = Cached(source, lambda image, labels: (image, labels))
    torch.testing.assert_close(kept[1], kept[1], rtol=0, atol=0)
    assert len(source.drawn) == drawn


def test_training_keeps_its_images_and_ends_with_the_same_weights(monkeypatch):
    config = RunConfig(
        ModelConfig(refine=False),
        DataConfig(image_size=32, train_images=4),
        TrainingConfig(epochs=2, batch_size=2),
    )
    assert isinstance(Segmentation(config).training_set(), Cached)
    ours = train(config, progress=False).model.state_dict()
    monkeypatch.setattr(cached, "LIMIT", 0)
    torch.testing.assert_close(
        ours, train(config, progress=False).model.state_dict(), rtol=0, atol=0
    )
