"""Logits of an image with one small part changed, computed from the activations of the clean image.

The clean image is run once and its activations are kept. A change of the image reaches only a small
part of the map in each layer (the *forward cone*), and one unit of the score map depends only on a
part of each map (the *backward cone*). Values are computed only where both intersect. Krypton
introduced the reuse of activations for occlusion (Nakandala, Kumar, Papakonstantinou, "Incremental
and approximate inference for faster occlusion-based deep CNN explanations", SIGMOD 2019). Two
things are different here:

- **Layers pass on differences, not values** (`gcnlab.receptive.differences`): the difference is
  zero outside the cone and need not be read, and a small change is not lost to rounding as the
  difference of two large numbers.
- **Neighbouring changes form a batch**: a batch is a block of the grid of windows, and in each
  layer one rectangle contains all of their cones. Small blocks have tight rectangles, large blocks
  few calls; the cost of both is estimated from their multiply-adds, and the cheaper is chosen.

An operation that is global or unknown (pooling over the whole map, attention) is run unchanged on
its whole input, once per change; after it the whole map counts as changed. This is still right, but
slow.

A clean value plus a difference equals the changed value up to rounding. Where a result is
discontinuous (a comparison, the position of a maximum), rounding can change it: inside an occluder
all values are equal, and the last bit decides which one is the largest. Networks with such
operations are run by the plain method.
"""

import math
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import nn
from torch.fx import Node
from torch.fx.node import map_arg

from gcnlab.annotations import Float, Tensor
from gcnlab.arguments import first_line
from gcnlab.devices import without_tf32
from gcnlab.geometry import Footprint
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
from gcnlab.receptive.grid import Interval, Window
from gcnlab.receptive.locality import BATCH_NORM, CONVOLUTION, TRANSPOSED
from gcnlab.receptive.nodes import evaluate, map_size

SECONDS_PER_CALL = 25e-6
"""Overhead of a call from Python into PyTorch, in addition to the operation's multiply-adds."""

SHAPES = ((1, 1), (1, 2), (2, 2), (2, 4), (4, 4), (4, 8), (8, 8))
"""Heights and widths of blocks to choose from, in windows."""

NOWHERE = np.array([1 << 40, -(1 << 40)])
"""The empty interval, the initial value of a hull."""

Cones = dict[Node, np.ndarray]
"""Map → the intervals of several groups of changes on one axis, (groups, 2); empty if start ≥
stop."""


class NotReusable(RuntimeError):
    """Kept activations cannot be reused; the message names the operation and says why."""


@dataclass
class FullValues:
    """Values, not differences, of a node that was computed on its whole input: one per change."""

    values: list


@dataclass(frozen=True)
class ExecutionPlan:
    """Changes grouped into blocks, and the cost of computing them.

    Attributes:
        blocks: (group of rows, group of columns) → the changes in the block.
        cones: the groups' cones along rows and along columns.
        macs: multiply-adds of all blocks.
        seconds: their estimated duration.
    """

    blocks: dict[tuple[int, int], list[Window]]
    cones: tuple[Cones, Cones]
    macs: float
    seconds: float

    def boxes(self, block: tuple[int, int]) -> dict[Node, Box]:
        """The rectangle to compute in each map that the block changes."""
        boxes = {}
        for node, rows in self.cones[0].items():
            (top, bottom), (left, right) = rows[block[0]], self.cones[1][node][block[1]]
            if top < bottom and left < right:
                boxes[node] = (int(top), int(bottom)), (int(left), int(right))
        return boxes


class IncrementalNet:
    """A network with the kept activations of one image, for many small changes of that image.

    Args:
        model: maps images to score maps; recorded in evaluation mode. Its weights must not change
            afterwards.
        image: (channels, height, width), the model's input.
        graph: the model's graph for images of this size, or the error of recording it, if that
            was done before; None records it.

    Raises:
        NotTraceable: the network cannot be recorded as a graph.
        NotReusable: the result of an operation is discontinuous, or its difference function cannot
            be built.

    Attributes:
        score_map: logits of the clean image, (classes, rows, columns).
        whole: names of the operations that are computed on their whole input for each change.
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
        with torch.inference_mode(), without_tf32():  # the graph is run, not the model itself
            self.operations = self.graph.operations
            self._last_use = {n: i for i, o in enumerate(self.operations) for n in o.inputs}
            start = time.perf_counter()
            self._values = self._run_clean()
            seconds = time.perf_counter() - start
            self._passes = self._prepare()
        self.score_map: Float[Tensor, "classes rows columns"] = self._values[self.graph.output][0]
        self.whole = [operation.name for operation in self.operations if not operation.local]
        self._macs = {o.node: macs_per_position(o) for o in self.operations}
        self.macs = sum(self._macs[o.node] * math.prod(o.size or ()) for o in self.operations)
        self._seconds_per_mac = seconds / max(self.macs, 1)

    def plan(
        self,
        rows: Sequence[Interval],
        columns: Sequence[Interval],
        windows: Sequence[Window],
        pixel: tuple[int, int] | None,
        batch_size: int,
    ) -> ExecutionPlan:
        """The cheapest blocks for some changes of the image. Nothing is run.

        Args:
            rows, columns: the intervals of the changed rectangles.
            windows: the rectangles: (i, j) is rows[i] × columns[j].
            pixel: (row, column) of the score map, where the logits are read; None to read them
                everywhere.
            batch_size: largest number of changes per batch.
        """
        read = [(0, n) for n in self.score_map.shape[-2:]]
        if pixel is not None:
            read = [(position, position + 1) for position in pixel]
        needed = [self._needed(axis, read[axis]) for axis in (0, 1)]
        shapes = [shape for shape in SHAPES if math.prod(shape) <= batch_size]
        plans = (self._plan((rows, columns), windows, needed, shape) for shape in shapes)
        return min(plans, key=lambda plan: plan.seconds)

    def changes(
        self,
        plan: ExecutionPlan,
        rows: Sequence[Interval],
        columns: Sequence[Interval],
        filling: Float[Tensor, "channels height width"],
    ) -> Iterator[tuple[list[Window], Float[Tensor, "changes classes"]]]:
        """Compute the change of the logits when rectangles of the image are replaced.

        Args:
            plan: a plan for the same rows and columns, and one pixel.
            rows, columns: the intervals of the changed rectangles.
            filling: the image that the rectangles are copied from.

        Yields:
            Some of the plan's windows, and for each of them changed − clean of every class.

        Raises:
            NotReusable: one of the operations failed.
        """
        for windows, patch in self.patches(plan, rows, columns, filling):
            if patch is None:
                yield windows, self.score_map.new_zeros(len(windows), len(self.score_map))
            else:
                yield windows, patch.delta.reshape(len(windows), -1)

    def patches(
        self,
        plan: ExecutionPlan,
        rows: Sequence[Interval],
        columns: Sequence[Interval],
        filling: Float[Tensor, "channels height width"],
        at_once: int = 1,
    ) -> Iterator[tuple[list[Window], Patch | None]]:
        """Compute the change of the score map when rectangles of the image are replaced.

        Args:
            plan, rows, columns, filling: see `changes`; the plan may be for all positions.
            at_once: number of blocks that are run at the same time, each in a thread of its own with
                its share of PyTorch's threads. The operations of a small network are too small to
                use several threads each. At most `at_once` + 2 blocks are submitted and not yet
                yielded, which bounds the memory.

        Yields:
            Some of the plan's windows, and changed − clean of every class on one rectangle of the
            score map, outside of which no window of these changes anything that was asked for. None
            if they change nothing.

        Raises:
            NotReusable: one of the operations failed.
        """

        def run(block: tuple[int, int], windows: list[Window]) -> Patch | None:
            rectangles = [(rows[i], columns[j]) for i, j in windows]
            with torch.inference_mode(), without_tf32():  # the mode is that of this thread only
                return self._run(plan.boxes(block), rectangles, filling)

        blocks = plan.blocks.items()
        if at_once == 1:
            yield from ((windows, run(block, windows)) for block, windows in blocks)
        else:
            yield from _in_threads(run, blocks, at_once)

    def _run_clean(self) -> dict[Node, object]:
        """Run the clean image; keep the values that changes need."""
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
        """The difference function of each local operation; batch norms are folded into the
        convolutions."""
        readers: dict[Node, list[Operation]] = {}
        for operation in self.operations:
            for node in operation.inputs:
                readers.setdefault(node, []).append(operation)
        scales = {}
        for operation in self.operations:
            after = readers.get(operation.node, [])
            plain = operation.local and isinstance(operation.axes[0][0], Footprint)
            if operation.node.target not in CONVOLUTION or not plain or len(after) != 1:
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

    def _needed(self, axis: int, read: Interval) -> dict[Node, Interval]:
        """The backward cone: the interval of each map on which some positions of the score map
        depend."""
        needed = {self.graph.output: read}
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
        """The intersection of the backward cone with the forward cones of groups of changes."""
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
        windows: Sequence[Window],
        needed: Sequence[dict[Node, Interval]],
        shape: tuple[int, int],
    ) -> ExecutionPlan:
        """Group changes into blocks of at most `shape` neighbours, and estimate their cost."""
        group_of, cones = [], []
        for axis in (0, 1):
            used = sorted({window[axis] for window in windows})
            group_of.append({i: rank // shape[axis] for rank, i in enumerate(used)})
            groups = np.tile(NOWHERE, (math.ceil(len(used) / shape[axis]), 1))
            for i, group in group_of[axis].items():
                start, stop = intervals[axis][i]
                groups[group] = min(groups[group, 0], start), max(groups[group, 1], stop)
            cones.append(self._cones(axis, groups, needed[axis]))
        blocks: dict[tuple[int, int], list[Window]] = {}
        for i, j in windows:
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
        return ExecutionPlan(blocks, tuple(cones), macs, seconds)

    def _run(
        self, boxes: dict[Node, Box], rectangles: Sequence[Box], filling: Tensor
    ) -> Patch | None:
        """Propagate the differences of one block of changes from the image to the logits."""
        state: dict[Node, Patch | FullValues] = {}
        if self.graph.image in boxes:
            state[self.graph.image] = self._filled(boxes[self.graph.image], rectangles, filling)
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
        return self._patch(self.graph.output, state, boxes, -1)

    def _filled(self, box: Box, rectangles: Sequence[Box], filling: Tensor) -> Patch:
        """The difference of the image with each rectangle filled, on the box that contains them
        all."""
        change = part(filling, box) - part(self._values[self.graph.image], box)[0]
        delta = torch.zeros(
            (len(rectangles), *change.shape), dtype=change.dtype, device=change.device
        ).contiguous(memory_format=torch.channels_last)
        for own, rectangle in zip(delta, rectangles):
            here = tuple(
                slice(max(0, start - origin), max(0, stop - origin))
                for (start, stop), (origin, _) in zip(rectangle, box)
            )
            own[:, *here] = change[:, *here]
        return Patch(box, delta)

    def _patch(
        self, node: Node, state: dict[Node, Patch | FullValues], boxes: dict[Node, Box], i: int
    ) -> Patch | None:
        """The difference of a node, as input of operation i."""
        known = state.get(node)
        if isinstance(known, FullValues):
            box = boxes[node]
            clean = part(self._values[node], box)
            return Patch(box, torch.cat([part(value, box) - clean for value in known.values]), True)
        return known and replace(known, last=self._last_use.get(node) == i)

    def _as_a_whole(
        self, operation: Operation, state: dict[Node, Patch | FullValues], changes: int
    ) -> FullValues:
        """Run an operation on its whole inputs, one change at a time."""

        def value(node: Node, number: int) -> object:
            known = state.get(node)
            if known is None:
                return self._values[node]
            if isinstance(known, FullValues):
                return known.values[number]
            changed = self._values[node].clone()
            part(changed, known.box).add_(known.delta[number])
            return changed

        node = operation.node
        return FullValues(
            [
                node.target(*args, **kwargs)
                for number in range(changes)
                for args, kwargs in [map_arg((node.args, node.kwargs), lambda n: value(n, number))]  # noqa: B023
            ]
        )


def _in_threads(
    run: Callable[[tuple[int, int], list[Window]], Patch | None],
    blocks: Iterable[tuple[tuple[int, int], list[Window]]],
    count: int,
) -> Iterator[tuple[list[Window], Patch | None]]:
    """Run blocks in threads, `count` at a time, and yield their results in order."""
    share = max(1, torch.get_num_threads() // count)
    # In a thread, `set_num_threads` sets the number of its own operations' threads.
    pool = ThreadPoolExecutor(count, initializer=torch.set_num_threads, initargs=(share,))
    try:
        waiting: deque[tuple[list[Window], Future[Patch | None]]] = deque()
        for block, windows in blocks:
            waiting.append((windows, pool.submit(run, block, windows)))
            if len(waiting) == count + 2:
                windows, result = waiting.popleft()
                yield windows, result.result()
        for windows, result in waiting:
            yield windows, result.result()
    finally:
        pool.shutdown(cancel_futures=True)


@contextmanager
def _named(operation: Operation) -> Iterator[None]:
    """Name the operation in errors that are raised inside the block."""
    try:
        yield
    except (MemoryError, torch.OutOfMemoryError):
        raise  # the operation did not cause it
    except Exception as error:
        raise NotReusable(
            f"{operation.name}: {type(error).__name__}: {first_line(error)}"
        ) from error


def length(node: Node, axis: int) -> int:
    """Rows or columns of a node's map; 1 if its value is not a map."""
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
