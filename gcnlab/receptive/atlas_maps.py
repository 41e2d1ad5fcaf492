"""Maps over the image of single numbers that describe the valid field of every unit.

A field is constant on the cells between the borders of the windows (`OcclusionGrid.cells`), so its
area, radius, coverage and centre are sums over a few hundred cells instead of all pixels, and are
computed for many units at a time. Each equals the function of `gcnlab.receptive.regions` that
describes one field.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch

from gcnlab.annotations import Bool, Float, Int, Tensor
from gcnlab.arguments import Whole, whole
from gcnlab.receptive.atlas import FieldAtlas
from gcnlab.receptive.settings import region_rule
from gcnlab.receptive.unit import middle_pixel

AT_ONCE = 2**22
"""Cells that are held at the same time."""


@dataclass(frozen=True)
class FieldMaps:
    """Numbers that describe the field of each unit that an atlas keeps, (rows, columns).

    Attributes:
        centres: (row, column) on the image of each unit's middle.
        area: share of the image in the field's region, 0 … 1.
        radius: root mean square distance of `|discrepancy|` from the unit, in pixels of the image;
            NaN where the field is zero.
        offset: distance from the unit to the centre of mass of `|discrepancy|`, in pixels of the
            image; NaN where the field is zero.
        coverage: share of the unit's own object inside the region, 0 … 1; NaN where the unit is on
            no object. None without objects.
        context: share of the sum of `|discrepancy|` outside of the unit's own object, 0 … 1; NaN
            where the unit is on no object, or the field is zero. None without objects.
    """

    centres: Int[Tensor, "rows columns two"]
    area: Float[Tensor, "rows columns"]
    radius: Float[Tensor, "rows columns"]
    offset: Float[Tensor, "rows columns"]
    coverage: Float[Tensor, "rows columns"] | None = None
    context: Float[Tensor, "rows columns"] | None = None


def field_maps(
    atlas: FieldAtlas,
    objects: Int[Tensor, "height width"] | None = None,
    threshold: int | float | None = None,
    rule: str | None = None,
    target: Whole | None = None,
) -> FieldMaps:
    """Describe the fields of all units that an atlas keeps.

    Args:
        atlas: may be incomplete; missing windows are interpolated.
        objects: the number of the object at each pixel of the image: a class of a label map, or an
            instance. Negative where there is no object.
        threshold, rule: the region; see `gcnlab.receptive.regions.region`.
        target: class id; None for the only class that the atlas keeps for each unit.

    Raises:
        ValueError: the objects have another size than the image, the threshold or rule is out of
            range, the class is not kept, or no field can be shown yet.
    """
    threshold, rule = region_rule(threshold, rule)
    number = _number(atlas, target)
    if objects is not None and tuple(objects.shape) != atlas.table.image_size:
        raise ValueError(
            f"objects are {_size(objects.shape)}, but the image is {_size(atlas.table.image_size)}"
        )
    centres, cells = _centres(atlas), _Cells(atlas)
    own = ids = None
    if objects is not None:
        objects = objects.cpu().long()
        ids, places = objects.unique(return_inverse=True)
        own = places[centres[..., 0], centres[..., 1]]  # position in `ids`
        counts = torch.stack([cells.sums((places == i).double()) for i in range(len(ids))])
    names = ("area", "radius", "offset") + (("coverage", "context") if own is not None else ())
    found = {name: torch.empty(centres.shape[:2], dtype=torch.float64) for name in names}
    for rows in _row_groups(atlas, cells):
        size = cells.fields(atlas, (number, rows)).abs()
        region = cells.region(size, threshold, rule)
        mass = (size * cells.area).sum((-2, -1))
        found["area"][rows] = (region * cells.area).sum((-2, -1)) / cells.area.sum()
        squares, place = cells.moments(size, centres[rows])
        found["radius"][rows] = (squares / mass).sqrt()
        found["offset"][rows] = (place / mass[..., None]).square().sum(-1).sqrt()
        if own is not None:
            here = counts[own[rows]]
            found["coverage"][rows] = (region * here).sum((-2, -1)) / here.sum((-2, -1))
            # Rounding errors of the sums could make the share slightly negative.
            outside = 1 - (size * here).sum((-2, -1)) / mass
            found["context"][rows] = outside.clamp(0, 1)
    if own is not None:
        nowhere = ids[own] < 0
        for name in ("coverage", "context"):
            found[name][nowhere] = float("nan")
    return FieldMaps(centres, **{name: values.float() for name, values in found.items()})


def fields_at(
    atlas: FieldAtlas, mask: Bool[Tensor, "height width"], target: Whole | None = None
) -> Iterator[tuple[Float[Tensor, "height width"], tuple[int, int]]]:
    """The fields of the units whose middle is inside a mask, each with the pixel of that middle.

    They are what `gcnlab.receptive.mean_field` averages, also over several images: with the mask of
    a class the result is the mean re-centred field of its pixels, with those of its interior and of
    its boundary that of both apart.

    Args:
        atlas: may be incomplete; missing windows are interpolated.
        mask: the pixels of the image.
        target: class id; None for the only class that the atlas keeps for each unit.

    Raises:
        ValueError: the mask has another size than the image, or see `field_maps`.
    """
    if tuple(mask.shape) != atlas.table.image_size:
        raise ValueError(
            f"the mask is {_size(mask.shape)}, but the image is {_size(atlas.table.image_size)}"
        )
    number, centres = _number(atlas, target), _centres(atlas)
    inside = mask.cpu()[centres[..., 0], centres[..., 1]]
    for row, column in inside.nonzero().tolist():
        field = atlas.table.grid.spread(atlas.table.drops((number, row, column)))
        yield field, tuple(centres[row, column].tolist())


class _Cells:
    """The cells on which every field of an atlas is constant.

    Attributes:
        area: pixels of each cell.
    """

    def __init__(self, atlas: FieldAtlas):
        (down, heights), (across, widths) = atlas.table.grid.cells()
        self._down, self._across = torch.from_numpy(down), torch.from_numpy(across)
        self._lengths = torch.from_numpy(heights), torch.from_numpy(widths)
        self._edges = tuple(torch.cat([n.new_zeros(1), n.cumsum(0)]) for n in self._lengths)
        self.area = torch.outer(*self._lengths).double()

    def fields(
        self, atlas: FieldAtlas, index: tuple[int | slice, ...]
    ) -> Float[Tensor, "*_ down across"]:
        """The discrepancy on each cell, rounded as in a `ValidField`."""
        drops = atlas.table.drops(index)
        return (self._down @ drops @ self._across.T).float().double()

    def sums(self, values: Float[Tensor, "height width"]) -> Float[Tensor, "down across"]:
        """The sum of some values over the pixels of each cell."""
        (rows, columns) = (torch.repeat_interleave(torch.arange(len(n)), n) for n in self._lengths)
        down = values.new_zeros(len(self._lengths[0]), values.shape[1]).index_add_(0, rows, values)
        return values.new_zeros(self.area.shape).index_add_(1, columns, down)

    def region(
        self, size: Float[Tensor, "*units down across"], threshold: float, rule: str
    ) -> Bool[Tensor, "*units down across"]:
        """The cells in the region of each field (`gcnlab.receptive.regions.region`)."""
        flat = size.flatten(-2)
        if rule == "maximum":
            level = threshold * flat.amax(-1, keepdim=True)
        else:
            order = flat.argsort(-1, descending=True)
            sorted_size = flat.gather(-1, order)
            mass = (sorted_size * self.area.flatten()[order]).cumsum(-1)
            reached = torch.searchsorted(mass, threshold * mass[..., -1:])
            level = sorted_size.gather(-1, reached.clamp(max=flat.shape[-1] - 1))
        return ((flat >= level) & (flat > 0)).unflatten(-1, size.shape[-2:])

    def moments(
        self, size: Float[Tensor, "*units down across"], centres: Int[Tensor, "*units two"]
    ) -> tuple[Float[Tensor, "*units"], Float[Tensor, "*units two"]]:
        """Sums over the pixels of |field| × squared distance, and of |field| × (row, column)
        distance, from the centres."""
        first, second = [], []
        for axis, edges in enumerate(self._edges):
            start, stop = (part - centres[..., axis, None] for part in (edges[:-1], edges[1:]))
            first.append(_below(stop) - _below(start))
            second.append(_squares_below(stop) - _squares_below(start))
        heights, widths = (n.double() for n in self._lengths)
        # Masses of rows and of columns of cells, in pixels along the other axis.
        rows, columns = size @ widths, size.transpose(-2, -1) @ heights
        squares = (rows * second[0]).sum(-1) + (columns * second[1]).sum(-1)
        return squares, torch.stack([(rows * first[0]).sum(-1), (columns * first[1]).sum(-1)], -1)


def _below(n: Tensor) -> Tensor:
    """0 + 1 + … + (n − 1), a polynomial that also gives differences for negative n."""
    return (n * (n - 1) / 2).double()


def _squares_below(n: Tensor) -> Tensor:
    """0² + 1² + … + (n − 1)²."""
    return (n * (n - 1) * (2 * n - 1) / 6).double()


def _row_groups(atlas: FieldAtlas, cells: _Cells) -> Iterator[slice]:
    """Rows of units to describe at the same time."""
    rows, columns = map(len, atlas.units)
    count = max(1, AT_ONCE // (columns * cells.area.numel()))
    for start in range(0, rows, count):
        yield slice(start, min(start + count, rows))


def _centres(atlas: FieldAtlas) -> Int[Tensor, "rows columns two"]:
    """The pixel (row, column) of the image in the middle of each unit."""
    table = atlas.table
    rows = [middle_pixel((int(r), 0), table.image_size, table.map_size)[0] for r in table.units[0]]
    columns = [
        middle_pixel((0, int(c)), table.image_size, table.map_size)[1] for c in table.units[1]
    ]
    return torch.from_numpy(np.stack(np.meshgrid(rows, columns, indexing="ij"), -1))


def _number(atlas: FieldAtlas, target: Whole | None) -> int:
    """Index of a class among the targets of the atlas."""
    kept = atlas.settings.target
    if target is None:
        if isinstance(kept, tuple) and len(kept) > 1:
            raise ValueError(f"the atlas keeps the classes {kept}: choose one with target")
        return 0
    kept, wanted = kept if isinstance(kept, tuple) else (kept,), whole("target", target)
    if wanted not in kept:
        raise ValueError(
            f"the atlas does not keep class {wanted} at every unit: create it with target={wanted}"
        )
    return kept.index(wanted)


def _size(shape: tuple[int, ...]) -> str:
    return "×".join(map(str, shape))
