import numpy as np
import pytest
import torch
from matplotlib.figure import Figure
from models import Broken
from PIL import Image
from torch import nn

import gcnlab.widgets.animation
from gcnlab.datasets import SHAPES, cat_photograph, cut_out, plain_ground
from gcnlab.widgets import ResizeExplorer
from gcnlab.widgets.animation import draw_frame, save_animation
from gcnlab.widgets.sized_pictures import stills
from gcnlab.widgets.snapshot import Still

pytestmark = pytest.mark.slow

SIZES = (20, 33.5, 48)


class Local(nn.Module):
    """Seven classes by the mean colour around a pixel."""

    def __init__(self, side):
        super().__init__()
        torch.manual_seed(side)
        self.conv = nn.Conv2d(3, 7, side, padding=side // 2)

    def forward(self, images):
        return self.conv(images)


@pytest.fixture(scope="module")
def explorer():
    models = {"near": Local(3), "far": Local(21)}
    explorer = ResizeExplorer(models, "star", size=30, image_size=64)
    yield explorer.wait()
    explorer.close()


@pytest.fixture
def texts(monkeypatch):
    """The texts of each figure that is drawn."""
    drawn = []

    class Recorded(Figure):
        def __init__(self, *args, **options):
            super().__init__(*args, **options)
            drawn.append([])

        def text(self, left, height, text, **options):
            drawn[-1].append(text)
            return super().text(left, height, text, **options)

    monkeypatch.setattr(gcnlab.widgets.animation, "Figure", Recorded)
    return drawn


def read(path):
    """The frames of an animation, RGB."""
    with Image.open(path) as file:
        frames = []
        for number in range(file.n_frames):
            file.seek(number)
            frames.append(np.asarray(file.convert("RGB")).astype(int))
        return frames, file.info


@pytest.mark.parametrize("name", ["star.gif", "star.png", "star.APNG"])
def test_there_and_back_without_an_end(explorer, tmp_path, name):
    explorer.animate(tmp_path / name, SIZES, seconds=2)
    frames, info = read(tmp_path / name)
    assert len(frames) == 4
    assert (frames[3] == frames[1]).all()
    assert not any((frames[0] == other).all() for other in frames[1:])
    assert info["loop"] == 0
    assert info["duration"] == 500
    with Image.open(tmp_path / name) as file:
        assert file.format == ("GIF" if name == "star.gif" else "PNG")


def test_the_texts_of_a_frame_are_the_values_of_the_explorer(explorer, tmp_path, texts):
    explorer.animate(tmp_path / "star.gif", SIZES)
    assert len(texts) == 3
    for drawn, size in zip(texts, SIZES):
        explorer.change(size=size).wait()
        wanted = ["near", "far"]
        for title in ("near", "far"):
            wanted.append(f"object {explorer.coverage(title):.0%} covered")
            wanted.append(f"IoU {explorer.iou(title):.0%}")
        wanted += [f"star, {size:.0f} px", "region: 80 % of the mass; occluder: 8 px every 4"]
        assert sorted(drawn) == sorted(wanted)
    explorer.change(size=30).wait()


def test_the_pictures_of_a_frame_are_those_of_the_explorer(explorer, monkeypatch):
    monkeypatch.setattr(gcnlab.widgets.animation, "WIDTH", 64)  # a pixel for every pixel
    explorer.change(size=48).wait()
    frame = draw_frame(explorer.stills, "star", "").astype(int)
    pictures = [explorer.pictures["near"], explorer.pictures["far"]]
    pictures += [explorer.predicted["near"], explorer.predicted["far"]]
    for number, picture in enumerate(pictures):
        top = 14 + 2 * 17 + number // 2 * (64 + 17 + 14)
        left = 14 + number % 2 * (64 + 14)
        found = frame[top : top + 64, left : left + 64]
        # Away from the dot and the outlines, which take more than a pixel.
        plain = np.ones((64, 64), dtype=bool)
        row, column = picture.pixel
        plain[row - 5 : row + 6, column - 5 : column + 6] = False
        for segments in picture.segments.values():
            for x, y, x2, y2 in segments:
                plain[max(0, y - 3) : y2 + 3, max(0, x - 3) : x2 + 3] = False
        assert plain.sum() > 500
        assert np.abs(found - picture.raster)[plain].max() <= 1
        assert (found[row, column] == (255, 0, 0)).all()
    explorer.change(size=30).wait()


def test_what_does_not_move_does_not_flicker(explorer, tmp_path):
    """What is equal in two frames is equal in the file."""
    explorer.animate(tmp_path / "star.gif", SIZES)
    frames, _ = read(tmp_path / "star.gif")
    first, second, third = (
        draw_frame(
            stills(sized, ["near", "far"], SHAPES),
            f"star, {sized.size:.0f} px",
            "region: 80 % of the mass; occluder: 8 px every 4",
        )
        for sized in explorer._answered(SIZES)
    )
    for one, other, own, following in ((0, 1, first, second), (1, 2, second, third)):
        same = (own == following).all(-1)
        assert 0.3 < same.mean() < 1
        assert (frames[one] == frames[other]).all(-1)[same].all()
    assert np.abs(frames[1] - second).mean() < 4


def test_two_networks_and_twelve_sizes_take_less_than_two_megabytes(tmp_path):
    """With the texture of Shapes at its usual size, which compresses badly."""
    models = {"near": Local(3), "far": Local(9)}
    explorer = ResizeExplorer(models, "star", size=70, window=64, stride=64).wait()
    for name in ("star.gif", "star.png"):
        explorer.animate(tmp_path / name, np.linspace(30, 250, 12).tolist())
        assert len(read(tmp_path / name)[0]) == 22
        assert (tmp_path / name).stat().st_size < 2e6
    explorer.close()


def test_without_sizes_it_shows_those_that_are_computed_ahead(tmp_path, texts):
    explorer = ResizeExplorer({"near": Local(3)}, "star", image_size=64).wait(ahead=True)
    before = explorer.item
    explorer.animate(tmp_path / "star.gif")
    headings = [text for drawn in texts for text in drawn if text.startswith("star")]
    assert headings == [f"star, {size} px" for size in range(16, 65, 4)]
    assert explorer.item == before
    assert explorer.pictures["near"].error == ""
    explorer.close()


def test_an_object_of_a_photograph_on_an_oblong_ground(tmp_path):
    cat = cut_out(*cat_photograph())
    explorer = ResizeExplorer({"near": Local(3)}, "cat", cutout=cat, ground=plain_ground(48, 96))
    explorer.animate(tmp_path / "cat.png", [40, 90])
    frames, _ = read(tmp_path / "cat.png")
    assert len(frames) == 2
    height = 14 + 2 * 17 + 2 * (96 + 17 + 14) + 2 * 17  # two lines below the pictures
    assert frames[0].shape == (height, 192 + 2 * 14, 3)
    explorer.close()


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("star.mp4", {}, r"star\.mp4: an animation needs the suffix \.gif, \.png, \.apng"),
        ("star", {}, "an animation needs the suffix"),
        ("star.gif", {"seconds": 0}, "seconds must be positive, not 0"),
        ("star.gif", {"seconds": float("nan")}, "seconds must be a finite number, not nan"),
        ("star.gif", {"seconds": 1e-6}, "seconds must be at least 0.48 for 24 frames, 20 ms each"),
        ("star.png", {"sizes": [20, 30], "seconds": 0.039}, "at least 0.04 for 2 frames"),
        ("star.png", {"sizes": [20], "seconds": 0.019}, "at least 0.02 for 1 frames"),
        ("star.gif", {"seconds": 61}, "seconds must be at most 60, not 61"),
        ("star.gif", {"sizes": []}, "sizes is empty: give at least one size"),
        ("star.gif", {"sizes": [30, 0]}, "size must be at least 1 pixel, not 0"),
        ("star.gif", {"sizes": [float("nan")]}, "size must be a finite number, not nan"),
        ("star.gif", {"sizes": "ab"}, "size must be a number, not 'a'"),
        ("star.gif", {"sizes": 30}, "sizes must be several sizes, in pixels, not 30"),
        ("star.gif", {"sizes": np.zeros((2, 2))}, "size must be a number, not array"),
        ("star.gif", {"sizes": np.array([])}, "sizes is empty: give at least one size"),
    ],
)
def test_what_cannot_be_animated(explorer, tmp_path, name, options, message):
    with pytest.raises(ValueError, match=message):
        explorer.animate(tmp_path / name, **options)
    assert list(tmp_path.iterdir()) == []


def test_a_network_or_a_place_without_a_field_is_told(explorer, tmp_path):
    broken = ResizeExplorer({"broken": Broken()}, image_size=64)
    with pytest.raises(ValueError, match=r"broken, 30 px: .*must return logits"):
        broken.animate(tmp_path / "disc.gif", [30])
    broken.close()
    explorer.change(row=-20).wait()
    with pytest.raises(ValueError, match="size 30: the object is outside the image"):
        explorer.animate(tmp_path / "star.gif", [64, 30])
    explorer.change(row=32).wait()
    assert list(tmp_path.iterdir()) == []


def test_a_long_title_is_shortened(texts):
    raster = np.zeros((8, 8, 3), dtype=np.uint8)
    still = Still("a global convolution with a kernel of 15", raster)
    frame = draw_frame([[still]], "star", "")
    assert "a global convolution with …" in texts[0]
    assert frame.shape == (14 + 2 * 17 + 192 + 17 + 14, 192 + 2 * 14, 3)


def test_a_single_frame_stands_still(tmp_path):
    save_animation(tmp_path / "one.gif", [np.full((4, 5, 3), 255, dtype=np.uint8)], 1)
    frames, _ = read(tmp_path / "one.gif")
    assert len(frames) == 1
    assert (frames[0] == 255).all()


@pytest.mark.parametrize("kind", [np.array, torch.tensor, tuple, iter])
def test_sizes_may_be_arrays(explorer, tmp_path, kind):
    explorer.animate(tmp_path / "list.gif", [20, 34])
    explorer.animate(tmp_path / "other.gif", kind([20, 34]))
    assert (tmp_path / "list.gif").read_bytes() == (tmp_path / "other.gif").read_bytes()


@pytest.mark.parametrize("suffix", [".gif", ".png"])
@pytest.mark.parametrize(("seconds", "each"), [(0.08, 20), (60, 15000)])
def test_the_shortest_and_the_longest_cycle(tmp_path, suffix, seconds, each):
    frames = [np.full((4, 5, 3), value, dtype=np.uint8) for value in (0, 100, 200)]
    path = tmp_path / f"three{suffix}"
    save_animation(path, frames, seconds)
    assert read(path)[1]["duration"] == each
    with Image.open(path) as image:
        assert image.n_frames == 4
    equal = [frames[0]] * 20 + frames[1:2]  # merged into frames of up to 60 s
    save_animation(path, equal, 60)
    with Image.open(path) as image:
        assert image.n_frames < 40
