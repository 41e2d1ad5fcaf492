"""The theoretical receptive field: which pixels a unit could see at all, from the geometry of the
layers.

The field is computed backwards from the units of one map: each layer widens the interval that a
unit reads, and where branches meet (a residual sum, the two branches of a GCN block) the field is
the hull of their fields. Pixels count as read even where the weights are zero, and also beyond the
border, as if the image continued: the size is a property of the network, not of one image. (For the
paper's res-5 it is 427, 971 and 1451 pixels with ResNet-50, -101 and -152.)

If an operation reads its whole input, or is not proven to be local (`gcnlab.receptive.locality`),
the field is unknown.
"""

from dataclasses import dataclass
from fractions import Fraction

import numpy as np
import torch
from torch import nn

from gcnlab.arguments import Pair, Pixel, Whole, pair, pixel_of, whole
from gcnlab.geometry import AxisMap
from gcnlab.receptive.graph import Graph, Operation
from gcnlab.receptive.nodes import arguments, kind, map_size


@dataclass(frozen=True)
class AxisField:
    """The field along one axis, for every unit of the map.

    Attributes:
        size: pixels from the first to the last one seen; the largest over the units, if a
            decoder's phases differ. None if not known.
        stride: pixels between the fields of neighbouring units; None if not known, or if branches
            of different stride meet (at odd sizes, the levels of a decoder that interpolates).
        offset: centre of the field of unit 0, in pixels; 0 is the centre of pixel 0. None if the
            stride is None.
        start, stop: for each unit, the pixels [start, stop) that it sees, including those beyond
            the border; equal for a unit that sees no pixel.
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
        rows, columns: the field along each axis.
        at: path of the module whose output the units belong to.
        unknown_beyond: if the field is unknown, the last operation before `at` that reads its whole
            input or is not proven to be local. None if the field is known.
    """

    rows: AxisField
    columns: AxisField
    at: str
    unknown_beyond: str | None = None

    def __str__(self) -> str:
        if self.unknown_beyond is not None:
            return f"{self.at}: unknown beyond {self.unknown_beyond}"
        r, c = self.rows, self.columns
        if r.stride is None or c.stride is None:
            return f"{self.at}: {r.size}×{c.size} px, without a uniform stride"
        return (
            f"{self.at}: {r.size}×{c.size} px, stride {r.stride:g}×{c.stride:g}, "
            f"offset {r.offset:g}, {c.offset:g}"
        )

    def box(self, unit: Pixel) -> tuple[int, int, int, int]:
        """(top, bottom, left, right) of the pixels that `unit` (row, column) sees, [top, bottom)
        and [left, right), including those beyond the border.

        Raises:
            ValueError: the field is unknown, or the unit is outside the map.
        """
        if self.unknown_beyond is not None:
            raise ValueError(f"the field is unknown: {self}")
        unit, axes = pixel_of(unit), (self.rows, self.columns)
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
    input_size: Pair,
    at: str | None = None,
    channels: Whole = 3,
) -> TheoreticalField:
    """Size, stride and offset per axis of the field of a map's units, through branches and sums.

    Args:
        model: maps images to score maps; it is run on an image of zeros, and left as it was.
        input_size: (height, width) of the image, in pixels.
        at: path of the submodule whose units are asked for ("backbone.layer4"); None for the score
            map.
        channels: number of channels of the image.

    Raises:
        ValueError: there is no submodule `at` whose output is a map.
        NotTraceable: the network cannot be recorded as a graph.
    """
    size, channels = pair("input_size", input_size, 1), whole("channels", channels, 1)
    return field_of(Graph(model, torch.zeros(1, channels, *size)), at)


def field_of(graph: Graph, at: str | None = None) -> TheoreticalField:
    """Compute the field from a recorded graph (see `theoretical_field`)."""
    last = len(graph.operations) - 1 if at is None else _last_of(graph, at)
    operations = graph.operations[: last + 1]
    name = at or "scores"
    end, size = (operations[-1].node, operations[-1].size) if operations else (graph.image, None)
    if at is None and end is not graph.output:  # the image itself, or a constant
        end, size = graph.output, map_size(graph.output)
    if size is None:
        raise ValueError(f"{at or 'the model'} does not return a map")
    spans = {end: [_Span(np.arange(n), np.arange(1, n + 1), Fraction(1)) for n in size]}
    for operation in reversed(operations):
        if operation.node not in spans:
            continue
        wanted = spans.pop(operation.node)
        if not operation.local:
            unknown = AxisField(None, None, None)
            return TheoreticalField(unknown, unknown, name, cause(operation, operations))
        for source, axes in zip(operation.inputs, operation.axes):
            read = [span.through(axis) for span, axis in zip(wanted, axes)]
            if source in spans:
                read = [span.joined(other) for span, other in zip(read, spans[source])]
            spans[source] = read
    nothing = [_Span(np.zeros(n, int), np.zeros(n, int), None) for n in size]
    rows, columns = spans.get(graph.image, nothing)
    return TheoreticalField(rows.field(), columns.field(), name)


@dataclass(frozen=True)
class _Span:
    """The intervals of one map that some units read, along one axis.

    Attributes:
        start, stop: the interval of each unit; FAR and −FAR for a unit that reads nothing, so that
            a hull is a minimum and a maximum.
        step: distance between the intervals of neighbouring units; None if branches differ in it.
    """

    start: np.ndarray
    stop: np.ndarray
    step: Fraction | None

    def through(self, axis: AxisMap) -> "_Span":
        """The intervals that the same units read of an operation's input."""
        start, stop = axis.reads(self.start, self.stop)
        seen = (self.start < self.stop) & (start < stop)
        step = None if self.step is None else self.step * axis.step
        return _Span(np.where(seen, start, FAR), np.where(seen, stop, -FAR), step)

    def joined(self, other: "_Span") -> "_Span":
        """The hull of two branches."""
        start, stop = np.minimum(self.start, other.start), np.maximum(self.stop, other.stop)
        return _Span(start, stop, self.step if self.step == other.step else None)

    def field(self) -> AxisField:
        """Convert intervals of the image to a field."""
        seen = self.start < self.stop
        start, stop = np.where(seen, self.start, 0), np.where(seen, self.stop, 0)
        size = int((stop - start).max())
        if self.step is None or not seen.all():
            return AxisField(size, None, None, start, stop)
        # Phases of a decoder differ by a pixel or two: the offset is that of the fitted grid.
        offset = np.mean((start + stop - 1) / 2 - float(self.step) * np.arange(len(start)))
        return AxisField(size, float(self.step), float(offset), start, stop)


FAR = 1 << 40
"""A position beyond any map."""

GLOBAL = (
    "adaptive_avg_pool2d",
    "adaptive_max_pool2d",
    "_adaptive_avg_pool2d",
    "scaled_dot_product_attention",
    "matmul",
    "bmm",
    "einsum",
    "native_group_norm",
    "group_norm",
    "instance_norm",
    "_native_batch_norm_legit",
    "native_layer_norm",
    "layer_norm",
    "mean",
    "sum",
    "amax",
    "amin",
    "max",
    "min",
    "linalg_vector_norm",
    "var",
    "std",
    "max_unpool2d",
    "grid_sampler_2d",
    "grid_sampler",
)
"""Kinds of operations that read all of their input, or parts of it that depend on its values."""


def cause(operation: Operation, operations: list[Operation]) -> str:
    """The name of the global operation that explains why `operation` is not local.

    Attention and normalisation are surrounded by operations that only rearrange values (`view`,
    `permute`). This function therefore goes back from `operation` through others that are not
    local, to the first that reads its whole input. If there is none, it names `operation`.
    """
    before = {o.node: o for o in operations}
    reached = {operation.node}
    for other in reversed(operations):
        if other.node not in reached or other.local:
            continue
        if kind(other.node) in GLOBAL and not _over_channels(other):
            return other.name
        reached.update(n for n in other.inputs if n in before)
    return operation.name


def _over_channels(operation: Operation) -> bool:
    """Whether this is a layer norm over the channels of each position, in the last dimension, as in
    transformers."""
    shape = arguments(operation.node).get("normalized_shape")
    return shape is not None and len(shape) == 1


def _last_of(graph: Graph, at: str) -> int:
    inside = [
        i
        for i, operation in enumerate(graph.operations)
        if _belongs(operation, at) and operation.size is not None
    ]
    if not inside:
        raise ValueError(f"the model has no submodule {at!r} whose output is a map of the image")
    return inside[-1]


def _belongs(operation: Operation, at: str) -> bool:
    stack = operation.node.meta.get("nn_module_stack") or {}
    paths = [path.removeprefix("model").removeprefix(".") for path, _ in stack.values()]
    return at in paths
