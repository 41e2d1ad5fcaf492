"""The geometry of a layer along one axis: which inputs an output reads, and which outputs an input
influences.

**The pixel convention**, used everywhere in the package: the centre of position i of a map has the
coordinate i. Intervals are half-open, [start, stop), and may extend beyond the map, into the
padding. Rows and columns are independent, so a k×1 convolution is a `Footprint(k, …)` along the
rows and a `Footprint(1, …)` along the columns.

Each axis map has two methods, for integers and for NumPy arrays of integers:

- `reads(start, stop)`: the interval of inputs that the outputs [start, stop) read (backwards
  through the layer);
- `reaches(start, stop)`: the interval of outputs that the inputs [start, stop) can change
  (forwards).
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
        """Number of inputs from the first to the last that one output reads, both included."""
        return (self.kernel - 1) * self.dilation + 1

    @property
    def step(self) -> Fraction:
        """Distance between what neighbouring outputs read, in inputs."""
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
    """A transposed convolution: `reads` and `reaches` of its footprint change places."""

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

    Outputs beyond the map read as if the map continued, `step` inputs further per output.

    Args:
        first, last: the first and the last input that each output reads; neither may decrease from
            one output to the next.
        step: inputs per output.

    Raises:
        ValueError: `first` or `last` decreases.
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
    """A broadcast: all outputs read the only row (or column) of the input.

    Attributes:
        length: number of outputs.
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
"""Each output reads the input at its own position: activations, sums, batch norm."""

AxisMap = Footprint | Transposed | Table | Broadcast
