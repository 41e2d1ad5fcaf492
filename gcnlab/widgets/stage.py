"""What the resize explorer shows: one object whose size and position can be changed.

`ShapeStage` draws a shape of the data set Shapes; `PhotoStage` lays an object of a photograph on a
ground. Both know the object (`item`), draw it (`draw`), change it (`changed`) and have the sliders'
ranges and values.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Any

from gcnlab.annotations import Bool, Tensor, UInt8
from gcnlab.arguments import Whole, finite, nearest, whole
from gcnlab.datasets.cutout import Cutout, paste
from gcnlab.datasets.labels import SHAPES, LabelSet
from gcnlab.datasets.shapes import Scene, ShapeObject, render

Drawing = tuple[UInt8[Tensor, "3 height width"], Bool[Tensor, "height width"]]
"""An image and the mask of its object, which is empty if the object is outside the image."""

LARGEST = 8
"""Largest size of an object of a photograph, as a multiple of the image's longer side: the whole object
is scaled before it is cropped."""
LEAST_SIDE = 16
"""The smallest image that shapes are drawn in, and the smallest size on a slider, in pixels."""


@dataclass(frozen=True)
class ShapeStage:
    """A shape on a textured background.

    Attributes:
        item: the shape.
        side: side of the square image, in pixels.
        background: seed of the background's texture.

    Raises:
        ValueError: a number is not finite, the size is below 1, the image is too small, or a seed is
            negative.
    """

    item: ShapeObject
    side: int
    background: int

    labels = SHAPES
    kinds = SHAPES.names[1:]
    source = "Shapes"

    def __post_init__(self):
        check_side(self.side)
        whole("background", self.background, 0)
        whole("texture", self.item.texture, 0)
        finite("angle", self.item.angle)
        _check_place(self.item)

    @property
    def size(self) -> tuple[int, int]:
        """(height, width) of the image, in pixels."""
        return self.side, self.side

    @property
    def ranges(self) -> dict[str, tuple[int, int]]:
        """Name of a number that can be changed → its smallest and largest value on a slider."""
        last = self.side - 1
        sizes = {"size": (LEAST_SIDE, self.side), "angle": (0, 359)}
        return sizes | {"row": (0, last), "column": (0, last)}

    @property
    def values(self) -> dict[str, int | float]:
        """Name of a number that can be changed → its value."""
        row, column = self.item.center
        return {"size": self.item.size, "angle": self.item.angle, "row": row, "column": column}

    def changed(self, **changes) -> "ShapeStage":
        """The stage with another kind (a name), size, angle, row, column or texture.

        Raises:
            ValueError: the kind is unknown, the shape has no such property, or a number is out of
                its range.
        """
        _check_names("a shape", changes, ("kind", *self.values, "texture"))
        item = self.item
        kind = kind_of(changes["kind"], SHAPES) if "kind" in changes else item.kind
        size = size_of(changes.get("size", item.size))
        angle = finite("angle", changes.get("angle", item.angle))
        texture = whole("texture", changes.get("texture", item.texture), 0)
        item = ShapeObject(kind, _center(item, changes), size, angle, texture)
        return replace(self, item=item)

    def draw(self) -> Drawing:
        scene = Scene(self.side, self.side, self.background, (self.item,))
        image, _, instances = render(scene)
        return image, instances == 1


@dataclass(frozen=True)
class PhotoObject:
    """An object of a photograph in an image.

    Attributes:
        kind: class id.
        center: (row, column) of its box's centre, in pixels; the centre of pixel i has the
            coordinate i.
        size: the longer side of its box, in pixels.

    Raises:
        ValueError: a number is not finite, or the size is below 1.
    """

    kind: int
    center: tuple[float, float]
    size: float

    def __post_init__(self):
        _check_place(self)


@dataclass(frozen=True, eq=False)
class PhotoStage:
    """An object of a photograph on a ground.

    Attributes:
        item: the object's class, position and size.
        cutout: its pixels.
        ground: the image that it is laid on.
        labels: names and colours of the classes.

    Raises:
        ValueError: the object is more than `LARGEST` times as large as the image.
    """

    item: PhotoObject
    cutout: Cutout = field(repr=False)
    ground: UInt8[Tensor, "3 height width"] = field(repr=False)
    labels: LabelSet

    source = "the label set"

    def __post_init__(self):
        if self.item.size > LARGEST * max(self.size):
            most = LARGEST * max(self.size)
            raise ValueError(f"size must be at most {most} pixels, not {self.item.size:g}")

    @property
    def kinds(self) -> tuple[str, ...]:
        """The classes that the object can be given."""
        return (self.labels.names[self.item.kind],)  # a cat does not become a dog

    @property
    def size(self) -> tuple[int, int]:
        """(height, width) of the image, in pixels."""
        return tuple(self.ground.shape[-2:])

    @property
    def ranges(self) -> dict[str, tuple[int, int]]:
        """Name of a number that can be changed → its smallest and largest value on a slider."""
        height, width = self.size
        largest = max(
            LEAST_SIDE, 2 * max(height, width)
        )  # larger than the image, as in the paper's Figure 3 (C)
        return {"size": (LEAST_SIDE, largest), "row": (0, height - 1), "column": (0, width - 1)}

    @property
    def values(self) -> dict[str, int | float]:
        """Name of a number that can be changed → its value."""
        row, column = self.item.center
        return {"size": self.item.size, "row": row, "column": column}

    def changed(self, **changes) -> "PhotoStage":
        """The stage with another size, row or column.

        Raises:
            ValueError: there is no such property, or a number is out of its range.
        """
        _check_names("an object of a photograph", changes, self.values)
        size = size_of(changes.get("size", self.item.size))
        return replace(self, item=replace(self.item, center=_center(self.item, changes), size=size))

    def draw(self) -> Drawing:
        scale = self.item.size / max(self.cutout.size)
        return paste(self.cutout, self.ground, self.item.center, scale, allow_outside=True)


Stage = ShapeStage | PhotoStage


def check_side(side: Whole) -> int:
    """Return the side of a square image as an int.

    Raises:
        ValueError: it is not a whole number, or is below `LEAST_SIDE`.
    """
    return whole("image_size", side, LEAST_SIDE)


def size_of(size: int | float | Any) -> float:
    """Return the size of an object, in pixels, as a float.

    Raises:
        ValueError: it is not a finite number, or is below 1.
    """
    found = finite("size", size)
    if found < 1:
        raise ValueError(f"size must be at least 1 pixel, not {found:g}")
    return found


def _check_place(item: ShapeObject | PhotoObject) -> None:
    size_of(item.size)
    for name, value in zip(("row", "column"), item.center):
        finite(name, value)


def _center(item: ShapeObject | PhotoObject, changes: dict[str, Any]) -> tuple[float, float]:
    row, column = item.center
    return finite("row", changes.get("row", row)), finite("column", changes.get("column", column))


def _check_names(what: str, changes: Iterable[str], known: Iterable[str]) -> None:
    known = tuple(known)
    if unknown := sorted(set(changes) - set(known)):
        raise ValueError(f"{what} has no {unknown[0]} to change; choose {', '.join(known)}")


def kind_of(name: str, labels: LabelSet) -> int:
    """The class id of an object's name; the background is not an object.

    Raises:
        ValueError: no class has this name.
    """
    known = [known for known in labels.names if known != "background"]
    if name not in known:
        raise ValueError(f"unknown kind {name!r}{nearest(name, known)}; choose {', '.join(known)}")
    return labels.names.index(name)


def shape_stage(
    kind: str | None,
    size: int | float | None,
    angle: int | float,
    side: int,
    background: int,
    texture: int | None,
) -> ShapeStage:
    """A shape in the middle of an image; see `ResizeExplorer`."""
    number, side = kind_of("disc" if kind is None else kind, SHAPES), check_side(side)
    texture = whole("texture", 2 if texture is None else texture, 0)
    size = size_of(side / 3 if size is None else size)
    item = ShapeObject(number, (side / 2, side / 2), size, finite("angle", angle), texture)
    background = whole("background", background, 0)
    return ShapeStage(item, side, background)


def photo_stage(
    cutout: Cutout,
    kind: str | None,
    size: int | float | None,
    ground: UInt8[Tensor, "3 height width"],
    labels: LabelSet,
) -> PhotoStage:
    """An object of a photograph in the middle of an image; see `ResizeExplorer`."""
    if kind is None:
        raise ValueError(f"kind must name the object's class, one of {', '.join(labels.names)}")
    height, width = ground.shape[-2:]
    middle = ((height - 1) / 2, (width - 1) / 2)
    size = size_of(max(1, min(height, width) / 3) if size is None else size)
    item = PhotoObject(kind_of(kind, labels), middle, size)
    return PhotoStage(item, cutout, ground, labels)
