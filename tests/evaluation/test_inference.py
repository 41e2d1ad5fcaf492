"""Flip, scales and tiles against whole-image passes, closed forms and hand computations."""

from itertools import pairwise

import pytest
import torch
from torch import nn

from gcnlab.evaluation import CITYSCAPES_CROPS, VOC_PADDED, Inference, predict, score_map
from gcnlab.evaluation.inference import (
    map_bytes,
    probabilities,
    scaled_size,
    tile_offsets,
    tile_weights,
)
from gcnlab.models import SegmentationNet

CLASSES = 4


def pointwise() -> nn.Module:
    """A network whose score at a pixel depends on that pixel alone: there are no border effects."""
    torch.manual_seed(0)
    return nn.Conv2d(3, CLASSES, 1)


def local(radius: int = 2) -> nn.Module:
    """A network that sees `radius` pixels in each direction, with zero padding."""
    torch.manual_seed(0)
    layers = [nn.Conv2d(3, 3, 3, padding=1) for _ in range(radius - 1)]
    return nn.Sequential(*layers, nn.Conv2d(3, CLASSES, 3, padding=1))


def images(height: int, width: int, batch: int = 1) -> torch.Tensor:
    generator = torch.Generator().manual_seed(height * 1000 + width)
    return torch.randn(batch, 3, height, width, generator=generator)


class Recorder(nn.Module):
    """A network that returns score maps from a list and records the sizes of its inputs."""

    def __init__(self, *answers: float):
        super().__init__()
        self.answers, self.sizes = list(answers), []

    def forward(self, batch):
        self.sizes.append(tuple(batch.shape[-2:]))
        value = self.answers[(len(self.sizes) - 1) % len(self.answers)]
        return torch.full((len(batch), 1, *batch.shape[-2:]), value)


# --- One pass


def test_the_default_is_the_softmax_of_one_whole_pass():
    net, image = local(), images(7, 11, batch=2)
    with torch.no_grad():
        expected = net(image).softmax(1)
    assert torch.allclose(score_map(net, image), expected, atol=1e-6)


def test_scores_can_be_fused_instead():
    net, image = local(), images(5, 6)
    with torch.no_grad():
        scores = net(image)
    assert torch.allclose(score_map(net, image, Inference(fuse="logits")), scores, atol=1e-6)
    fused = probabilities(net, image, Inference(fuse="logits"))
    assert torch.allclose(fused, scores.softmax(1), atol=1e-6)


def test_the_images_are_left_as_they_were():
    """Also if the network returns its input."""
    image = images(6, 9)
    before = image.clone()
    score_map(nn.Identity(), image, Inference(flip=True, scales=(1.0, 0.5), fuse="logits"))
    assert torch.equal(image, before)


# --- Tiles

TILINGS = [
    Inference(tile=(4, 4), overlap=0.0),
    Inference(tile=(5, 3), overlap=0.5),
    Inference(tile=(5, 7), overlap=0.7, blend="mean"),
    Inference(tile=(6, 6), overlap=0.6, margin=1),
    Inference(tile=(1, 1), overlap=0.0),
    Inference(tile=(100, 4), overlap=0.3),
    Inference(tile=(100, 100)),
]


@pytest.mark.parametrize("inference", TILINGS, ids=str)
@pytest.mark.parametrize("size", [(8, 8), (7, 13), (1, 9), (5, 1), (1, 1)])
def test_tiles_of_a_model_without_border_effects_fuse_to_the_whole_pass(inference, size):
    """Agreement at every pixel, those at the image's border and at the seams included."""
    net, image = pointwise(), images(*size, batch=2)
    assert torch.allclose(score_map(net, image, inference), score_map(net, image), atol=1e-6)


@pytest.mark.parametrize("blend", ["linear", "mean"])
def test_with_a_margin_tiles_of_a_local_model_fuse_to_the_whole_pass(blend):
    """A margin of what the model sees leaves out the pixels that saw a tile's padding; at the image's
    border tiles see the padding that the whole image does."""
    net, image = local(radius=2), images(23, 17)
    tiled = score_map(net, image, Inference(tile=(9, 8), overlap=0.5, margin=2, blend=blend))
    assert torch.allclose(tiled, score_map(net, image), atol=1e-6)


def test_without_a_margin_only_pixels_near_a_tiles_side_differ():
    net, image = local(radius=2), images(12, 20)
    offsets = tile_offsets(20, 12, 0.5)
    assert offsets == [0, 4, 8]
    whole = score_map(net, image)
    tiled = score_map(net, image, Inference(tile=(12, 12), overlap=0.5))
    differs = (whole - tiled).abs().amax((0, 1, 2)) > 1e-6
    # Sides that are not the image's: before columns 4 and 8, behind columns 11 and 15.
    touched = {c for side in (4, 8, 12, 16) for c in range(side - 2, side + 2)}
    inside = {c for c in touched if 4 <= c < 6 or 8 <= c < 10 or 10 <= c < 12 or 14 <= c < 16}
    assert set(differs.nonzero().flatten().tolist()) == inside


def test_seams_blend_by_hand():
    """Two tiles of 4 on 6 pixels share the columns 2 and 3. Weights fall off to the inner sides:
    2, 1 of the first (its last pixel has 1), 1, 2 of the second."""
    net = Recorder(0.0, 9.0)
    fused = score_map(net, images(1, 6), Inference(tile=(1, 4), overlap=0.5, fuse="logits"))
    assert fused.flatten().tolist() == pytest.approx([0, 0, 3, 6, 9, 9])
    net = Recorder(0.0, 9.0)
    inference = Inference(tile=(1, 4), overlap=0.5, blend="mean", fuse="logits")
    assert score_map(net, images(1, 6), inference).flatten().tolist() == [0, 0, 4.5, 4.5, 9, 9]


@pytest.mark.parametrize("blend", ["linear", "mean"])
@pytest.mark.parametrize(("length", "tile", "overlap", "margin"), [
    (20, 6, 0.5, 0), (21, 8, 0.5, 2), (7, 7, 0.5, 0), (5, 9, 0.5, 1), (50, 10, 0.9, 4), (11, 10, 0.0, 0),
])  # fmt: skip
def test_weights_sum_to_one_and_vanish_in_the_margin(length, tile, overlap, margin, blend):
    offsets = tile_offsets(length, tile, overlap)
    weights = tile_weights(length, tile, offsets, blend, margin)
    total = torch.zeros(length)
    for offset, weight in zip(offsets, weights):
        total[offset : offset + tile] += weight
        if offset > 0:
            assert (weight[:margin] == 0).all()
        if offset + tile < length:
            assert (weight[tile - margin :] == 0).all()
    assert torch.allclose(total, torch.ones(length), atol=1e-6)


@pytest.mark.parametrize("overlap", [0.0, 0.3, 0.5, 2 / 3, 0.9])
@pytest.mark.parametrize(
    ("length", "tile"), [(2048, 1024), (100, 33), (101, 100), (64, 64), (9, 2)]
)
def test_tiles_reach_from_side_to_side_and_overlap_enough(length, tile, overlap):
    offsets = tile_offsets(length, tile, overlap)
    assert (offsets[0], offsets[-1]) == (0, length - tile)
    steps = {b - a for a, b in pairwise(offsets)}
    assert all(0 < step <= max(1, tile * (1 - overlap) + 1e-9) for step in steps)
    assert not steps or max(steps) - min(steps) <= 1


def test_the_papers_four_crops():
    assert tile_offsets(2048, 1024, CITYSCAPES_CROPS.overlap) == [0, 341, 683, 1024]
    assert tile_offsets(1024, 1024, CITYSCAPES_CROPS.overlap) == [0]
    net = Recorder(0.0)
    score_map(net, torch.zeros(1, 3, 1024, 2048), CITYSCAPES_CROPS)
    assert net.sizes == [(1024, 1024)] * 4


# --- Flip


def test_flip_changes_nothing_of_a_symmetric_network():
    net, image = local(radius=1), images(9, 10)
    with torch.no_grad():
        net[0].weight += net[0].weight.flip(-1)
    inference = Inference(flip=True, tile=(9, 6))
    assert torch.allclose(
        score_map(net, image, inference),
        score_map(net, image, Inference(tile=(9, 6))),
        atol=1e-6,
    )


@pytest.mark.parametrize("fuse", ["logits", "probabilities"])
def test_flip_is_the_mean_of_both(fuse):
    net, image = local(), images(6, 7)
    with torch.no_grad():
        maps = net(image), net(image.flip(-1)).flip(-1)
        assert not torch.allclose(*maps, atol=1e-2)
        expected = sum(m.softmax(1) if fuse == "probabilities" else m for m in maps) / 2
    found = score_map(net, image, Inference(flip=True, fuse=fuse))
    assert torch.allclose(found, expected, atol=1e-6)


# --- Scales


@pytest.mark.parametrize("tile", [None, (5, 6)])
def test_scales_change_nothing_of_a_constant_image(tile):
    net = pointwise()
    image = torch.tensor([0.3, -1.0, 2.0])[None, :, None, None].expand(2, 3, 9, 13)
    inference = Inference(flip=True, scales=(0.5, 0.77, 1.0, 1.5), tile=tile)
    assert torch.allclose(score_map(net, image, inference), score_map(net, image), atol=1e-6)


@pytest.mark.parametrize("scale", [2.0, 3.0])
def test_a_ramp_stays_where_it_was(scale):
    """Bilinear scaling with pixels as areas keeps a ramp inside the image; half a pixel's shift, as with
    corners aligned or cut coordinates, would show."""
    ramp = torch.arange(24.0).expand(1, 3, 20, 24) + 3 * torch.arange(20.0)[:, None]
    found = score_map(nn.Identity(), ramp, Inference(scales=(scale,), fuse="logits"))
    inner = (..., slice(2, -2), slice(2, -2))
    assert torch.allclose(found[inner], ramp[inner], atol=1e-3)


def test_all_scales_have_one_weight():
    net = Recorder(1.0, 2.0, 6.0)
    inference = Inference(scales=(0.5, 1.0, 2.0), fuse="logits")
    fused = score_map(net, images(7, 10), inference)
    assert net.sizes == [(4, 5), (7, 10), (14, 20)]
    assert fused.shape == (1, 1, 7, 10)
    assert torch.allclose(fused, torch.full_like(fused, 3.0))


def test_no_scale_makes_an_image_vanish():
    assert scaled_size((1, 10), 0.2) == (1, 2)


@pytest.mark.parametrize("size", [(33, 47), (1, 1), (40, 31)])
def test_a_real_network_at_odd_sizes(size):
    torch.manual_seed(0)
    net = SegmentationNet("mini", CLASSES, kernel_size=3).eval()
    inference = Inference(flip=True, scales=(0.75, 1.0, 1.25), tile=(32, 32))
    found = score_map(net, images(*size), inference)
    assert found.shape == (1, CLASSES, *size)
    assert torch.allclose(found.sum(1), torch.ones(1, *size), atol=1e-5)


# --- Padding


def test_padding_fills_up_what_is_smaller_and_cuts_it_off_again():
    net = Recorder(1.0)
    assert score_map(net, images(5, 9), Inference(pad_to=(8, 8))).shape == (1, 1, 5, 9)
    score_map(net, images(5, 9), Inference(pad_to=(8, 8), scales=(2.0,)))
    assert net.sizes == [(8, 9), (10, 18)]
    assert VOC_PADDED.pad_to == (512, 512)


def test_padding_is_zero_at_the_bottom_and_right():
    net, image = local(radius=1), images(4, 4)
    whole = torch.zeros(1, 3, 7, 7)
    whole[..., :4, :4] = image
    found = score_map(net, image, Inference(pad_to=(7, 7), fuse="logits"))
    with torch.no_grad():
        assert torch.allclose(found, net(whole)[..., :4, :4], atol=1e-6)


# --- Memory


def test_the_maps_of_three_scales_by_hand():
    """19 classes at 1024×2048: the fused map, that of scale 1.25 with its image, two single maps."""
    pixels = 1024 * 2048
    largest = 1280 * 2560
    expected = 4 * (19 * pixels + 22 * largest + 2 * largest)
    assert map_bytes(19, (1024, 2048), Inference(scales=(0.75, 1.0, 1.25))) == expected
    assert map_bytes(19, (1024, 2048), Inference(tile=(512, 512))) == 4 * 21 * pixels


# --- predict


def test_predict_takes_the_largest_of_the_fused():
    net, image = local(), images(6, 8, batch=2)
    inference = Inference(flip=True, scales=(1.0, 1.5))
    assert torch.equal(
        predict(net, image, inference=inference), score_map(net, image, inference).argmax(1)
    )
    with torch.no_grad():
        assert torch.equal(predict(net, image), net(image).argmax(1))


# --- What is wrong is said


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"scales": ()}, "inference.scales"),
        ({"scales": (1.0, 0.0)}, "inference.scales"),
        ({"scales": (float("nan"),)}, "inference.scales"),
        ({"tile": (0, 5)}, "inference.tile"),
        ({"overlap": 1.0}, "inference.overlap"),
        ({"overlap": -0.1}, "inference.overlap"),
        ({"margin": -1}, "inference.margin"),
        ({"tile": (10, 8), "margin": 3}, r"inference.margin .*\(4 pixels\)"),
        ({"pad_to": (0, 512)}, "inference.pad_to"),
    ],
)
def test_bad_settings_are_named(arguments, words):
    with pytest.raises(ValueError, match=words):
        Inference(**arguments)
