"""Images and labels go through the same geometry, and padding is void."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torchvision import tv_tensors
from torchvision.models import ResNet50_Weights
from torchvision.transforms import v2

from gcnlab.datasets import (
    IGNORE,
    NORMALIZATIONS,
    Normalization,
    evaluation_transform,
    training_transform,
)
from gcnlab.datasets.normalization import weights_normalization
from gcnlab.datasets.transforms import PadTo, RandomScale

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
PLAIN = Normalization((0.0, 0.0, 0.0), (1.0, 1.0, 1.0))
sides = st.integers(1, 40)


def labelled_pixels(height: int, width: int) -> tuple[tv_tensors.Image, tv_tensors.Mask]:
    """Labels 1 … 254 that differ between neighbours, and an image of the same values."""
    rows, columns = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    labels = (1 + (rows * 17 + columns * 3) % 254).to(torch.uint8)
    return tv_tensors.Image(labels.expand(3, -1, -1).clone()), tv_tensors.Mask(labels)


def ids_in(image: torch.Tensor) -> torch.Tensor:
    """The labels that `labelled_pixels` wrote into an image, after `PLAIN`; 0 is padding."""
    assert (image[0] == image[1]).all()
    assert (image[0] == image[2]).all()
    return (image[0] * 255).round().to(torch.uint8)


def random_image(*shape: int) -> tv_tensors.Image:
    generator = torch.Generator().manual_seed(0)
    return tv_tensors.Image(torch.randint(0, 256, shape, dtype=torch.uint8, generator=generator))


# --- The same geometry for image and labels


@settings(max_examples=40, deadline=None)
@given(height=sides, width=sides, crop=st.tuples(sides, sides), seed=st.integers(0, 99))
def test_padding_cropping_and_mirroring_keep_image_and_labels_together(height, width, crop, seed):
    torch.manual_seed(seed)
    image, labels = training_transform(PLAIN, crop)(*labelled_pixels(height, width))
    assert image.shape == (3, *crop)
    assert labels.shape == crop
    ids = ids_in(image)
    assert torch.equal(ids == 0, labels == IGNORE)
    assert torch.equal(ids[ids > 0], labels[ids > 0])


@settings(max_examples=40, deadline=None)
@given(height=sides, width=sides, crop=st.tuples(sides, sides), seed=st.integers(0, 99))
def test_a_crop_shows_as_much_of_the_image_as_fits(height, width, crop, seed):
    torch.manual_seed(seed)
    _, labels = training_transform(PLAIN, crop)(*labelled_pixels(height, width))
    assert (labels != IGNORE).sum() == min(height, crop[0]) * min(width, crop[1])


@settings(max_examples=20, deadline=None)
@given(height=sides, width=sides, seed=st.integers(0, 99))
def test_without_a_crop_an_image_is_only_mirrored(height, width, seed):
    torch.manual_seed(seed)
    before = labelled_pixels(height, width)[1]
    image, labels = training_transform(PLAIN)(*labelled_pixels(height, width))
    assert torch.equal(ids_in(image), labels)
    assert torch.equal(labels, before) or torch.equal(labels, before.flip(-1))


def test_half_of_the_images_are_mirrored():
    torch.manual_seed(0)
    transform, before = training_transform(PLAIN), labelled_pixels(1, 2)
    mirrored = sum(not torch.equal(transform(*before)[1], before[1]) for _ in range(100))
    assert 30 < mirrored < 70


def test_without_crop_scale_and_flip_nothing_moves():
    image, labels = training_transform(PLAIN, flip=False)(*labelled_pixels(5, 7))
    assert torch.equal(ids_in(image), labels)
    assert torch.equal(labels, labelled_pixels(5, 7)[1])


def test_crops_fall_everywhere():
    transform, whole = training_transform(PLAIN, (1, 1), flip=False), labelled_pixels(2, 3)
    torch.manual_seed(0)
    assert {transform(*whole)[1].item() for _ in range(100)} == set(whole[1].flatten().tolist())


# --- Scale


@settings(max_examples=30, deadline=None)
@given(height=st.integers(8, 40), width=st.integers(8, 40), factor=st.floats(0.25, 3))
def test_a_scaled_pair_has_the_factors_size(height, width, factor):
    """Sizes from 8 pixels on: PyTorch fails where a uint8 image shrinks to a single pixel."""
    image, labels = RandomScale((factor, factor))(*labelled_pixels(height, width))
    assert image.shape == (3, *labels.shape)
    for after, before in zip(labels.shape, (height, width)):
        assert abs(after - before * factor) <= 0.5 + 1e-6


def scaled_disc(factor: float) -> tuple[torch.Tensor, torch.Tensor]:
    """A white disc around (25, 45) with radius 18, scaled: where image and labels show it."""
    rows, columns = torch.meshgrid(torch.arange(60), torch.arange(80), indexing="ij")
    disc = ((rows + 0.5 - 25) ** 2 + (columns + 0.5 - 45) ** 2 < 18**2).to(torch.uint8)
    pair = tv_tensors.Image((disc * 255).expand(3, -1, -1).clone()), tv_tensors.Mask(disc)
    image, labels = RandomScale((factor, factor))(*pair)
    return image[0] > 127, labels > 0


@pytest.mark.parametrize("factor", [0.5, 0.9, 1.7, 2.0])
def test_scaling_scales_image_and_labels(factor):
    for found in scaled_disc(factor):
        assert found.sum().item() == pytest.approx(1020 * factor**2, rel=0.05)


@pytest.mark.parametrize("factor", [0.5, 0.9, 1.7, 2.0])
def test_scaled_image_and_labels_stay_in_place(factor):
    for found in scaled_disc(factor):
        middle = (torch.nonzero(found) + 0.5).mean(0)
        assert middle.tolist() == pytest.approx([25 * factor, 45 * factor], abs=0.3)


def test_scaling_invents_no_label():
    ids = torch.tensor([[3, 9, 255], [9, 3, 3]], dtype=torch.uint8)
    pair = tv_tensors.Image(ids.expand(3, -1, -1).clone()), tv_tensors.Mask(ids)
    labels = RandomScale((2.3, 2.3))(*pair)[1]
    assert labels.unique().tolist() == [3, 9, 255]


def test_scale_factors_fill_their_range():
    torch.manual_seed(0)
    transform = training_transform(PLAIN, scale=(0.5, 2.0))
    widths = [transform(*labelled_pixels(2, 100))[1].shape[1] for _ in range(60)]
    assert 50 <= min(widths) < 65
    assert 170 < max(widths) <= 200


def test_a_scaled_and_padded_pair_has_void_only_where_the_image_is_padding():
    torch.manual_seed(0)
    image, labels = training_transform(PLAIN, (30, 30), (0.5, 0.5))(*labelled_pixels(40, 40))
    assert (labels != IGNORE).sum() == 20 * 20
    assert torch.equal(image[0] == 0, labels == IGNORE)


# --- Padding


@settings(max_examples=30, deadline=None)
@given(height=sides, width=sides, size=st.tuples(sides, sides))
def test_padding_is_below_and_to_the_right_void_and_zero(height, width, size):
    image, labels = evaluation_transform(PLAIN, size)(*labelled_pixels(height, width))
    assert labels.shape == (max(height, size[0]), max(width, size[1]))
    assert image.shape == (3, *labels.shape)
    assert torch.equal(labels[:height, :width], labelled_pixels(height, width)[1])
    assert torch.equal(ids_in(image)[:height, :width], labels[:height, :width])
    assert (labels == IGNORE).sum() == labels.numel() - height * width
    assert (image == 0).sum() == 3 * (labels.numel() - height * width)


def test_padding_is_the_mean_colour():
    """Padding is zero after the normalisation: the picture is padded with the mean of its normalisation."""
    normalization = NORMALIZATIONS["imagenet"]
    image, _ = evaluation_transform(normalization, (4, 4))(*labelled_pixels(2, 2))
    assert normalization.invert(image)[:, 3, 3].tolist() == pytest.approx(MEAN, abs=1e-6)


def test_padding_alone_keeps_the_types():
    image, labels = PadTo((4, 5))(*labelled_pixels(2, 2))
    assert (type(image), type(labels)) == (tv_tensors.Image, tv_tensors.Mask)
    assert image.dtype == labels.dtype == torch.uint8


# --- Types


@pytest.mark.parametrize(
    "transform",
    [
        evaluation_transform(PLAIN),
        evaluation_transform(PLAIN, (9, 9)),
        training_transform(PLAIN, (9, 9), (0.5, 2.0), color_jitter=0.3),
    ],
)
def test_images_leave_as_floats_and_labels_as_ids(transform):
    image, labels = transform(*labelled_pixels(8, 8))
    assert image.dtype == torch.float32
    assert labels.dtype == torch.uint8


def test_the_colour_jitter_changes_colours_and_no_label():
    torch.manual_seed(0)
    before = random_image(3, 8, 8), labelled_pixels(8, 8)[1]
    image, labels = training_transform(PLAIN, flip=False, color_jitter=0.5)(*before)
    assert not torch.allclose(image, before[0] / 255, atol=0.02)
    assert torch.equal(labels, before[1])


# --- Normalisation


@pytest.mark.parametrize(("name", "std"), [("imagenet", STD), ("mean", (1.0, 1.0, 1.0))])
def test_normalisation_is_what_it_says(name, std):
    image = random_image(3, 4, 5)
    normal = NORMALIZATIONS[name](image)
    for channel in range(3):
        expected = (image[channel].double() / 255 - MEAN[channel]) / std[channel]
        assert torch.allclose(normal[channel].double(), expected, atol=1e-5)


def test_the_mean_preset_divides_by_nothing():
    """The paper's mean subtraction: black and white are one apart."""
    black, white = (tv_tensors.Image(torch.full((3, 1, 1), v, dtype=torch.uint8)) for v in (0, 255))
    normal = NORMALIZATIONS["mean"]
    assert torch.allclose(normal(white) - normal(black), torch.ones(3, 1, 1))


@pytest.mark.parametrize("name", NORMALIZATIONS)
@pytest.mark.parametrize("batch", [(), (2,)])
def test_inverting_gives_the_image_back(name, batch):
    image = random_image(*batch, 3, 6, 7)
    back = NORMALIZATIONS[name].invert(NORMALIZATIONS[name](image))
    assert torch.allclose(back, image / 255, atol=1e-6)


def test_a_batch_is_normalised_like_its_images():
    images = random_image(2, 3, 4, 4)
    normal = NORMALIZATIONS["imagenet"]
    assert torch.equal(normal(images), torch.stack([normal(image) for image in images]))


def test_the_normalisation_of_weights_is_torchvisions():
    weights = ResNet50_Weights.IMAGENET1K_V2
    image = random_image(3, 224, 224)
    preset = weights.transforms(crop_size=224, resize_size=224)  # of the size: nothing is resized
    assert torch.allclose(weights_normalization(weights)(image), preset(image), atol=1e-6)


def test_a_transform_is_torchvisions():
    assert isinstance(training_transform(PLAIN), v2.Transform)
    assert isinstance(evaluation_transform(PLAIN), v2.Transform)
