"""Scores of an image with one small part changed, at the cost of that part.

The clean image is run once and its activations are kept. A change of the image reaches, in each layer, only
a small part of the map (the *forward cone*), and one unit of the score map reads only a part of each map (the
*backward cone*): something is computed only where both meet. Reuse of activations for occlusion is Krypton's
idea (Nakandala, Kumar, Papakonstantinou, "Incremental and approximate inference for faster occlusion-based
deep CNN explanations", SIGMOD 2019). Two things are different here:

- **Differences are passed on, not values** (`gcnlab.receptive.differences`): what is outside the cone is zero
  and need not be fetched, and a small change is not rounded away as the difference of two large numbers.
- **Neighbouring changes go together**: a batch is a block of the occluders' grid, and in each layer one
  rectangle holds the cones of all of them. Small blocks have tight rectangles, large blocks few calls; the
  multiply-adds of both are counted, and the cheaper is taken.

Where an operation is global or not understood (pooling over the whole map, attention) it is run as it is on its
whole input, once per change, and what follows has the whole map changed: still right, no longer quick.

A clean value with a difference added is the changed value up to rounding. Where a result jumps (a comparison, the
place of a maximum) rounding tips it: inside an occluder all values are alike, and which one is the largest hangs on
the last bit. Networks with such operations are left to the plain way.
"""

import math
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import nn
from torch.fx import Node
from torch.fx.node import map_arg

from gcnlab.annotations import Float, Tensor
from gcnlab.arguments import first_line
from gcnlab.geometry import Window
from gcnlab.models.logits import device_of, dtype_of
from gcnlab.receptive.differences import (
    Box,
    Pass,
    Patch,
    batch_norm_scale,
    clean_inputs,
    difference_of,
    part,
)
from gcnlab.receptive.graph import Graph, NotTraceable, Operation
from gcnlab.receptive.locality import BATCH_NORM, CONVOLUTION, TRANSPOSED
from gcnlab.receptive.nodes import evaluate, map_size
from gcnlab.receptive.windows import Interval

SECONDS_PER_CALL = 25e-6
"""What an operation costs beside its multiply-adds: the way from Python into PyTorch."""

SHAPES = ((1, 1), (1, 2), (2, 2), (2, 4), (4, 4), (4, 8), (8, 8))
"""Heights and widths that are tried for a block of changes."""

NOWHERE = np.array([1 << 40, -(1 << 40)])
"""The empty interval, as the start of a hull."""

Cones = dict[Node, np.ndarray]
"""Per map the intervals of several groups of changes on one axis, (groups, 2); empty if start ≥ stop."""


class NotReusable(RuntimeError):
    """Kept activations cannot be reused; the message names the operation and says why."""


@dataclass
class Whole:
    """Values, not differences, of a node that was computed as a whole: one per change."""

    values: list


@dataclass(frozen=True)
class Plan:
    """Changes put into blocks.

    Attributes:
        blocks: (group of rows, group of columns) → the changes in the block.
        cones: of rows and columns, by group.
        macs: multiply-adds of all blocks.
        seconds: what they will take, by estimate.
    """

    blocks: dict[tuple[int, int], list[tuple[int, int]]]
    cones: tuple[Cones, Cones]
    macs: float
    seconds: float

    def boxes(self, block: tuple[int, int]) -> dict[Node, Box]:
        """Of each map that the block changes, the rectangle that has to be computed."""
        boxes = {}
        for node, rows in self.cones[0].items():
            (top, bottom), (left, right) = rows[block[0]], self.cones[1][node][block[1]]
            if top < bottom and left < right:
                boxes[node] = (int(top), int(bottom)), (int(left), int(right))
        return boxes


class IncrementalNet:
    """A network with the activations of one image, for many small changes of that image.

    Args:
        model: maps images to score maps; as it is in evaluation mode. Its weights are read when this is made.
        image: (channels, height, width), what the model takes.
        graph: of the model for images of this size, if there is one already, or why there is none.

    Raises:
        NotTraceable: the network cannot be exported as a graph.
        NotReusable: an operation jumps, or cannot be prepared.

    Attributes:
        scores: of the clean image, (classes, rows, columns).
        whole: names of the operations that are computed as a whole for each change.
        macs: multiply-adds of the convolutions for the whole image.
    """

    def __init__(
        self,
        model: nn.Module,
        image: Float[Tensor, "channels height width"],
        graph: Graph | NotTraceable | None = None,
    ):
        self.image = image.to(device_of(model), dtype_of(model) or image.dtype)
        if isinstance(graph, NotTraceable):
            raise graph
        self.graph = graph or Graph(model, self.image[None])
        if self.graph.unusable:
            raise NotReusable(self.graph.unusable)
        with torch.inference_mode():  # the model itself is not run
            self.operations = self.graph.operations
            self._last_use = {n: i for i, o in enumerate(self.operations) for n in o.inputs}
            start = time.perf_counter()
            self._values = self._run_clean()
            seconds = time.perf_counter() - start
            self._passes = self._prepare()
        self.scores: Float[Tensor, "classes rows columns"] = self._values[self.graph.output][0]
        self.whole = [operation.name for operation in self.operations if not operation.local]
        self._macs = {o.node: macs_per_position(o) for o in self.operations}
        self.macs = sum(self._macs[o.node] * math.prod(o.size or ()) for o in self.operations)
        self._seconds_per_mac = seconds / max(self.macs, 1)

    def plan(
        self,
        rows: Sequence[Interval],
        columns: Sequence[Interval],
        members: Sequence[tuple[int, int]],
        pixel: tuple[int, int],
        batch_size: int,
    ) -> Plan:
        """The cheapest blocks for some changes of the image; nothing is run.

        Args:
            rows, columns: the intervals that the changed rectangles are made of.
            members: the rectangles: (i, j) is rows[i] × columns[j].
            pixel: (row, column) of the score map, at which the scores will be read.
            batch_size: changes at once, at most.
        """
        needed = [self._needed(axis, pixel[axis]) for axis in (0, 1)]
        shapes = [shape for shape in SHAPES if math.prod(shape) <= batch_size]
        plans = (self._plan((rows, columns), members, needed, shape) for shape in shapes)
        return min(plans, key=lambda plan: plan.seconds)

    def changes(
        self,
        plan: Plan,
        rows: Sequence[Interval],
        columns: Sequence[Interval],
        fill: int | float,
    ) -> Iterator[tuple[list[tuple[int, int]], Float[Tensor, "changes classes"]]]:
        """What the scores change by when rectangles of the image are filled.

        Args:
            plan: of the same rows and columns.
            fill: value of a changed rectangle, in all channels.

        Yields:
            Some of the plan's members, and for each of them changed − clean of every class.

        Raises:
            NotReusable: one of the operations did not work.
        """
        for block, members in plan.blocks.items():
            rectangles = [(rows[i], columns[j]) for i, j in members]
            with torch.inference_mode():  # not over the yield: the caller's mode is its own
                changes = self._run(plan.boxes(block), rectangles, fill)
            yield members, changes

    def _run_clean(self) -> dict[Node, object]:
        """Run the image; keep the values that changes will need."""
        kept = {self.graph.image, self.graph.output}
        for operation in self.operations:
            kept.update(clean_inputs(operation))
            if not operation.local:
                kept.add(operation.node)
        image = self.image[None].contiguous(memory_format=torch.channels_last)
        values = {**self.graph.constants, self.graph.image: image}
        for i, operation in enumerate(self.operations):
            values[operation.node] = evaluate(operation.node, values)
            for node in operation.inputs:
                if self._last_use[node] == i and node not in kept:
                    del values[node]
        if self.image.is_cuda:
            torch.cuda.synchronize()
        return values

    def _prepare(self) -> list[Pass | None]:
        """The function of each local operation, batch norms folded into the convolutions before them."""
        readers: dict[Node, list[Operation]] = {}
        for operation in self.operations:
            for node in operation.inputs:
                readers.setdefault(node, []).append(operation)
        scales = {}
        for operation in self.operations:
            after = readers.get(operation.node, [])
            window = operation.local and isinstance(operation.axes[0][0], Window)
            if operation.node.target not in CONVOLUTION or not window or len(after) != 1:
                continue
            norm = after[0]
            if norm.node.target in BATCH_NORM and norm.local:
                scale = batch_norm_scale(norm.node, self._values)
                scales[operation.node] = scales[norm.node] = scale
        passes = []
        for operation in self.operations:
            with _named(operation):
                scale = scales.get(operation.node)
                local = operation.local
                passes.append(difference_of(operation, self._values, scale) if local else None)
        return passes

    def _needed(self, axis: int, position: int) -> dict[Node, Interval]:
        """The backward cone: of each map the interval that one position of the score map reads."""
        needed = {self.graph.output: (position, position + 1)}
        for operation in reversed(self.operations):
            start, stop = needed.get(operation.node, (0, 0))
            if start >= stop:
                continue
            for i, node in enumerate(operation.inputs):
                n = length(node, axis)
                first, last = (
                    operation.axes[i][axis].reads(start, stop) if operation.local else (0, n)
                )
                if first >= last:
                    continue
                own = needed.get(node, (n, 0))
                needed[node] = max(0, min(own[0], first)), min(n, max(own[1], last))
        return needed

    def _cones(self, axis: int, groups: np.ndarray, needed: dict[Node, Interval]) -> Cones:
        """Where the forward cones of groups of changes meet the backward cone."""
        cones = {self.graph.image: _meet(groups, needed.get(self.graph.image))}
        for operation in self.operations:
            hull = np.tile(NOWHERE, (len(groups), 1))
            for i, node in enumerate(operation.inputs):
                start, stop = cones[node].T
                if operation.local:
                    reached = np.stack(operation.axes[i][axis].reaches(start, stop), 1)
                else:
                    reached = np.tile([0, length(operation.node, axis)], (len(groups), 1))
                reached[start >= stop] = NOWHERE
                hull[:, 0] = np.minimum(hull[:, 0], reached[:, 0])
                hull[:, 1] = np.maximum(hull[:, 1], reached[:, 1])
            cones[operation.node] = _meet(hull, needed.get(operation.node))
        return cones

    def _plan(
        self,
        intervals: tuple[Sequence[Interval], Sequence[Interval]],
        members: Sequence[tuple[int, int]],
        needed: Sequence[dict[Node, Interval]],
        shape: tuple[int, int],
    ) -> Plan:
        """Put changes into blocks of at most `shape` neighbours, and count what they cost."""
        group_of, cones = [], []
        for axis in (0, 1):
            used = sorted({member[axis] for member in members})
            group_of.append({i: rank // shape[axis] for rank, i in enumerate(used)})
            groups = np.tile(NOWHERE, (math.ceil(len(used) / shape[axis]), 1))
            for i, group in group_of[axis].items():
                start, stop = intervals[axis][i]
                groups[group] = min(groups[group, 0], start), max(groups[group, 1], stop)
            cones.append(self._cones(axis, groups, needed[axis]))
        blocks: dict[tuple[int, int], list[tuple[int, int]]] = {}
        for i, j in members:
            blocks.setdefault((group_of[0][i], group_of[1][j]), []).append((i, j))
        lengths = [
            {node: np.maximum(0, cone[:, 1] - cone[:, 0]) for node, cone in axis.items()}
            for axis in cones
        ]
        macs, calls = 0.0, 0.0
        changes = np.zeros((len(set(group_of[0].values())), len(set(group_of[1].values()))))
        for key, block in blocks.items():
            changes[key] = len(block)
        for node, weight in self._macs.items():
            positions = np.outer(lengths[0][node], lengths[1][node])
            calls += np.count_nonzero(positions * changes)
            if weight:
                macs += weight * float((positions * changes).sum())
        seconds = macs * self._seconds_per_mac + calls * SECONDS_PER_CALL
        return Plan(blocks, tuple(cones), macs, seconds)

    def _run(
        self, boxes: dict[Node, Box], rectangles: Sequence[Box], fill: int | float
    ) -> Float[Tensor, "changes classes"]:
        """Pass the differences of one block of changes from the image to the scores."""
        state: dict[Node, Patch | Whole] = {}
        if self.graph.image in boxes:
            state[self.graph.image] = self._filled(boxes[self.graph.image], rectangles, fill)
        for i, operation in enumerate(self.operations):
            if any(node in state for node in operation.inputs) and operation.node in boxes:
                box = boxes[operation.node]
                with _named(operation):
                    if operation.local:
                        patches = [self._patch(node, state, boxes, i) for node in operation.inputs]
                        state[operation.node] = Patch(box, self._passes[i](patches, box))
                    else:
                        state[operation.node] = self._as_a_whole(operation, state, len(rectangles))
            for node in operation.inputs:
                if self._last_use[node] == i:
                    state.pop(node, None)
        classes = len(self.scores)
        if self.graph.output not in state:
            return self.scores.new_zeros(len(rectangles), classes)
        return self._patch(self.graph.output, state, boxes, -1).delta.reshape(-1, classes)

    def _filled(self, box: Box, rectangles: Sequence[Box], fill: int | float) -> Patch:
        """The difference of the image: each rectangle filled, on the box that holds them all."""
        clean = part(self._values[self.graph.image], box)
        delta = torch.zeros(
            (len(rectangles), *clean.shape[1:]), dtype=clean.dtype, device=clean.device
        ).contiguous(memory_format=torch.channels_last)
        for own, rectangle in zip(delta, rectangles):
            here = tuple(
                slice(max(0, start - origin), max(0, stop - origin))
                for (start, stop), (origin, _) in zip(rectangle, box)
            )
            own[:, *here] = fill - clean[0, :, *here]
        return Patch(box, delta)

    def _patch(
        self, node: Node, state: dict[Node, Patch | Whole], boxes: dict[Node, Box], i: int
    ) -> Patch | None:
        """The difference of a node, for the operation i."""
        known = state.get(node)
        if isinstance(known, Whole):
            box = boxes[node]
            clean = part(self._values[node], box)
            return Patch(box, torch.cat([part(value, box) - clean for value in known.values]), True)
        return known and replace(known, last=self._last_use.get(node) == i)

    def _as_a_whole(
        self, operation: Operation, state: dict[Node, Patch | Whole], changes: int
    ) -> Whole:
        """Run an operation on its whole inputs, change by change."""

        def value(node: Node, number: int) -> object:
            known = state.get(node)
            if known is None:
                return self._values[node]
            if isinstance(known, Whole):
                return known.values[number]
            changed = self._values[node].clone()
            part(changed, known.box).add_(known.delta[number])
            return changed

        node = operation.node
        return Whole(
            [
                node.target(*args, **kwargs)
                for number in range(changes)
                for args, kwargs in [map_arg((node.args, node.kwargs), lambda n: value(n, number))]  # noqa: B023
            ]
        )


@contextmanager
def _named(operation: Operation) -> Iterator[None]:
    """What goes wrong inside is said to be this operation's."""
    try:
        yield
    except (MemoryError, torch.OutOfMemoryError):
        raise  # not the operation's fault
    except Exception as error:
        raise NotReusable(
            f"{operation.name}: {type(error).__name__}: {first_line(error)}"
        ) from error


def length(node: Node, axis: int) -> int:
    """Rows or columns of a node's map; 1 for what is no map."""
    size = map_size(node)
    return 1 if size is None else size[axis]


def macs_per_position(operation: Operation) -> float:
    """Multiply-adds of a convolution for one position of its output; 0 for other operations."""
    if operation.node.target not in CONVOLUTION + TRANSPOSED or not operation.local:
        return 0.0
    weights = math.prod(operation.node.args[1].meta["val"].shape)
    return float(weights * math.prod(axis.step for axis in operation.axes[0] if axis.step < 1))


def _meet(intervals: np.ndarray, needed: Interval | None) -> np.ndarray:
    if needed is None:
        return np.tile(NOWHERE, (len(intervals), 1))
    return np.stack(
        [np.maximum(intervals[:, 0], needed[0]), np.minimum(intervals[:, 1], needed[1])], 1
    )
