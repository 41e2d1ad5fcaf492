"""The numbers of an atlas: the drop at every unit that is kept, for every window.

Units are kept at the pixels whose row and column are multiples of `every`. On a score map of
another size than the image, they are the units that contain these pixels
(`gcnlab.receptive.unit.unit_at`).

While windows are missing, the drops are stored in float32. A complete table can be stored with less
precision, with a scale for every unit and class, so that a unit with small drops loses no more of
them than one with large drops:

    float16     drop = value × scale              scale: the largest power of two up to the
                                                  largest |drop|
    int8        drop = ± (value / 127)² × scale   scale: the largest |drop|

The error of a drop is at most 2⁻²⁴ (float32), 2⁻¹¹ (float16) or 1/127 (int8) of the largest |drop|
of the same unit and class, if that is at least 10⁻³⁰. The discrepancy of a pixel is a mean of
drops, so the same bound holds for it. With the square, small drops have small errors (√(d·largest)
/ 127 for a drop d): the edge of a region that holds 80 % of the mass lies among them.
"""

import math
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import torch

from gcnlab.annotations import Bool, Float, Int, Shaped, Tensor
from gcnlab.receptive.grid import OcclusionGrid, Window, every_nth, interpolation
from gcnlab.receptive.settings import AtlasSettings
from gcnlab.receptive.unit import unit_at

COARSE = 5
"""Largest number of windows along each axis on the coarsest level."""

ERROR = {"float32": 2.0**-24, "float16": 2.0**-11, "int8": 1 / 127}
"""Precision → largest error of a drop, as a share of the largest |drop| of the unit and class."""


@dataclass(frozen=True)
class AtlasTable:
    """The drops of all units that are kept.

    Attributes:
        settings: the occluder, the classes, the units that are kept. Its precision is that of a
            complete atlas; `values` may still be float32.
        image_size, map_size: (height, width) of the image and of the score map.
        values: the drops, clean − occluded, as float32, float16 or int8 (see the top of the file).
        scale: for each class and unit; ones if `values` is float32.
        score: the logit on the clean image.
        predicted: id of the class that is predicted on the clean image.
        done: whether a window of the grid has been run; `values` is zero where it has not.
        image_hash: hash of the image.
        note: what was not reused; empty if there is nothing to report.
    """

    settings: AtlasSettings
    image_size: tuple[int, int]
    map_size: tuple[int, int]
    values: Shaped[Tensor, "targets rows columns down across"]
    scale: Float[Tensor, "targets rows columns"]
    score: Float[Tensor, "targets rows columns"]
    predicted: Int[Tensor, "rows columns"]
    done: Bool[Tensor, "down across"]
    image_hash: str = ""
    note: str = ""

    @classmethod
    def empty(
        cls,
        settings: AtlasSettings,
        image_size: tuple[int, int],
        score: Float[Tensor, "targets rows columns"],
        predicted: Int[Tensor, "rows columns"],
        map_size: tuple[int, int],
        image_hash: str,
    ) -> "AtlasTable":
        """A table of which no window has been run."""
        shape = OcclusionGrid(image_size, settings.window, settings.stride).shape
        return cls(
            settings=settings,
            image_size=image_size,
            map_size=map_size,
            values=torch.zeros(*score.shape, *shape),
            scale=torch.ones(score.shape),
            score=score.float(),
            predicted=predicted,
            done=torch.zeros(shape, dtype=torch.bool),
            image_hash=image_hash,
        )

    @cached_property
    def grid(self) -> OcclusionGrid:
        """The grid of windows."""
        return OcclusionGrid(self.image_size, self.settings.window, self.settings.stride)

    @cached_property
    def units(self) -> tuple[np.ndarray, np.ndarray]:
        """Rows and columns of the score map whose units are kept."""
        return kept_units(self.settings.every, self.image_size, self.map_size)

    @property
    def precision(self) -> str:
        """Precision of `values`: "float32", "float16" or "int8"."""
        return str(self.values.dtype).removeprefix("torch.")

    @property
    def nbytes(self) -> int:
        """Memory of the tensors, in bytes; a saved file is as large, plus a header of some
        kilobytes."""
        tensors = (self.values, self.scale, self.score, self.predicted, self.done)
        return sum(tensor.nbytes for tensor in tensors)

    @property
    def evaluated(self) -> float:
        """Share of the windows that have been run, 0 … 1."""
        return self.done.float().mean().item()

    @property
    def complete(self) -> bool:
        """Whether all windows have been run."""
        return bool(self.done.all())

    def steps(self) -> list[int]:
        """The distances between the windows of each level, in windows, from coarse to fine: the
        last is 1, and each is half of the one before."""
        step = 1
        while max(len(every_nth(n, step)) for n in self.grid.shape) > COARSE:
            step *= 2
        return [2**power for power in range(step.bit_length() - 1, -1, -1)]

    def level(self, step: int) -> list[np.ndarray]:
        """Rows and columns of the windows of a level: every `step`-th, and the last."""
        return [every_nth(n, step) for n in self.grid.shape]

    def missing(self, step: int) -> list[Window]:
        """The windows of a level that have not been run, row by row."""
        down, across = self.level(step)
        return [(int(i), int(j)) for i in down for j in across if not self.done[i, j]]

    def put(
        self, windows: list[Window], drops: Float[Tensor, "windows targets rows columns"]
    ) -> None:
        """Store the drops of some windows.

        Raises:
            ValueError: a drop is not finite in float32.
        """
        drops = drops.float()
        if not torch.isfinite(drops).all():
            raise ValueError(
                "the logits change by more than float32 can hold, so an atlas cannot store them: "
                "use valid_field"
            )
        for (i, j), drop in zip(windows, drops):
            self.values[..., i, j] = drop
        # Marked last: another thread may look up a field in the meantime.
        for i, j in windows:
            self.done[i, j] = True

    def drops(self, index: tuple[int | slice, ...]) -> Float[Tensor, "*_ down across"]:
        """The drops of all windows, in double precision; those that are missing are interpolated.

        The windows of the finest level that is complete are interpolated linearly. Windows of the
        next level that have been run are taken as they are.

        Args:
            index: index of the class and of the row and the column among the units that are kept.

        Raises:
            ValueError: the coarsest level is not complete.
        """
        done = self.done.clone()  # a window may be added meanwhile
        values = self.values[index].double()
        if self.precision == "int8":
            values = values * values.abs() / 127**2
        values *= self.scale[index].double()[..., None, None]
        if done.all():
            return values
        lattice = self.finest_level(done)
        down, across = (
            torch.from_numpy(interpolation(n, at)) for n, at in zip(self.grid.shape, lattice)
        )
        known = values[..., torch.from_numpy(lattice[0])[:, None], torch.from_numpy(lattice[1])]
        return torch.where(done, values, down @ known @ across.T)

    def finest_level(self, done: Bool[Tensor, "down across"] | None = None) -> list[np.ndarray]:
        """Rows and columns of the windows of the finest level that is complete.

        Args:
            done: the windows that have been run; None for those of the table.

        Raises:
            ValueError: the coarsest level is not complete.
        """
        done = self.done if done is None else done
        step = self._finest_step(done)
        if step is None:
            count = math.prod(map(len, self.level(self.steps()[0])))
            raise ValueError(
                f"no field can be shown yet: only {int(done.sum())} windows of the atlas have been "
                f"run, and the first picture needs {count}: call build()"
            )
        return self.level(step)

    @property
    def finest_step(self) -> int | None:
        """The distance between the windows of the finest level that is complete, in windows; None
        if no level is complete."""
        return self._finest_step(self.done)

    def _finest_step(self, done: Tensor) -> int | None:
        complete = [s for s in self.steps() if done.numpy()[np.ix_(*self.level(s))].all()]
        return min(complete, default=None)

    def stored_as(self, precision: str) -> "AtlasTable":
        """The same table with its drops in "float32", "float16" or "int8".

        Raises:
            ValueError: windows are missing, or the table already has less precision.
        """
        settings = replace(self.settings, precision=precision)
        if precision == self.precision:
            return replace(self, settings=settings)
        if not self.complete:
            raise ValueError(
                f"an atlas with missing windows has to stay float32, not {precision}: call build()"
            )
        if self.precision != "float32":
            raise ValueError(f"this atlas is stored as {self.precision}, so {precision} is lost")
        dtype = getattr(torch, precision)
        values, scale = torch.empty(self.values.shape, dtype=dtype), torch.empty_like(self.scale)
        for row in range(self.values.shape[1]):  # row by row, to take little memory
            drops = self.values[:, row].double()
            largest = drops.abs().amax((-2, -1))
            own = largest
            if precision == "float16":
                own = torch.ldexp(torch.ones_like(largest), torch.frexp(largest).exponent - 1)
            # As it will be read; a scale that is zero in float32 has values of zero.
            scale[:, row] = own.float()
            own = scale[:, row].double()[..., None, None]
            scaled = torch.where(own > 0, drops / own, 0.0)
            if precision == "int8":
                scaled = (scaled.sign() * scaled.abs().sqrt() * 127).round_().clamp_(-127, 127)
            values[:, row] = scaled.to(dtype)
        return replace(self, settings=settings, values=values, scale=scale)


def kept_units(
    every: int, image_size: tuple[int, int], map_size: tuple[int, int]
) -> tuple[np.ndarray, np.ndarray]:
    """Rows and columns of the units that contain the pixels at multiples of `every`."""
    rows = [unit_at((p, 0), image_size, map_size)[0] for p in range(0, image_size[0], every)]
    columns = [unit_at((0, p), image_size, map_size)[1] for p in range(0, image_size[1], every)]
    return np.unique(rows), np.unique(columns)
