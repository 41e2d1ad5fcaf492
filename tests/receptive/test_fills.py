"""Fills of the occluder, against SciPy and against images that are occluded by hand."""

from random import Random

import jaxtyping
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import ndimage
from torch import nn

from gcnlab.experiments.shared_backbone import drops_together, tables_together
from gcnlab.models import SegmentationNet
from gcnlab.models.logits import logits_of
from gcnlab.receptive import (
    AtlasSettings,
    FieldAtlas,
    Occlusion,
    OcclusionSettings,
    valid_field,
)
from gcnlab.receptive.fills import blurring, fill_image
from gcnlab.receptive.grid import OcclusionGrid
from gcnlab.receptive.settings import FILLS
from tests.receptive.networks import random_network

pytestmark = [
    # PyTorch says so once for convolutions that random networks may well have.
    pytest.mark.filterwarnings("ignore:Using padding='same'"),
    # A random network may fail its check; every window is then run plain.
    pytest.mark.filterwarnings("ignore:.*every window runs the whole network"),
]


def picture(height=20, width=26, seed=0):
    """Channels of different means and contrasts, with large and small shapes."""
    noise = torch.randn(3, height, width, generator=torch.Generator().manual_seed(seed))
    smooth = torch.linspace(-1, 2, height)[:, None] * torch.linspace(1, 3, width)
    return noise * torch.tensor([0.3, 1, 2])[:, None, None] + smooth


def small(classes=4):
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, 2, 1), nn.BatchNorm2d(8), nn.ReLU(), nn.MaxPool2d(3, 2, 1),
        nn.Conv2d(8, 8, 3, padding=1), nn.ReLU(), nn.Upsample(scale_factor=4, mode="bilinear"),
        nn.Conv2d(8, classes, 3, padding=1),
    ).eval()  # fmt: skip


def agree(ours, theirs):
    """Equal within 1e-4 of the largest value."""
    scale = theirs.abs().max().clamp(min=1e-12)
    torch.testing.assert_close(ours / scale, theirs / scale, atol=1e-4, rtol=0)


def drops_by_hand(model, image, fill, window, stride):
    """Clean − occluded of all classes and units, (down, across, classes, rows, columns): the image
    with a slice of the filling pasted into it, one window at a time."""
    (height, width), (dy, dx) = window, stride
    filling = fill_image(image, fill, window)
    with torch.no_grad():
        clean = logits_of(model, image[None])[0]
        rows = []
        for top in range(0, image.shape[1] - height + dy, dy):
            row = []
            for left in range(0, image.shape[2] - width + dx, dx):
                occluded = image.clone()
                place = slice(top, top + height), slice(left, left + width)
                occluded[:, *place] = filling[:, *place]
                row.append(clean - logits_of(model, occluded[None])[0])
            rows.append(torch.stack(row))
    return torch.stack(rows)


def test_mean_is_the_mean_of_each_channel():
    image = picture()
    found = fill_image(image, "mean", (4, 4))
    assert found.shape == image.shape
    for channel, one in zip(found, image.numpy().astype(np.float64)):
        assert channel.unique().tolist() == [np.float32(one.mean())]


@given(st.integers(1, 40), st.integers(1, 40), st.tuples(st.integers(1, 30), st.integers(1, 30)))
def test_blur_is_that_of_scipy_at_any_size(height, width, window):
    """Also where the blur reaches several times over the image."""
    image = picture(height, width).double()
    found = fill_image(image, "blur", window)
    for ours, one in zip(found, image.numpy()):
        theirs = ndimage.gaussian_filter(one, max(window) / 2, mode="reflect", truncate=4)
        np.testing.assert_allclose(ours.numpy(), theirs, atol=1e-10)


@given(st.integers(1, 60), st.integers(1, 60))
def test_blur_keeps_the_mean_and_what_is_uniform(length, window):
    weights = blurring(length, window / 2)
    torch.testing.assert_close(weights.sum(0), torch.ones(length).double())
    torch.testing.assert_close(weights.sum(1), torch.ones(length).double())
    uniform = torch.full((3, length, 7), 0.1)
    assert torch.equal(fill_image(uniform, "blur", (window, 1)), uniform)


def test_blur_leaves_nothing_of_the_windows_size():
    place = torch.arange(240.0)
    wave = torch.cos(2 * torch.pi * place / 24).expand(1, 5, -1).contiguous()
    left = fill_image(wave, "blur", (3, 24))[0, 2, 60:180].abs().max().item()
    assert left == pytest.approx(np.exp(-(np.pi**2) / 2), rel=0.02)  # 0.7 %


def test_noise_has_the_images_mean_and_standard_deviation():
    image = picture(90, 100)
    noise = fill_image(image, "noise", (4, 4))
    torch.testing.assert_close(noise.mean((1, 2)), image.mean((1, 2)), atol=0.06, rtol=0)
    torch.testing.assert_close(noise.std((1, 2)), image.std((1, 2)), atol=0, rtol=0.03)
    neighbours = torch.corrcoef(torch.stack([noise[1, :, :-1].ravel(), noise[1, :, 1:].ravel()]))
    assert abs(neighbours[0, 1]) < 0.05


def test_noise_is_the_same_in_every_pass_and_draws_no_random_number():
    image, state = picture(), torch.get_rng_state()
    first = fill_image(image, "noise", (4, 4))
    assert torch.equal(torch.get_rng_state(), state)
    torch.rand(3)
    assert torch.equal(fill_image(image, "noise", (9, 5)), first)


@pytest.mark.parametrize("fill", [0.0, -1.5, *FILLS])
@pytest.mark.parametrize("dtype", [torch.float16, torch.float32, torch.float64])
def test_type_and_shape_are_those_of_the_image(fill, dtype):
    image = picture().to(dtype)
    before = image.clone()
    found = fill_image(image, fill, (4, 6))
    assert found.dtype == dtype
    assert found.shape == image.shape
    assert torch.equal(image, before)


def test_an_image_of_one_pixel():
    image = torch.tensor([0.3, -1, 2])[:, None, None]
    for fill in FILLS:
        assert torch.equal(fill_image(image, fill, (1, 1)), image), fill


@pytest.mark.slow
@pytest.mark.parametrize("fill", FILLS)
@pytest.mark.parametrize("seed", [2, 5, 8, 10, 15, 21])
def test_random_networks_exact_equals_plain_equals_by_hand(fill, seed):
    drawn, draw = random_network(seed), Random(seed)
    size = drawn.image.shape[1:]
    window = tuple(draw.randint(2, n) for n in size)
    stride = tuple(draw.randint(max(1, w // 2), w) for w in window)
    by_hand = drops_by_hand(drawn.model, drawn.image, fill, window, stride)
    grid = OcclusionGrid(tuple(size), window, stride)
    exact, plain = Occlusion(drawn.model, drawn.image), Occlusion(drawn.model, drawn.image, False)
    rows, columns = drawn.size
    settings = OcclusionSettings(window, stride, fill)
    for pixel in [(0, 0), (rows - 1, columns - 1), (rows // 2, columns // 3)]:
        theirs = grid.spread(by_hand[:, :, 1, *pixel])
        for occlusion in (plain, exact):
            field = occlusion.field(pixel, 1, settings)
            assert field.fill == fill
            agree(field.discrepancy.double(), theirs.double())


@pytest.mark.slow
@pytest.mark.parametrize("fill", FILLS)
@pytest.mark.parametrize("seed", [1, 4, 9, 13])
def test_an_atlas_equals_valid_field(fill, seed):
    drawn, draw = random_network(seed), Random(seed)
    size = drawn.image.shape[1:]
    window = tuple(draw.randint(2, n) for n in size)
    stride = tuple(draw.randint(max(1, w // 2), w) for w in window)
    atlas = FieldAtlas(drawn.model, drawn.image, window, stride, fill, every=2).build()
    rows, columns = (at.tolist() for at in atlas.units)
    corners = [(r, c) for r in (rows[0], rows[-1]) for c in (columns[0], columns[-1])]
    for pixel in [*corners, *((draw.choice(rows), draw.choice(columns)) for _ in range(6))]:
        theirs = valid_field(drawn.model, drawn.image, pixel, None, window, stride, fill)
        ours = atlas.field(pixel)
        assert (ours.fill, ours.target, ours.window) == (fill, theirs.target, theirs.window)
        agree(ours.discrepancy, theirs.discrepancy)


@pytest.mark.parametrize("fill", FILLS)
@pytest.mark.parametrize("reuse", [True, False])
def test_an_atlas_equals_the_definition(fill, reuse):
    net, image = small(), picture(40, 44)
    by_hand = drops_by_hand(net, image, fill, (12, 9), (8, 9))
    atlas = FieldAtlas(net, image, (12, 9), (8, 9), fill, (0, 2), every=8, reuse=reuse).build()
    rows, columns = atlas.units
    theirs = by_hand[:, :, [0, 2]][..., rows[:, None], columns].permute(2, 3, 4, 0, 1)
    agree(atlas.table.values, theirs)


@pytest.mark.parametrize("fill", FILLS)
def test_a_drilldown_to_the_end_is_exact(fill):
    net, image = small(), picture(40, 44)
    options = {"target": 1, "window": 8, "stride": 4, "fill": fill}
    found = valid_field(net, image, (20, 30), method="drilldown", agreement=1, **options)
    agree(found.discrepancy, valid_field(net, image, (20, 30), **options).discrepancy)


def test_one_occlusion_keeps_the_fills_apart():
    """Also two windows of one fill, and two strides of one window: only the blur depends on the
    window."""
    net, image = small(), picture(40, 44)
    occlusion = Occlusion(net, image)
    asked = [(w, s, fill) for w, s in ((8, 4), (16, 8), (16, 4)) for fill in (0.0, *FILLS)]
    for window, stride, fill in asked + asked[::-1]:
        ours = occlusion.field((20, 30), 1, OcclusionSettings(window, stride, fill))
        theirs = valid_field(net, image, (20, 30), 1, window, stride, fill, "plain")
        agree(ours.discrepancy, theirs.discrepancy)


@pytest.mark.parametrize("fill", FILLS)
def test_windows_that_change_nothing_are_not_run(fill):
    """Of a uniform image every fill is uniform, the noise too, since it has no contrast."""
    image, run = torch.full((3, 24, 24), 0.7), []
    net = small()
    net.register_forward_hook(lambda *_: run.append(1))
    atlas = FieldAtlas(net, image, 8, 8, fill, reuse=False)
    before = len(run)
    assert not atlas.build().table.values.any()
    assert len(run) == before


@pytest.mark.parametrize("fill", FILLS)
def test_a_saved_atlas_goes_on(fill, tmp_path):
    net, image, path = small(), picture(40, 44), tmp_path / "one.atlas"
    whole = FieldAtlas(net, image, 8, 4, fill).build()
    part = FieldAtlas(net, image, 8, 4, fill)
    for share in part.steps():
        if share > 0.4:
            break
    part.save(path)
    found = FieldAtlas.load(path, net, image)
    assert found.settings.fill == fill
    assert 0 < found.evaluated < 1
    torch.testing.assert_close(found.build().table.values, whole.table.values)


@pytest.mark.parametrize("fill", FILLS)
def test_networks_on_one_backbone_take_it(fill):
    net, image = SegmentationNet("mini", 3, kernel_size=3).eval(), picture(48, 64)
    settings = AtlasSettings(16, 16, fill, (0, 2), every=8)
    (table,) = tables_together([net], image, settings)
    atlas = FieldAtlas(net, image, 16, 16, fill, (0, 2), every=8).build()
    agree(table.values, atlas.table.values)
    grid, occlusion = OcclusionGrid((48, 64), 16, 16), OcclusionSettings(16, 16, fill)
    (drops,) = drops_together([net], [3], image, (20, 30), grid, fill)
    agree(drops, Occlusion(net, image).drops((20, 30), occlusion))


@pytest.mark.parametrize("fill", FILLS)
def test_images_that_influence_each_other_are_run_one_by_one(fill):
    class MixesTheBatch(nn.Conv2d):
        def forward(self, x):
            y = super().forward(x)
            return y - y.mean(0, keepdim=True) + y.mean((0, 2, 3), keepdim=True)

    torch.manual_seed(0)
    net, image = MixesTheBatch(3, 2, 3, padding=1).eval(), picture(24, 24)
    field = valid_field(net, image, (5, 6), 0, 8, 8, fill, method="plain")
    assert "mixes the images of a batch" in field.note
    theirs = drops_by_hand(net, image, fill, (8, 8), (8, 8))
    agree(field.discrepancy, OcclusionGrid((24, 24), 8, 8).spread(theirs[:, :, 0, 5, 6]))


@pytest.mark.parametrize("settings", [OcclusionSettings, AtlasSettings])
def test_an_unknown_name_lists_what_there_is(settings, monkeypatch):
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)
    for unknown in ("grey", "", "Mean", "0.5"):
        words = f"unknown fill '{unknown}'; choose mean, blur, noise, or a number"
        with pytest.raises(ValueError, match=words):
            settings(fill=unknown)
    with pytest.raises(ValueError, match="fill must be a number, not None"):
        settings(fill=None)


def test_every_way_in_refuses_an_unknown_name(monkeypatch):
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)
    net, image = small(), picture()
    for call in (
        lambda: valid_field(net, image, (1, 1), fill="grey"),
        lambda: FieldAtlas(net, image, fill="grey"),
        lambda: fill_image(image, "grey", (4, 4)),
    ):
        with pytest.raises(ValueError, match="unknown fill 'grey'; choose mean, blur, noise"):
            call()


def test_an_infinite_logit_names_the_fill():
    class Inverse(nn.Module):
        def forward(self, x):
            return 1 / (x - 1)

    image = torch.tensor([0.0, 2]).repeat(3, 8, 4)  # its mean is 1
    with pytest.raises(ValueError, match="filled with 'mean': try another fill"):
        valid_field(Inverse(), image, (2, 2), 0, 4, 4, "mean", "plain")
