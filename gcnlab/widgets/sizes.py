"""The object of the resize explorer at several sizes, with the answers of the networks.

A network needs a fraction of a second for the field of the object's centre. So the explorer computes
it for a number of sizes ahead, at the object's present place and angle, and shows them without delay.
Of a size between them, it shows the nearest until the exact answer is there.

Only the field of the centre is computed, because it is the one that is shown. An atlas
(`gcnlab.FieldAtlas`) would have the fields of all pixels, but takes five times as long, and the
centre is rarely one of the units that it keeps.

Memory: a size takes 4 bytes per pixel, and 6 more for every network: 1.4 MB for three networks at
256×256 pixels. At most `KEPT` sizes are kept, and all are dropped when the object is moved or
rotated.
"""

from bisect import bisect_left, bisect_right
from dataclasses import dataclass, field

import numpy as np

from gcnlab.annotations import Bool, Tensor, UInt8
from gcnlab.receptive import coverage
from gcnlab.widgets.session import Answer
from gcnlab.widgets.stage import Stage

AHEAD = 13
"""Number of sizes that are computed ahead, over the range of the slider."""

KEPT = AHEAD + 3
"""Number of sizes that are kept: those ahead, and the last others that were asked for."""


@dataclass(frozen=True, eq=False)
class Sized:
    """The object at one size, and what is known of it.

    Attributes:
        size: of the object, in pixels (see `gcnlab.widgets.stage`).
        kind: class id of the object.
        image: RGB, 0 … 255.
        mask: the object; empty if it is outside the image.
        pixel: (row, column) of its centre; None if it is outside.
        answers: title of a network → its answer for the centre.
        predictions: title → class ids.
        errors: title → why there is no answer.
        done: titles of the networks that have finished.
    """

    size: float
    kind: int
    image: UInt8[Tensor, "3 height width"]
    mask: Bool[Tensor, "height width"]
    pixel: tuple[int, int] | None
    answers: dict[str, Answer] = field(default_factory=dict)
    predictions: dict[str, UInt8[Tensor, "height width"]] = field(default_factory=dict)
    errors: dict[str, str] = field(default_factory=dict)
    done: set[str] = field(default_factory=set)

    def coverage(self, title: str) -> float | None:
        """Fraction of the object inside a network's region; None if there is no region."""
        answer = self.answers.get(title)
        if answer is None or answer.region is None:
            return None
        return coverage(answer.region, self.mask)

    def iou(self, title: str) -> float | None:
        """IoU of the object and the pixels predicted as its class; None without a prediction."""
        if title not in self.predictions:
            return None
        found = self.predictions[title] == self.kind
        return ((found & self.mask).sum() / (found | self.mask).sum()).item()


class Sizes:
    """The sizes of one object that are known, all at the place and angle of a stage.

    Args:
        stage: the object; its size does not matter.
        titles: the titles of the networks.

    Attributes:
        ahead_sizes: the sizes to compute ahead, ascending.
    """

    def __init__(self, stage: Stage, titles: list[str]):
        self._stage, self._titles = stage, titles
        self._kept: dict[float, Sized] = {}
        least, most = stage.ranges["size"]
        self.ahead_sizes = sorted({float(round(size)) for size in np.linspace(least, most, AHEAD)})

    def matches(self, stage: Stage) -> bool:
        """Whether a stage shows the same object, apart from its size."""
        own, other = (one.changed(size=self.ahead_sizes[0]).item for one in (self._stage, stage))
        return own == other

    def at(self, size: float) -> Sized:
        """The object at a size, with the answers that are kept; newly drawn if none are."""
        return self._kept.get(size) or self.drawn(size)

    def drawn(self, size: float) -> Sized:
        """The object at a size, without answers."""
        stage = self._stage.changed(size=size)
        image, mask = stage.draw()
        pixel = centre_pixel(mask) if mask.any() else None
        return Sized(size, stage.item.kind, image, mask, pixel)

    def keep(self, sized: Sized) -> None:
        """Keep what is known of a size, and drop the oldest of those that are not in the grid."""
        self._kept.pop(sized.size, None)
        self._kept[sized.size] = sized
        others = [size for size in self._kept if size not in self.ahead_sizes]
        for size in others[: -(KEPT - AHEAD)]:
            del self._kept[size]

    def complete(self, sized: Sized) -> bool:
        """Whether every network has finished or has failed."""
        return all(title in sized.done or title in sized.errors for title in self._titles)

    @property
    def computed(self) -> list[float]:
        """The sizes of the grid for which every network has answered or failed."""
        return [
            size
            for size in self.ahead_sizes
            if size in self._kept and self.complete(self._kept[size])
        ]

    def ahead(self, size: float) -> list[float]:
        """The sizes of the grid that are to be computed: every fourth first, then every second, then
        the others; in each of these steps, those that are nearest to `size` first."""
        order = []
        for step in (4, 2, 1):
            order += sorted(
                set(self.ahead_sizes[::step]) - set(order), key=lambda own: abs(own - size)
            )
        known = self.computed
        return [own for own in order if own not in known]

    def nearest(self, title: str, size: float) -> Sized | None:
        """The nearest size for which a network has finished, the smaller one of two that
        are equally near; None if there is none."""
        known = [sized for sized in self._kept.values() if title in sized.done]
        return min(known, key=lambda own: (abs(own.size - size), own.size), default=None)

    def next_in_grid(self, size: float, steps: int) -> float:
        """The size of the grid that is some steps above a size, or below for a negative number; the
        last one if there are fewer."""
        if steps > 0:
            number = bisect_right(self.ahead_sizes, size) + steps - 1
        else:
            number = bisect_left(self.ahead_sizes, size) + steps
        return self.ahead_sizes[min(max(number, 0), len(self.ahead_sizes) - 1)]


def centre_pixel(mask: Bool[Tensor, "height width"]) -> tuple[int, int]:
    """The pixel of a mask that is nearest to its centre of mass.

    Raises:
        ValueError: the mask is empty.
    """
    if not mask.any():
        raise ValueError("the mask is empty: it has no centre")
    places = mask.nonzero().float()
    nearest = (places - places.mean(0)).square().sum(1).argmin()
    row, column = places[nearest].int().tolist()
    return row, column
