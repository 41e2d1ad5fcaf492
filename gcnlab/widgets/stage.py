"""What the resize explorer shows: one object whose size and position can be changed.

`ShapeStage` draws a shape of the data set Shapes; `PhotoStage` lays an object of a photograph on a
ground. Both know the object (`item`), draw it (`draw`), change it (`changed`) and have the sliders'
ranges and values.
"""

import math
from dataclasses import dataclass, field, replace

from gcnlab.annotations import Bool, Tensor, UInt8
from gcnlab.arguments import nearest
from gcnlab.datasets.cutout import Cutout, paste
from gcnlab.datasets.labels import SHAPES, LabelSet
from gcnlab.datasets.shapes import Scene, ShapeObject, render

Drawing = tuple[UInt8[Tensor, "3 height width"], Bool[Tensor, "height width"]]
"""An image and the mask of its object, which is empty if the object is outside the image."""


@dataclass(frozen=True)
class ShapeStage:
    """A shape on a textured background.

    Attributes:
        item: the shape.
        side: side of the square image, in pixels.
        background: seed of the background's texture.
    """

    item: ShapeObject
    side: int
    background: int

    labels = SHAPES
    kinds = SHAPES.names[1:]
    source = "Shapes"

    @property
    def size(self) -> tuple[int, int]:
        """(height, width) of the image, in pixels."""
        return self.side, self.side

    @property
    def ranges(self) -> dict[str, tuple[int, int]]:
        """Name of a number that can be changed → its smallest and largest value on a slider."""
        last = self.side - 1
        sizes = {"size": (16, self.side), "angle": (0, 359)}
        return sizes | {"row": (0, last), "column": (0, last)}

    @property
    def values(self) -> dict[str, int | float]:
        """Name of a number that can be changed → its value."""
        row, column = self.item.center
        return {"size": self.item.size, "angle": self.item.angle, "row": row, "column": column}

    def changed(self, **changes) -> "ShapeStage":
        """The stage with another kind (a name), size, angle, row, column or texture."""
        row, column = self.item.center
        center = float(changes.pop("row", row)), float(changes.pop("column", column))
        changes |= {n: float(changes[n]) for n in ("size", "angle") if n in changes}
        if "kind" in changes:
            changes["kind"] = kind_of(changes["kind"], SHAPES)
        return replace(self, item=replace(self.item, center=center, **changes))

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
    """

    kind: int
    center: tuple[float, float]
    size: float

    def __post_init__(self):
        if not (math.isfinite(self.size) and self.size >= 1):
            raise ValueError(f"size must be at least 1 pixel, not {self.size:g}")


@dataclass(frozen=True, eq=False)
class PhotoStage:
    """An object of a photograph on a ground.

    Attributes:
        item: the object's class, position and size.
        cutout: its pixels.
        ground: the image that it is laid on.
        labels: names and colours of the classes.
    """

    item: PhotoObject
    cutout: Cutout = field(repr=False)
    ground: UInt8[Tensor, "3 height width"] = field(repr=False)
    labels: LabelSet

    source = "the label set"

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
        largest = 2 * max(height, width)  # larger than the image, as in the paper's Figure 3 (C)
        return {"size": (16, largest), "row": (0, height - 1), "column": (0, width - 1)}

    @property
    def values(self) -> dict[str, int | float]:
        """Name of a number that can be changed → its value."""
        row, column = self.item.center
        return {"size": self.item.size, "row": row, "column": column}

    def changed(self, **changes) -> "PhotoStage":
        """The stage with another size, row or column."""
        unknown = sorted(changes.keys() - self.values.keys())
        if unknown:
            raise ValueError(
                f"an object of a photograph has no {unknown[0]} to change; "
                f"choose {', '.join(self.values)}"
            )
        row, column = self.item.center
        center = float(changes.get("row", row)), float(changes.get("column", column))
        size = float(changes.get("size", self.item.size))
        return replace(self, item=replace(self.item, center=center, size=size))

    def draw(self) -> Drawing:
        scale = self.item.size / max(self.cutout.size)
        return paste(self.cutout, self.ground, self.item.center, scale, allow_outside=True)


Stage = ShapeStage | PhotoStage


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
    number = kind_of("disc" if kind is None else kind, SHAPES)
    texture = 2 if texture is None else texture
    middle = (side / 2, side / 2)
    item = ShapeObject(number, middle, float(size or side / 3), float(angle), texture)
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
    item = PhotoObject(kind_of(kind, labels), middle, float(size or min(height, width) / 3))
    return PhotoStage(item, cutout, ground, labels)
