"""Propagate a difference through one operation, from rectangles of its inputs to a rectangle of its
output.

With Δx = changed − clean, zero outside a rectangle,

    a linear operation:      Δy = W Δx                   (no bias, and the clean map is not needed)
    a nonlinear operation:   Δy = f(x + Δx) − f(x)       (x from the clean run)

Each operation becomes a function of the patches of its inputs and of the rectangle of its output
that is to be computed.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch.fx import Node
from torch.fx.node import map_arg
from torch.nn import functional as F

from gcnlab.annotations import Tensor
from gcnlab.geometry import Broadcast, Footprint, Transposed
from gcnlab.receptive import locality as ops
from gcnlab.receptive.graph import Operation
from gcnlab.receptive.grid import Interval
from gcnlab.receptive.nodes import arguments, channels, value_of

aten = torch.ops.aten

Box = tuple[Interval, Interval]
"""Rows and columns of a rectangle."""


@dataclass
class Patch:
    """A difference on a rectangle of a map, zero outside it.

    Attributes:
        box: the rectangle.
        delta: changed − clean, (changes, channels, rows, columns).
        last: whether the operation that receives the patch is the last to read it, so that it may
            overwrite `delta`.
    """

    box: Box
    delta: Tensor
    last: bool = False

    def on(self, box: Box) -> Tensor:
        """The difference on another rectangle: cropped, and padded with zeros. Read-only."""
        margins = self.margins(box)
        if not any(margins):
            return self.delta
        if empty(meet(self.box, box)):
            return self.delta.new_zeros(*self.delta.shape[:2], *size_of(box))
        return F.pad(self.delta, margins)

    def writable(self, box: Box) -> Tensor:
        """The difference on another rectangle, as a tensor that may be overwritten."""
        there = self.on(box)
        return there if self.last or there is not self.delta else there.clone()

    def margins(self, box: Box) -> tuple[int, int, int, int]:
        """Distance that `box` extends beyond `self.box`: left, right, top, bottom; negative inside."""
        (rows, columns), (own_rows, own_columns) = box, self.box
        return (
            own_columns[0] - columns[0],
            columns[1] - own_columns[1],
            own_rows[0] - rows[0],
            rows[1] - own_rows[1],
        )


Pass = Callable[[list[Patch | None], Box], Tensor]
"""Patches of the inputs (None: no change there), rectangle of the output → the difference on it."""


def meet(one: Box, other: Box) -> Box:
    """The intersection of two rectangles."""
    return tuple((max(a[0], b[0]), min(a[1], b[1])) for a, b in zip(one, other))


def empty(box: Box) -> bool:
    """Whether a rectangle contains no position."""
    return any(start >= stop for start, stop in box)


def size_of(box: Box) -> tuple[int, int]:
    """Height and width of a rectangle; 0 for an empty interval."""
    rows, columns = (max(0, stop - start) for start, stop in box)
    return rows, columns


def part(clean: Tensor, box: Box) -> Tensor:
    """The rectangle of a map."""
    (top, bottom), (left, right) = box
    return clean[..., top:bottom, left:right]


def read_by(operation: Operation, box: Box, number: int = 0) -> Box:
    """The rectangle of an input, padding included, that a rectangle of the output reads."""
    axes = operation.axes[number]
    return tuple(axis.reads(*interval) for axis, interval in zip(axes, box))


SUMS = (aten.add.Tensor, aten.sub.Tensor)


def is_linear(operation: Operation) -> bool:
    """Whether a local operation can propagate a difference without the clean values."""
    target, dtype = operation.node.target, value_of(operation.node).dtype
    if target in SUMS:  # with mixed precisions, the result is rounded differently
        return all(value_of(n).dtype == dtype for n in operation.inputs)
    return target in (
        *ops.CONVOLUTION,
        *ops.TRANSPOSED,
        *ops.RESAMPLING,
        *ops.PADDING,
        *ops.BATCH_NORM,
        *ops.PASSED_ON,
        *ops.RESHAPING,
        *ops.SPLITS,
        *CHOOSING,
        aten.cat.default,
        aten.avg_pool2d.default,
        aten.expand.default,
        ops.operator.getitem,
    )


CHOOSING = (
    aten.flip.default,
    aten.roll.default,
    aten.index_select.default,
    aten.index.Tensor,
    aten.slice.Tensor,
)
"""Operations that reorder or select channels."""


def clean_inputs(operation: Operation) -> tuple[Node, ...]:
    """The nodes whose clean values the operation needs to propagate a difference."""
    return () if operation.local and is_linear(operation) else operation.inputs


def difference_of(operation: Operation, values: dict[Node, object], scale: Tensor | None) -> Pass:
    """Return the function that propagates a difference through a local operation.

    Args:
        operation: a local operation.
        values: values of the clean run: constants, and the maps that `clean_inputs` names.
        scale: scale per output channel of the batch norm that is folded into this convolution, or
            of this batch norm if it is folded into a convolution; None if nothing is folded.
    """
    target = operation.node.target
    if target in ops.CONVOLUTION + ops.TRANSPOSED:
        return convolution(operation, values, scale)
    if target in ops.BATCH_NORM:
        if scale is not None:
            return unchanged
        factor = batch_norm_scale(operation.node, values)[:, None, None]
        return lambda patches, box: patches[0].writable(box).mul_(factor)
    if target is ops.operator.getitem:
        return selected_output(operation)
    if target in ops.PASSED_ON + ops.RESHAPING + ops.SPLITS:
        return unchanged
    if target in SUMS and is_linear(operation):
        return addition(operation)
    if target is aten.cat.default:
        return concatenation(operation)
    if target is aten.expand.default:
        return expansion(operation)
    if target is aten.slice.Tensor and arguments(operation.node).get("dim", 0) % 4 != 1:
        return cut_out(operation)
    if target in CHOOSING:
        return choice(operation, values)
    if target in ops.PADDING:
        return padding(operation)
    if target is aten.avg_pool2d.default:
        return average_pooling(operation)
    if target in ops.MAX_POOL:
        return max_pooling(operation, values)
    if target in ops.RESAMPLING:
        return resampling(operation, ops.resampling_matrices(operation.node))
    if target is aten.relu.default:
        return relu(values[operation.inputs[0]])
    return pointwise(operation, values)


def unchanged(patches: list[Patch | None], box: Box) -> Tensor:
    return patches[0].writable(box)


def convolution(operation: Operation, values: dict[Node, object], scale: Tensor | None) -> Pass:
    argument = arguments(operation.node)
    weight, groups = values[operation.node.args[1]], argument.get("groups", 1)
    if scale is not None:
        weight = weight * scale[:, None, None, None]
    weight = weight.contiguous(memory_format=torch.channels_last)
    if isinstance(operation.axes[0][0], Transposed):
        return transposed_convolution(operation, weight, groups)
    stride, dilation = (
        [getattr(a, name) for a in operation.axes[0]] for name in ("stride", "dilation")
    )
    if groups == 1 and stride == [1, 1] and 4 * len(weight) < weight.shape[1]:
        return thin_convolution(operation, weight)

    def convolved(patches: list[Patch | None], box: Box) -> Tensor:
        (patch,) = patches
        tile = read_by(operation, box)
        left, right, top, bottom = patch.margins(tile)
        if left == right >= 0 and top == bottom >= 0:  # the convolution can pad by itself
            return F.conv2d(patch.delta, weight, None, stride, (top, left), dilation, groups)
        return F.conv2d(patch.on(tile), weight, None, stride, 0, dilation, groups)

    return convolved


def thin_convolution(operation: Operation, weight: Tensor) -> Pass:
    """A convolution with many input channels, few output channels and a long kernel: the heads.

    A direct convolution spends its time on reading the input once per tap (it was measured at a
    tenth of the processor's peak speed). Here one matrix product computes the contribution of each
    input through each tap; the maps of the taps are then shifted and summed.
    """
    taps = [(r, c) for r in range(weight.shape[2]) for c in range(weight.shape[3])]
    by_tap = torch.cat([weight[:, :, r, c] for r, c in taps])[:, :, None, None]

    def convolved(patches: list[Patch | None], box: Box) -> Tensor:
        (patch,) = patches
        maps = F.conv2d(patch.delta, by_tap).split(len(weight), 1)
        total = patch.delta.new_zeros(len(patch.delta), len(weight), *size_of(box))
        for tap, through_it in zip(taps, maps):
            shift = [axis.padding - t * axis.dilation for axis, t in zip(operation.axes[0], tap)]
            add_into(total, box, moved(Patch(patch.box, through_it), shift))
        return total

    return convolved


def transposed_convolution(operation: Operation, weight: Tensor, groups: int) -> Pass:
    footprints = [axis.footprint for axis in operation.axes[0]]
    stride, dilation = ([getattr(f, name) for f in footprints] for name in ("stride", "dilation"))

    def spread_out(patches: list[Patch | None], box: Box) -> Tensor:
        tile = read_by(operation, box)
        if empty(tile):  # a position between two footprints
            delta = patches[0].delta
            return delta.new_zeros(len(delta), weight.shape[1] * groups, *size_of(box))
        spread = F.conv_transpose2d(
            patches[0].on(tile), weight, None, stride, 0, groups=groups, dilation=dilation
        )
        origin = [f.reads(start, stop)[0] for f, (start, stop) in zip(footprints, tile)]
        whole = tuple((start, start + n) for start, n in zip(origin, spread.shape[-2:]))
        return Patch(whole, spread, last=True).on(box)

    return spread_out


def addition(operation: Operation) -> Pass:
    node = operation.node
    alpha = node.kwargs.get("alpha", 1) * (-1 if node.target is aten.sub.Tensor else 1)
    # The sum of a node and itself has one input and two terms.
    terms = [
        (operation.inputs.index(n), factor)
        for n, factor in zip(node.args, (1, alpha))
        if n in operation.inputs
    ]
    width = channels(node)
    # A term that is broadcast over channels, rows or columns has to be expanded first.
    full = [
        channels(n) == width and not any(isinstance(axis, Broadcast) for axis in axes)
        for n, axes in zip(operation.inputs, operation.axes)
    ]

    def sum_of(patches: list[Patch | None], box: Box) -> Tensor:
        size = size_of(box)
        changed = []
        for i, factor in terms:
            patch = patches[i]
            if patch is not None and not full[i]:
                spread = patch.on(read_by(operation, box, i))
                patch = Patch(box, spread.expand(-1, width, *size))
            if patch is not None:
                changed.append((patch, factor))
        # Start with the term that fills the box, if there is one: it need not be copied.
        changed.sort(key=lambda term: (any(term[0].margins(box)), not term[0].last))
        (first, factor), *others = changed
        alone = all(other is not first for other, _ in others)
        total = first.writable(box) if alone else first.on(box).clone()
        if factor != 1:
            total.mul_(factor)
        for other, factor in others:
            add_into(total, box, other, factor)
        return total

    return sum_of


def add_into(total: Tensor, box: Box, patch: Patch, factor: int | float = 1) -> None:
    """Add the part of `patch` inside `box` to `total`, the values on `box`, in place."""
    both = meet(patch.box, box)
    if not empty(both):
        ours, theirs = (
            tuple((i[0] - origin, i[1] - origin) for i, (origin, _) in zip(both, frame))
            for frame in (box, patch.box)
        )
        part(total, ours).add_(part(patch.delta, theirs), alpha=factor)


def concatenation(operation: Operation) -> Pass:
    """Concatenation along the channels (`joined`), or along rows or columns (`beside`), where each
    input fills its own part of the output."""
    tensors, dim = operation.node.args[0], arguments(operation.node).get("dim", 0) % 4

    def beside(patches: list[Patch | None], box: Box) -> Tensor:
        there = next(p for p in patches if p is not None).delta
        size = size_of(box)
        total = there.new_zeros(len(there), channels(operation.node), *size)
        for i, patch in enumerate(patches):
            if patch is not None:
                shift = [axis.padding for axis in operation.axes[i]]
                add_into(total, box, moved(patch, shift))
        return total

    def joined(patches: list[Patch | None], box: Box) -> Tensor:
        there = next(p for p in patches if p is not None).delta
        size = size_of(box)
        pieces = []
        for node in tensors:
            patch = patches[operation.inputs.index(node)] if node in operation.inputs else None
            if patch is None:
                pieces.append(there.new_zeros(len(there), channels(node), *size))
            else:
                pieces.append(patch.on(box))
        return torch.cat(pieces, 1)

    return joined if dim == 1 else beside


def moved(patch: Patch, shift: list[int]) -> Patch:
    """The same difference, shifted by `shift` rows and columns."""
    box = tuple((start + by, stop + by) for (start, stop), by in zip(patch.box, shift))
    return replace(patch, box=box)


def expansion(operation: Operation) -> Pass:
    """Broadcasting of one row, column or channel."""
    width = channels(operation.node)

    def spread(patches: list[Patch | None], box: Box) -> Tensor:
        size = size_of(box)
        there = patches[0].on(read_by(operation, box))
        return there.expand(-1, width, *size).clone()

    return spread


def selected_output(operation: Operation) -> Pass:
    """One output of an operation with several: the map, or some channels of a split."""
    source, number = operation.node.args
    if source.target not in ops.SPLITS:
        return unchanged
    widths = [piece.shape[1] for piece in source.meta["val"]]
    start = sum(widths[:number])
    own = slice(start, start + widths[number])
    return lambda patches, box: patches[0].on(box)[:, own].clone()


def choice(operation: Operation, values: dict[Node, object]) -> Pass:
    """A selection or reordering of channels."""
    node = operation.node

    def chosen(patches: list[Patch | None], box: Box) -> Tensor:
        there = patches[0].on(box)
        lookup = lambda n: there if n is operation.inputs[0] else values[n]  # noqa: E731
        args, kwargs = map_arg((node.args, node.kwargs), lookup)
        return node.target(*args, **kwargs).clone()

    return chosen


def cut_out(operation: Operation) -> Pass:
    rows, columns = (axis.stride for axis in operation.axes[0])
    return lambda patches, box: patches[0].writable(read_by(operation, box))[..., ::rows, ::columns]


def padding(operation: Operation) -> Pass:
    """Padding. With a constant, the difference is shifted, whatever the constant is; with values of
    the border, padding is a resampling."""
    if not all(isinstance(axis, Footprint) for axis in operation.axes[0]):
        return resampling(operation, ops.padding_matrices(operation.node))
    shift = [axis.padding for axis in operation.axes[0]]
    around = tuple(arguments(operation.node)["pad"][4:6])  # channels

    def padded(patches: list[Patch | None], box: Box) -> Tensor:
        there = moved(patches[0], shift).writable(box)
        return F.pad(there, (0, 0, 0, 0, *around)) if any(around) else there

    return padded


def average_pooling(operation: Operation) -> Pass:
    kernel, stride = (
        [getattr(a, name) for a in operation.axes[0]] for name in ("kernel", "stride")
    )
    return lambda patches, box: F.avg_pool2d(patches[0].on(read_by(operation, box)), kernel, stride)


def max_pooling(operation: Operation, values: dict[Node, object]) -> Pass:
    clean = values[operation.inputs[0]]
    kernel, stride, dilation = (
        [getattr(a, name) for a in operation.axes[0]] for name in ("kernel", "stride", "dilation")
    )

    def maximum(patches: list[Patch | None], box: Box) -> Tensor:
        tile = read_by(operation, box)
        inside = tuple((max(0, a), min(n, b)) for (a, b), n in zip(tile, clean.shape[-2:]))
        margins = Patch(inside, clean).margins(tile)
        before = F.pad(part(clean, inside), margins, value=float("-inf"))
        after = before + patches[0].on(tile)
        pool = (kernel, stride, 0, dilation)
        return F.max_pool2d(after, *pool).sub_(F.max_pool2d(before, *pool))

    return maximum


def resampling(operation: Operation, matrices: tuple[Tensor, Tensor]) -> Pass:
    def resampled(patches: list[Patch | None], box: Box) -> Tensor:
        (patch,) = patches
        rows, columns = (
            matrix[slice(*out), slice(*own)].to(patch.delta)
            for matrix, out, own in zip(matrices, box, patch.box)
        )
        return rows @ patch.delta @ columns.T

    return resampled


def relu(clean: Tensor) -> Pass:
    def rectified(patches: list[Patch | None], box: Box) -> Tensor:
        # relu(x + Δ) − relu(x) = max(Δ, −x) + min(x, 0)
        x = part(clean, box)
        delta = patches[0].writable(box)
        return torch.maximum(delta, -x, out=delta).add_(x.clamp(max=0))

    return rectified


def pointwise(operation: Operation, values: dict[Node, object]) -> Pass:
    """f(x + Δx) − f(x) of any pointwise function of one or more maps."""
    node = operation.node
    amplified = amplified_operand(operation)
    constants = [n for n in node.all_input_nodes if n not in operation.inputs]

    def difference(patches: list[Patch | None], box: Box) -> Tensor:
        clean, changed = {n: cut(values[n], box, node) for n in constants}, {}
        for i, (n, patch) in enumerate(zip(operation.inputs, patches)):
            own = read_by(operation, box, i)
            clean[n] = part(values[n], own)
            changed[n] = clean[n] if patch is None else clean[n] + patch.on(own)
        delta = result(clean | changed) - result(clean)
        if amplified is not None:
            before, after = clean[amplified], changed[amplified]
            noise = DIGITS * torch.finfo(after.dtype).eps * before.abs()
            lost = (after != before) & (after != 0) & (after.abs() <= noise)
            delta = delta.masked_fill(lost, float("nan"))
        return delta

    def result(maps: dict[Node, Tensor]) -> Tensor:
        args, kwargs = map_arg((node.args, node.kwargs), maps.__getitem__)
        answer = node.target(*args, **kwargs)
        return answer[0] if isinstance(answer, tuple) else answer

    return difference


AMPLIFYING = {
    aten.div.Tensor: 1,
    aten.reciprocal.default: 0,
    aten.rsqrt.default: 0,
    aten.sqrt.default: 0,
    aten.log.default: 0,
    aten.log2.default: 0,
    aten.log10.default: 0,
    aten.pow.Tensor_Scalar: 0,
    aten.pow.Tensor_Tensor: 0,
}
"""Operations that amplify a rounding error where an operand is close to zero → index of this
operand."""

DIGITS = 100
"""A changed value that is at most this many eps of the clean value counts as rounding."""


def amplified_operand(operation: Operation) -> Node | None:
    """The input whose rounding errors the operation may amplify, if any. Where a value consists of
    rounding only, the difference is set to NaN, and the window is run by the plain method."""
    target, args = operation.node.target, operation.node.args
    place = AMPLIFYING.get(target)
    if target is aten.pow.Tensor_Scalar and args[1] >= 1:
        place = None
    operand = None if place is None else args[place]
    return operand if operand in operation.inputs else None


def cut(constant: Tensor, box: Box, node: Node) -> Tensor:
    """The part of a constant inside a rectangle of the output; axes of length 1 are kept."""
    if node.target is aten.prelu.default:
        return constant  # one weight per channel
    for axis, interval in zip((-2, -1), box):
        if constant.ndim >= -axis and constant.shape[axis] > 1:
            constant = constant.narrow(axis, interval[0], interval[1] - interval[0])
    return constant


def batch_norm_scale(node: Node, values: dict[Node, object]) -> Tensor:
    """The factor per channel of a batch norm in evaluation mode."""
    argument = arguments(node)
    variance = values[argument["running_var"]]
    scale = torch.rsqrt(variance + argument["eps"])
    weight = argument.get("weight")
    return scale if weight is None else scale * values[weight]
