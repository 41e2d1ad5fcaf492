"""Shapes: a synthetic data set in which only the outline reveals the class.

Every object and the background have a random texture from the same distribution, so no patch inside
an object shows what the object is. Only a unit that sees the outline can classify a pixel in the
middle of a large object. This makes the paper's argument for large kernels measurable. The size,
position and rotation of every object are known, and a scene can be redrawn with any of them
changed.

Images are drawn on access and depend only on (seed, split, index); nothing is stored.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image, ImageDraw
from torch.utils.data import Dataset

from gcnlab.annotations import Tensor, UInt8
from gcnlab.datasets.labels import SHAPES

SPLITS = {"train": 1200, "val": 300, "test": 300}
_MIN_SIZE, _MAX_SIZE = 0.15, 0.75  # of the shorter side of the image
_MAX_OBJECTS = 4


@dataclass(frozen=True)
class ShapeObject:
    """One object of a scene.

    Attributes:
        kind: class id, 1 … 6 (see `SHAPES.names`).
        center: (row, column) of the circumscribed circle's centre, in pixels; pixel i reaches from
            i to i + 1.
        size: diameter of the circumscribed circle, in pixels.
        angle: rotation, in degrees.
        texture: seed of the texture.
    """

    kind: int
    center: tuple[float, float]
    size: float
    angle: float
    texture: int


@dataclass(frozen=True)
class Scene:
    """The contents of an image, which `render` draws; later objects cover earlier ones.

    Attributes:
        height, width: size of the image, in pixels.
        background: seed of the background texture.
        objects: the objects, from back to front.
    """

    height: int
    width: int
    background: int
    objects: tuple[ShapeObject, ...]


class Shapes(Dataset):
    """Textured shapes, drawn on access from a seed.

    `dataset[i]` is a pair of tv_tensors: an image, uint8 (3, height, width), and a label map, uint8
    (height, width) of class ids 0 … 6. There is no void. `scene(i)` returns the objects in the
    image, and `instances(i)` the object of each pixel.

    Args:
        split: "train", "val" or "test"; their images differ.
        length: number of images; None means 1,200 / 300 / 300. A longer set starts with the
            images of a shorter one.
        image_size: side of the square image, or (height, width), in pixels, at least 32.
        seed: a different seed gives a different data set.
        transforms: called with (image, labels), returns both; see `gcnlab.datasets.transforms`.
    """

    labels = SHAPES
    num_classes = SHAPES.num_classes

    def __init__(
        self,
        split: str = "train",
        length: int | None = None,
        image_size: int | tuple[int, int] = 256,
        seed: int = 0,
        transforms: Callable | None = None,
    ):
        size = (image_size, image_size) if isinstance(image_size, int) else tuple(image_size)
        self.length = checked_length(split, length, seed, image_size)
        self.split = split
        self.image_size = size
        self.seed = seed
        self.transforms = transforms

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        from torchvision import tv_tensors  # slow to import

        image, labels, _ = render(self.scene(index))
        pair = tv_tensors.Image(image), tv_tensors.Mask(labels)
        return pair if self.transforms is None else self.transforms(*pair)

    def name(self, index: int) -> str:
        """The name of image `index` in error messages and files of predictions."""
        return f"shapes-{self.split}-{index:05d}"

    def scene(self, index: int) -> Scene:
        """The objects of image `index`: their kinds, positions, sizes and rotations."""
        if not 0 <= index < self.length:
            raise IndexError(f"index {index} is outside the {self.length} images")
        rng = np.random.default_rng([self.seed, list(SPLITS).index(self.split), index])
        return random_scene(rng, *self.image_size)

    def instances(self, index: int) -> UInt8[Tensor, "height width"]:
        """0 for background, i + 1 where object i of `scene(index).objects` is visible."""
        return render(self.scene(index))[2]


def checked_length(
    split: str, length: int | None, seed: int, image_size: int | tuple[int, int]
) -> int:
    """Check the arguments of a drawn data set and return its number of images.

    Args:
        length: None means the default length of the split.

    Raises:
        ValueError: an argument is out of range; the message names it.
    """
    if split not in SPLITS:
        raise ValueError(f"unknown split {split!r}; choose one of {', '.join(SPLITS)}")
    length = SPLITS[split] if length is None else length
    if length < 1:
        raise ValueError(f"length must be at least 1, not {length}")
    if seed < 0:
        raise ValueError(f"seed must be 0 or positive, not {seed}")
    if (image_size if isinstance(image_size, int) else min(image_size)) < 32:
        raise ValueError(f"image_size must be at least 32 pixels, not {image_size}")
    return length


def random_scene(rng: np.random.Generator, height: int, width: int) -> Scene:
    """Draw one to four objects, each inside the image, that overlap little.

    The distance between two centres exceeds 0.45 times the sum of the two sizes.
    """
    side = min(height, width)
    objects: list[ShapeObject] = []
    for _ in range(rng.integers(1, _MAX_OBJECTS + 1)):
        for _attempt in range(20):
            size = side * rng.uniform(_MIN_SIZE, _MAX_SIZE)
            center = (
                rng.uniform(size / 2, height - size / 2),
                rng.uniform(size / 2, width - size / 2),
            )
            if all(math.dist(center, o.center) > 0.45 * (size + o.size) for o in objects):
                kind = int(rng.integers(1, SHAPES.num_classes))
                angle = float(rng.uniform(0, 360))
                objects.append(ShapeObject(kind, center, size, angle, int(rng.integers(2**31))))
                break
    return Scene(height, width, int(rng.integers(2**31)), tuple(objects))


def render(
    scene: Scene,
) -> tuple[
    UInt8[Tensor, "3 height width"], UInt8[Tensor, "height width"], UInt8[Tensor, "height width"]
]:
    """Draw a scene.

    Returns:
        The image, the class ids, and the instances (0 for background, i + 1 for object i).
    """
    image = texture(scene.background, scene.height, scene.width)
    labels = Image.new("L", (scene.width, scene.height))
    instances = Image.new("L", (scene.width, scene.height))
    for number, item in enumerate(scene.objects, start=1):
        points = outline(item)
        ImageDraw.Draw(labels).polygon(points, fill=item.kind)
        ImageDraw.Draw(instances).polygon(points, fill=number)
    instances = np.array(instances)
    for number, item in enumerate(scene.objects, start=1):
        row, column, half = *item.center, item.size / 2 + 1
        top, left = max(0, int(row - half)), max(0, int(column - half))
        bottom = min(scene.height, math.ceil(row + half) + 1)
        right = min(scene.width, math.ceil(column + half) + 1)
        if bottom <= top or right <= left:
            continue  # completely outside the image
        own = texture(item.texture, bottom - top, right - left)
        visible = instances[top:bottom, left:right] == number
        np.copyto(image[:, top:bottom, left:right], own, where=visible)
    return tuple(torch.from_numpy(a) for a in (image, np.array(labels), instances))


def texture(seed: int, height: int, width: int) -> np.ndarray:
    """A random texture, uint8 (3, height, width): a colour, two waves and fine noise."""
    rng = np.random.default_rng(seed)
    rows = np.arange(height, dtype=np.float32)[:, None]
    columns = np.arange(width, dtype=np.float32)[None, :]
    picture = np.empty((3, height, width), dtype=np.float32)
    picture[:] = rng.uniform(60, 195, (3, 1, 1))
    for _ in range(2):
        wavelength, direction = rng.uniform(5, 60), rng.uniform(0, math.pi)
        fy, fx = 2 * math.pi * np.array([math.sin(direction), math.cos(direction)]) / wavelength
        a, b = rows * np.float32(fy) + np.float32(rng.uniform(0, 6.28)), columns * np.float32(fx)
        wave = np.sin(a) * np.cos(b) + np.cos(a) * np.sin(
            b
        )  # sin(a + b), computed from four vectors
        for channel in picture:
            channel += wave * np.float32(rng.uniform(-45, 45))
    picture += rng.integers(-12, 13, (height, width), dtype=np.int8)
    return np.clip(picture, 0, 255, out=picture).astype(np.uint8)


def outline(item: ShapeObject) -> list[tuple[float, float]]:
    """Corners (x, y) of an object's polygon, in pixels."""
    angle = math.radians(item.angle)
    turn = np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
    corners = _OUTLINES[SHAPES.names[item.kind]] @ turn.T * (item.size / 2)
    row, column = item.center
    return [(column + x, row + y) for x, y in corners]


def _ring(degrees, radius=1.0) -> np.ndarray:
    """Points (x, y) at the given angles on a circle, or on one circle per point."""
    radians = np.radians(np.asarray(degrees, dtype=float))
    return np.stack([np.cos(radians), np.sin(radians)], axis=1) * np.reshape(radius, (-1, 1))


def _cross(half_width: float) -> np.ndarray:
    """A cross whose arms end on the unit circle: three corners per quarter turn."""
    reach = math.sqrt(1 - half_width**2)
    quarter = np.array([(reach, half_width), (half_width, half_width), (half_width, reach)])
    turns = [np.array([[c, -s], [s, c]]) for c, s in ((1, 0), (0, 1), (-1, 0), (0, -1))]
    return np.concatenate([quarter @ turn.T for turn in turns])


# Polygons whose circumscribed circle has radius 1 and its centre at the origin.
_OUTLINES = {
    "disc": _ring(np.arange(0, 360, 5)),
    "square": _ring([45, 135, 225, 315]),
    "triangle": _ring([90, 210, 330]),
    "star": _ring(np.arange(0, 360, 36), np.tile([1.0, 0.42], 5)),
    "cross": _cross(0.38),
    "semicircle": _ring(np.arange(0, 181, 5)),
}
