"""An object of a photograph on another ground, and the cat with its hand-drawn outline."""

import json
import math

import numpy as np
import pytest
import torch
from matplotlib.path import Path as Polygon
from scipy.ndimage import binary_erosion

from gcnlab.datasets import (
    at_scales,
    blurred_ground,
    cat_photograph,
    cut_out,
    deepest_pixel,
    paste,
    plain_ground,
    textured_ground,
)
from gcnlab.datasets.photographs import fill_polygon
from gcnlab.pretrained import data_folder

HEIGHT, WIDTH = 60, 80


def disc(radius: float = 15, center=(30, 40), height=HEIGHT, width=WIDTH) -> torch.Tensor:
    rows, columns = torch.arange(height)[:, None], torch.arange(width)
    return (rows - center[0]) ** 2 + (columns - center[1]) ** 2 <= radius**2


def noise(height=HEIGHT, width=WIDTH, seed=0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (3, height, width), dtype=torch.uint8, generator=generator)


MASKS = {
    "a disc": disc(),
    "a disc that the border cuts": disc(15, (5, 74)),
    "scattered pixels": noise()[0] > 200,
    "one pixel": disc(0.5, (0, 79)),
    "everything": torch.ones(HEIGHT, WIDTH, dtype=torch.bool),
}


# --- The object where it was


@pytest.mark.parametrize("mask", MASKS.values(), ids=MASKS.keys())
def test_an_object_pasted_back_gives_its_photograph(mask):
    image = noise()
    item = cut_out(image, mask)
    again, found = paste(item, image, item.center)
    assert torch.equal(again, image)
    assert torch.equal(found, mask)


@pytest.mark.parametrize("mask", MASKS.values(), ids=MASKS.keys())
def test_only_the_outermost_pixels_are_softened(mask):
    """On white, a black object shows its opacity."""
    item = cut_out(torch.zeros(3, HEIGHT, WIDTH, dtype=torch.uint8), mask)
    image, _ = paste(item, plain_ground(HEIGHT, WIDTH, (255, 255, 255)), item.center)
    inner = binary_erosion(mask.numpy(), np.ones((3, 3)), border_value=True)
    assert (image[:, inner] == 0).all()
    assert (image[:, ~mask] == 255).all()
    edge = image[:, mask.numpy() & ~inner]
    assert ((edge > 0) & (edge < 255)).all()


def test_the_softened_edge_by_hand():
    """A pixel of a straight edge has 6 of 9 neighbours in the object, a corner 4 of 9."""
    mask = torch.zeros(9, 9, dtype=torch.bool)
    mask[2:7, 2:7] = True
    item = cut_out(torch.zeros(3, 9, 9, dtype=torch.uint8), mask)
    image, _ = paste(item, plain_ground(9, 9, (90, 90, 90)), item.center)
    assert image[0, 2].tolist() == [90, 90, 50, 30, 30, 30, 50, 90, 90]
    assert image[0, 4].tolist() == [90, 90, 30, 0, 0, 0, 30, 90, 90]


# --- Moved and resized


def test_whole_steps_move_the_object():
    item, plain = cut_out(noise(), disc()), plain_ground(HEIGHT, WIDTH)
    image, mask = paste(item, plain, item.center)
    moved, moved_mask = paste(item, plain, (item.center[0] - 7, item.center[1] + 11))
    assert torch.equal(moved_mask[:-7, 11:], mask[7:, :-11])
    assert torch.equal(moved[:, :-7, 11:], image[:, 7:, :-11])


@pytest.mark.parametrize("scale", [0.3, 0.5, 0.9, 1.7, 3])
def test_the_area_grows_with_the_square_of_the_scale(scale):
    mask = disc(40, (50, 50), 101, 101)
    item = cut_out(noise(101, 101), mask)
    _, found = paste(item, plain_ground(400, 500), scale=scale)
    assert found.sum().item() == pytest.approx(scale**2 * mask.sum().item(), rel=0.02)
    places = found.nonzero().double()
    assert places.mean(0).tolist() == pytest.approx([199.5, 249.5], abs=0.51)  # whole pixels
    sides = (found.any(1).sum().item(), found.any(0).sum().item())
    assert sides == pytest.approx((81 * scale, 81 * scale), abs=1.01)


@pytest.mark.parametrize("scale", [0.4, 1, 2.3])
def test_no_colour_of_the_old_ground_shows(scale):
    """A blue object on red, laid on green, has no red in it, and its inside is as it was."""
    mask = disc()
    image = plain_ground(HEIGHT, WIDTH, (255, 0, 0))
    image[:, mask] = torch.tensor([0, 0, 200], dtype=torch.uint8)[:, None]
    laid, found = paste(cut_out(image, mask), plain_ground(100, 120, (0, 240, 0)), scale=scale)
    assert (laid[0] == 0).all()
    blend = math.ceil(3 * scale)  # one softened pixel, and two that the interpolation reads
    deep = binary_erosion(found.numpy(), np.ones((3, 3)), iterations=blend)
    assert deep.any()
    assert (laid[:, deep] == torch.tensor([0, 0, 200], dtype=torch.uint8)[:, None]).all()
    far = binary_erosion(~found.numpy(), np.ones((3, 3)), iterations=blend, border_value=True)
    assert (laid[:, far] == torch.tensor([0, 240, 0], dtype=torch.uint8)[:, None]).all()


@pytest.mark.parametrize("scale", [0.6, 1, 1.5])
@pytest.mark.parametrize("center", [(0, 0), (59, 41.5), (30, -4)])
def test_what_lies_beyond_the_ground_is_cut_off(scale, center):
    item, frame = cut_out(noise(), disc()), 60
    wide, wide_mask = paste(
        item,
        plain_ground(HEIGHT + 2 * frame, WIDTH + 2 * frame),
        (center[0] + frame, center[1] + frame),
        scale,
    )
    image, mask = paste(item, plain_ground(HEIGHT, WIDTH), center, scale)
    inside = (..., slice(frame, frame + HEIGHT), slice(frame, frame + WIDTH))
    assert torch.equal(image, wide[inside])
    assert torch.equal(mask, wide_mask[inside])
    assert 0 < mask.sum() < wide_mask.sum()


def test_the_ground_is_not_changed():
    ground = noise(seed=1)
    paste(cut_out(noise(), disc()), ground, (3, 3), 2)
    assert torch.equal(ground, noise(seed=1))


def test_what_cannot_be_pasted():
    item, ground = cut_out(noise(), disc()), noise(seed=1)
    with pytest.raises(ValueError, match="the mask is empty"):
        cut_out(noise(), torch.zeros(HEIGHT, WIDTH, dtype=torch.bool))
    for scale in (0, -1, float("nan"), float("inf")):
        with pytest.raises(ValueError, match=f"scale must be above 0, not {scale}"):
            paste(item, ground, scale=scale)
    with pytest.raises(ValueError, match=r"at scale 1e-09 .*\(31, 31\) is smaller than a pixel"):
        paste(item, ground, scale=1e-9)
    for center in ((-40, 40), (200, 40), (30, -40), (30, 120)):
        with pytest.raises(ValueError, match=r"no pixel of the object is on the ground of 60×80"):
            paste(item, ground, center)


def test_an_object_outside_can_be_allowed():
    ground = noise(seed=1)
    image, mask = paste(cut_out(noise(), disc()), ground, (-40, 40), allow_outside=True)
    assert torch.equal(image, ground)
    assert not mask.any()


# --- Several sizes, and the pixel deepest inside


def test_the_same_object_at_several_scales():
    item, ground = cut_out(noise(), disc()), plain_ground(90, 120)
    placed = list(at_scales(item, ground, (0.5, 1, 2), (40, 50)))
    assert [one.scale for one in placed] == [0.5, 1, 2]
    for one in placed:
        image, mask = paste(item, ground, (40, 50), one.scale)
        assert torch.equal(one.image, image)
        assert torch.equal(one.mask, mask)
        assert np.abs(np.array(one.pixel) - (40, 50)).max() <= 1


def test_the_deepest_pixel_by_hand():
    mask = torch.zeros(9, 12, dtype=torch.bool)
    mask[1:6, 2:7] = True  # the middle of this square is three pixels from its outside
    mask[7, :] = True
    assert deepest_pixel(mask) == (3, 4)
    assert deepest_pixel(torch.ones(3, 5, dtype=torch.bool)) == (1, 1)  # the border is outside
    with pytest.raises(ValueError, match="the mask is empty"):
        deepest_pixel(torch.zeros(3, 3, dtype=torch.bool))


# --- Grounds


def test_the_grounds():
    assert plain_ground(2, 3, (1, 2, 3))[:, 1, 2].tolist() == [1, 2, 3]
    assert torch.equal(textured_ground(20, 30, 4), textured_ground(20, 30, 4))
    assert not torch.equal(textured_ground(20, 30, 4), textured_ground(20, 30, 5))
    step = plain_ground(40, 40, (0, 0, 0))
    step[:, :, 20:] = 200
    soft = blurred_ground(step, 4)[0, 20].float()
    assert soft[[0, 39]].tolist() == pytest.approx([0, 200], abs=1)
    assert soft[19:21].mean().item() == pytest.approx(100, abs=2)
    assert (soft.diff() >= 0).all()
    with pytest.raises(ValueError, match="radius must be above 0"):
        blurred_ground(step, 0)


# --- The cat


def test_a_polygon_contains_the_centres_inside_it():
    square = fill_polygon([(0.5, 0.5), (0.5, 3.5), (2.5, 3.5), (2.5, 0.5)], 4, 5)
    assert square.nonzero().tolist() == [[r, c] for r in (1, 2) for c in (1, 2, 3)]
    with pytest.raises(ValueError, match="at least three vertices, not 2"):
        fill_polygon([(0, 0), (1, 1)], 3, 3)


def test_the_mask_of_the_cat_is_its_outline():
    image, mask = cat_photograph()
    outline = json.loads((data_folder("cat") / "outline.json").read_text())
    assert image.shape == (3, 300, 451)
    polygon = Polygon(outline["vertices"], closed=False)
    centres = np.stack(np.mgrid[:300, :451], -1).reshape(-1, 2)
    # A centre exactly on the outline counts as to the right of it.
    oracle = polygon.contains_points(centres + np.array([0, 1e-6])).reshape(300, 451)
    assert np.array_equal(mask, oracle)
    eyes, nose, chest = [(110, 170), (135, 312)], (240, 265), (280, 80)
    assert all(mask[pixel] for pixel in [*eyes, nose, chest])
    assert not any(mask[pixel] for pixel in [(40, 10), (60, 420), (200, 400), (290, 330)])
    assert mask.float().mean().item() == pytest.approx(0.74, abs=0.01)


def test_the_cat_at_half_its_size():
    image, mask = cat_photograph()
    item = cut_out(image, mask)
    _, found = paste(item, textured_ground(256, 384), scale=0.5)
    assert found.sum().item() == pytest.approx(mask.sum().item() / 4, rel=0.01)
    assert torch.equal(paste(item, image, item.center)[0], image)


def test_another_photograph_is_refused(monkeypatch):
    from skimage import data

    monkeypatch.setattr(data, "cat", lambda: np.zeros((10, 10, 3), np.uint8))
    with pytest.raises(ValueError, match=r"outline was drawn on \(3, 300, 451\)"):
        cat_photograph()
