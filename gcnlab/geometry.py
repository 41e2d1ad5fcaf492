"""Which positions of one map read, and are reached by, which positions of another; one axis at a
time.

**The pixel convention**, used everywhere in the package: position i of a map is the integer i, and
    that is
where its centre lies. Intervals are half-open, [start, stop), and may reach outside the map: what
lies there is padding. Rows and columns are independent, so a k×1 convolution is a `Footprint(k, …)`
along the rows and a `Footprint(1, …)` along the columns.

Each axis map answers two questions, for integers and for NumPy arrays of them alike:

- `reads(start, stop)`: what the outputs [start, stop) read of the input (backwards through the
  layer);
- `reaches(start, stop)`: which outputs the inputs [start, stop) can change (forwards).
"""

from dataclasses import dataclass
from fractions import Fraction

import numpy as np


@dataclass(frozen=True)
class Footprint:
    """A sliding window: convolution or pooling. Output o reads o·stride − padding + j·dilation, 0 ≤
    j < kernel."""

    kernel: int = 1
    stride: int = 1
    padding: int = 0
    dilation: int = 1

    @property
    def extent(self) -> int:
        """Positions from the first to the last that one output reads."""
        return (self.kernel - 1) * self.dilation + 1

    @property
    def step(self) -> Fraction:
        """How far the reading moves from one output to the next, in inputs."""
        return Fraction(self.stride)

    def reads(self, start, stop):
        return (
            start * self.stride - self.padding,
            (stop - 1) * self.stride - self.padding + self.extent,
        )

    def reaches(self, start, stop):
        return (
            -((-(start + self.padding - self.extent + 1)) // self.stride),  # rounded up
            (stop - 1 + self.padding) // self.stride + 1,
        )


@dataclass(frozen=True)
class Transposed:
    """A transposed convolution: its output reads what the window's input would be reached by."""

    footprint: Footprint

    @property
    def step(self) -> Fraction:
        return 1 / self.footprint.step

    def reads(self, start, stop):
        return self.footprint.reaches(start, stop)

    def reaches(self, start, stop):
        return self.footprint.reads(start, stop)


class Table:
    """A resampling (interpolation, padding) given by a matrix: output o reads where row o is not
    zero.

    Outputs beyond the map read at the distance `step`, as if the map continued.

    Args:
        first, last: the first and the last input that each output reads; neither may decrease.
        step: inputs per output.
    """

    def __init__(self, first: np.ndarray, last: np.ndarray, step: Fraction):
        if (np.diff(first) < 0).any() or (np.diff(last) < 0).any():
            raise ValueError("first and last must not decrease")
        self.first, self.last, self.step = first, last, step

    def reads(self, start, stop):
        return self._beyond(self.first, start), self._beyond(self.last, stop - 1) + 1

    def reaches(self, start, stop):
        return (
            np.searchsorted(self.last, start, side="left"),
            np.searchsorted(self.first, stop, side="left"),
        )

    def _beyond(self, table: np.ndarray, output):
        inside = np.clip(output, 0, len(table) - 1)
        outside = np.asarray(output) - inside
        # Whole periods outside move by whole inputs; the rest is rounded away from the map.
        moved = np.where(
            outside < 0,
            np.floor_divide(outside * self.step.numerator, self.step.denominator),
            -np.floor_divide(-outside * self.step.numerator, self.step.denominator),
        )
        result = table[inside] + moved
        return result if isinstance(output, np.ndarray) else int(result)


@dataclass(frozen=True)
class Broadcast:
    """One position that all outputs read: a map of one row, or column, that is spread over another.

    Attributes:
        length: outputs.
    """

    length: int

    @property
    def step(self) -> Fraction:
        return Fraction(0)

    def reads(self, start, stop):
        return start * 0, start * 0 + 1

    def reaches(self, start, stop):
        return start * 0, start * 0 + self.length


SAME = Footprint()
"""Position by position: activations, sums, batch norm."""

AxisMap = Footprint | Transposed | Table | Broadcast
