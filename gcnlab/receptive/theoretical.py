"""The theoretical receptive field: which pixels a unit could see at all, from the geometry of the layers.

Walking back from the units of one map, each layer widens what they read; where branches meet (a residual
sum, the two branches of a GCN block) the field is the hull of theirs. Pixels count as read even where the
weights are zero, and beyond the border too, as if the image went on: the size belongs to the network, not to
one image. (The paper's res-5: 427, 971 and 1451 pixels for ResNet-50, -101 and -152.)
"""

from dataclasses import dataclass
from fractions import Fraction

import numpy as np
import torch
from torch import nn

from gcnlab.receptive.graph import Graph, Operation


@dataclass(frozen=True)
class AxisField:
    """The field along one axis, for every unit of the map.

    Attributes:
        size: pixels from the first to the last one seen; the largest over the units, if a
            decoder's phases differ. None if not known.
        stride: pixels between the fields of neighbouring units.
        offset: centre of unit 0's field, in pixels; pixel 0 lies at 0.
        start, stop: per unit the pixels [start, stop) it sees, beyond the border included.
    """

    size: int | None
    stride: float | None
    offset: float | None
    start: np.ndarray | None = None
    stop: np.ndarray | None = None


@dataclass(frozen=True)
class TheoreticalField:
    """The theoretical receptive field of a map's units.

    Attributes:
        rows, columns: per axis.
        at: the module whose output it is.
        unknown_beyond: why it is not known: the layer, walking back from `at`, that sees its whole input
            or is not understood. None if it is known.
    """

    rows: AxisField
    columns: AxisField
    at: str
    unknown_beyond: str | None = None

    def __str__(self) -> str:
        if self.unknown_beyond is not None:
            return f"{self.at}: unknown beyond {self.unknown_beyond}"
        r, c = self.rows, self.columns
        return (
            f"{self.at}: {r.size}×{c.size} px, stride {r.stride:g}×{c.stride:g}, "
            f"offset {r.offset:g}, {c.offset:g}"
        )

    def box(self, unit: tuple[int, int]) -> tuple[int, int, int, int]:
        """(top, bottom, left, right) of the pixels that `unit` (row, column) sees, [top, bottom) and
        [left, right), beyond the border included.

        Raises:
            ValueError: the field is not known, or there is no such unit.
        """
        if self.unknown_beyond is not None:
            raise ValueError(f"the field is not known: {self}")
        axes = (self.rows, self.columns)
        if not all(0 <= u < len(axis.start) for u, axis in zip(unit, axes)):
            size = " × ".join(str(len(axis.start)) for axis in axes)
            raise ValueError(f"unit {unit} is outside the {size} map of {self.at}")
        (row, column) = unit
        return (
            int(self.rows.start[row]),
            int(self.rows.stop[row]),
            int(self.columns.start[column]),
            int(self.columns.stop[column]),
        )


def theoretical_field(
    model: nn.Module,
    input_size: int | tuple[int, int],
    at: str | None = None,
    channels: int = 3,
) -> TheoreticalField:
    """Size, stride and offset per axis of the field of a map's units, through branches and sums.

    Args:
        model: maps images to score maps; only its geometry is looked at.
        input_size: (height, width) of the image, in pixels.
        at: path of the submodule whose output is asked for ("backbone.layer4"); None for the
            score map.
        channels: of the image.

    Raises:
        ValueError: `at` names no submodule that makes a map.
        NotTraceable: the network cannot be exported as a graph.
    """
    size = (input_size, input_size) if isinstance(input_size, int) else tuple(input_size)
    dtype = next(model.parameters(), torch.zeros(())).dtype
    return field_of(Graph(model, torch.zeros(1, channels, *size, dtype=dtype)), at)


def field_of(graph: Graph, at: str | None = None) -> TheoreticalField:
    """The field in a graph that exists already (see `theoretical_field`)."""
    last = len(graph.operations) - 1 if at is None else _last_of(graph, at)
    operations = graph.operations[: last + 1]
    end = operations[-1]
    if end.size is None:
        raise ValueError(f"{at or 'the model'} does not answer with a map")
    name = at or "scores"
    unknown = AxisField(None, None, None)
    spans = {end.node: [np.arange(n) for n in end.size] + [np.arange(1, n + 1) for n in end.size]}
    steps = {end.node: [Fraction(1), Fraction(1)]}
    for operation in reversed(operations):
        span = spans.pop(operation.node, None)
        if span is None:
            continue
        step = steps.pop(operation.node)
        if not operation.local:
            return TheoreticalField(unknown, unknown, name, operation.name)
        starts, stops = span[:2], span[2:]
        read = [axis.reads(a, b) for axis, a, b in zip(operation.axes, starts, stops)]
        step = [s * axis.step for s, axis in zip(step, operation.axes)]
        for source in operation.inputs:
            if source in spans:
                if steps[source] != step:
                    return TheoreticalField(unknown, unknown, name, operation.name)
                known = spans[source]
                spans[source] = [
                    *(np.minimum(known[i], read[i][0]) for i in (0, 1)),
                    *(np.maximum(known[2 + i], read[i][1]) for i in (0, 1)),
                ]
            else:
                spans[source] = [read[0][0], read[1][0], read[0][1], read[1][1]]
                steps[source] = step
    top, left, bottom, right = spans[graph.image]
    strides = steps[graph.image]
    return TheoreticalField(
        _axis_field(top, bottom, strides[0]), _axis_field(left, right, strides[1]), name
    )


def _axis_field(start: np.ndarray, stop: np.ndarray, stride: Fraction) -> AxisField:
    # Phases of a decoder differ by a pixel or two: the offset is that of the fitted grid.
    offset = np.mean((start + stop - 1) / 2 - float(stride) * np.arange(len(start)))
    return AxisField(int((stop - start).max()), float(stride), float(offset), start, stop)


def _last_of(graph: Graph, at: str) -> int:
    inside = [
        i
        for i, operation in enumerate(graph.operations)
        if _belongs(operation, at) and operation.size is not None
    ]
    if not inside:
        raise ValueError(f"the model has no submodule {at!r} that makes a map of the image")
    return inside[-1]


def _belongs(operation: Operation, at: str) -> bool:
    stack = operation.node.meta.get("nn_module_stack") or {}
    paths = [path.removeprefix("model").removeprefix(".") for path, _ in stack.values()]
    return at in paths
