"""Decide which operations are local, and which rows and columns of their inputs they read.

An operation is *local* if this module proves that

- its output, and its inputs that depend on the image, are maps: (1, channels, rows, columns);
- rows read rows and columns read columns, independently of each other, as described by an axis map
  of `gcnlab.geometry`;
- it treats each image of a batch as it treats a single image.

Any other operation, and a listed operation with unexpected arguments, is not local: every output
may read every input. Examples are reflection padding, slices of the batch, windows folded into the
batch, normalisation over the map, and attention. Their results are still right, but slow to
compute.
"""

import operator
from collections.abc import Sequence
from fractions import Fraction

import torch
from torch.fx import Node
from torch.nn import functional as F

from gcnlab.annotations import Tensor
from gcnlab.geometry import SAME, AxisMap, Broadcast, Footprint, Table, Transposed
from gcnlab.receptive.nodes import arguments, is_floating, map_size, value_of

aten = torch.ops.aten

Axes = tuple[AxisMap, AxisMap]
"""The axis maps of the rows and of the columns."""

PASSED_ON = (
    aten.clone.default,
    aten.alias.default,
    aten.detach.default,
    aten.contiguous.default,
    aten.lift_fresh_copy.default,
    aten.dropout.default,  # in evaluation mode; graphs that draw random numbers are refused
    aten.feature_dropout.default,
)
"""Operations that return their input unchanged."""

RESHAPING = (
    aten.view.default,
    aten.reshape.default,
    aten._unsafe_view.default,
)
"""Operations that return their input unchanged if they keep its shape."""

POINTWISE = (
    aten.hardswish.default,
    aten.log_sigmoid.default,
    aten.prelu.default,
    aten._prelu_kernel.default,
    aten.masked_fill.Tensor,
    aten._to_copy.default,
)
"""Pointwise operations that PyTorch does not tag as pointwise."""

BATCH_NORM = (aten._native_batch_norm_legit_no_training.default, aten.batch_norm.default)
CONVOLUTION = (aten.conv2d.default, aten.convolution.default, aten.conv2d.padding)
TRANSPOSED = (aten.conv_transpose2d.input,)
MAX_POOL = (aten.max_pool2d.default, aten.max_pool2d_with_indices.default)
PADDING = (aten.pad.default, aten.constant_pad_nd.default)
RESAMPLING = (
    aten.upsample_bilinear2d.vec,
    aten.upsample_bilinear2d.default,
    aten.upsample_nearest2d.vec,
    aten.upsample_nearest2d.default,
    aten._upsample_nearest_exact2d.vec,
    aten._upsample_nearest_exact2d.default,
    aten.upsample_bicubic2d.vec,
    aten.upsample_bicubic2d.default,
    aten._upsample_bilinear2d_aa.vec,
    aten._upsample_bilinear2d_aa.default,
    aten._upsample_bicubic2d_aa.vec,
    aten._upsample_bicubic2d_aa.default,
)
"""Interpolation: linear, the same for all channels, and separable."""

SPLITS = (aten.split.Tensor, aten.split_with_sizes.default, aten.chunk.default)

ALONG_ONE = (
    aten.softmax.int,
    aten._softmax.default,
    aten.log_softmax.int,
    aten._log_softmax.default,
    aten.cumsum.default,
    aten.glu.default,
    aten.index_select.default,
)
"""Operations along one axis; pointwise on the map if that axis is the channels."""

REDUCTIONS = (
    aten.mean.dim,
    aten.sum.dim_IntList,
    aten.amax.default,
    aten.amin.default,
    aten.max.dim,
    aten.min.dim,
    aten.argmax.default,
    aten.var.correction,
    aten.std.correction,
    aten.logsumexp.default,
    aten.linalg_vector_norm.default,
)
"""Reductions over one or more axes; pointwise on the map if only the channels are reduced."""

ALONG_SOME = (aten.flip.default, aten.roll.default)
"""Operations along one or more axes that keep the shape; pointwise on the map if they act only on
the channels."""


def axes_of(
    node: Node, inputs: tuple[Node, ...], local: set[Node], users: set[Node]
) -> tuple[Axes, ...] | None:
    """The axis maps of an operation, one pair per input; None if it is not proven to be local.

    Args:
        node: the operation.
        inputs: the nodes it reads that depend on the image.
        local: the nodes of the local operations before this one.
        users: the nodes that read this one.
    """
    if map_size(node) is None or any(map_size(n) is None for n in inputs):
        return None
    if isinstance(node.meta["val"], (tuple, list)) and not _uses_map_outputs_only(node, users):
        return None
    if node.target is operator.getitem:
        # One output of an operation with several, whose locality was decided there.
        return ((SAME, SAME),) if inputs[0] in local else None
    axes = _pointwise_axes(node, inputs)
    if axes is None and len(inputs) == 1 and is_floating(node) and is_floating(inputs[0]):
        own = _axes(node, inputs[0])
        axes = None if own is None else (own,)
    if axes is None and node.target is aten.cat.default:
        axes = _cat_axes(node, inputs)
    return axes


def _uses_map_outputs_only(node: Node, users: set[Node]) -> bool:
    """Whether, of an operation with several outputs, only those are read that are local maps: any
    output of a split, otherwise only the first.

    The second output of max-pooling, for example, holds indices into the whole map.
    """
    if node.target in SPLITS:
        return True
    return all(user.target is operator.getitem and user.args[1] == 0 for user in users)


def _axes(node: Node, source: Node) -> Axes | None:
    """The axis maps of an operation on one floating-point map; None if it is not proven to be
    local."""
    target, argument = node.target, arguments(node)
    if node.args[0] is not source:
        return None  # weights that depend on the image
    if any(other is source for other in (*node.args[1:], *node.kwargs.values())):
        return None  # the map is its own weights
    if target in CONVOLUTION or target in TRANSPOSED:
        if target in TRANSPOSED or argument.get("transposed", False):
            footprints = (_footprint(node, axis, argument) for axis in (0, 1))
            return tuple(Transposed(footprint) for footprint in footprints)
        return tuple(_footprint(node, axis, argument) for axis in (0, 1))
    if target in BATCH_NORM:
        fixed = not argument.get("training", False) and argument.get("running_var") is not None
        return (SAME, SAME) if fixed else None
    if target in MAX_POOL or target is aten.avg_pool2d.default:
        return _pooling_axes(node, argument)
    if target in PADDING:
        return _padding_axes(node, source, argument)
    if target in RESAMPLING:
        matrices = resampling_matrices(node)
        return matrices and _table_axes(matrices, source, node)
    if target is aten.slice.Tensor:
        return _slice_axes(source, argument)
    if target in PASSED_ON:
        return SAME, SAME
    if target in RESHAPING:
        return (SAME, SAME) if value_of(node).shape == value_of(source).shape else None
    return (SAME, SAME) if _along_channels(node, source, argument) else None


def _along_channels(node: Node, source: Node, argument: dict) -> bool:
    """Whether an operation treats each position by itself, along the channels."""
    target = node.target
    if map_size(node) != map_size(source):
        return False
    if target in ALONG_ONE or target in SPLITS:
        return _axis(argument.get("dim", 0 if target in SPLITS else -1)) == 1
    if target in REDUCTIONS:
        # Without `keepdim` the result is not a map, or its axes have other meanings.
        dims = argument.get("dim")
        dims = [dims] if isinstance(dims, int) else dims or []
        return [_axis(d) for d in dims] == [1] and argument.get("keepdim", False)
    if target in ALONG_SOME:
        return [_axis(d) for d in argument.get("dims", [])] == [1]
    if target is aten.index.Tensor:
        chosen = argument["indices"]
        return len(chosen) == 2 and chosen[0] is None and value_of(chosen[1]).ndim == 1
    return False


def _pointwise_axes(node: Node, inputs: tuple[Node, ...]) -> tuple[Axes, ...] | None:
    """The axis maps of a pointwise operation, whose inputs may be broadcast along rows or columns;
    None if it is not pointwise."""
    tags = getattr(node.target, "tags", ())
    spread = node.target is aten.expand.default
    if not spread and node.target not in POINTWISE and torch.Tag.pointwise not in tags:
        return None
    if node.target is aten.prelu.default and inputs != (node.args[0],):
        return None
    if any(value_of(n).is_complex() for n in (node, *inputs)):
        return None
    axes = []
    for source in inputs:
        pair = []
        for own, wanted in zip(map_size(source), map_size(node)):
            if own not in (1, wanted):
                return None
            pair.append(SAME if own == wanted else Broadcast(wanted))
        axes.append(tuple(pair))
    return tuple(axes)


def _cat_axes(node: Node, inputs: tuple[Node, ...]) -> tuple[Axes, ...] | None:
    """The axis maps of a concatenation; None if it is not proven to be local."""
    tensors, axis = node.args[0], _axis(arguments(node).get("dim", 0)) - 2
    if len(set(inputs) & set(tensors)) != len(inputs) or axis == -2:
        return None
    if any(map_size(n) is None or value_of(n).dtype != value_of(node).dtype for n in tensors):
        return None
    if axis == -1:
        return ((SAME, SAME),) * len(inputs)
    if len(set(tensors)) < len(tensors):
        return None  # one map in two places
    starts, start = {}, 0
    for tensor in tensors:
        starts[tensor], start = start, start + map_size(tensor)[axis]
    moved = [Footprint(padding=starts[source]) for source in inputs]
    return tuple((m, SAME) if axis == 0 else (SAME, m) for m in moved)


def _pooling_axes(node: Node, argument: dict) -> Axes | None:
    average = node.target is aten.avg_pool2d.default
    padding = _pair(argument.get("padding", 0))
    if average and (
        argument.get("ceil_mode")
        or argument.get("divisor_override")
        or (any(padding) and not argument.get("count_include_pad", True))
    ):
        return None  # the divisor differs from place to place
    kernel = _pair(argument["kernel_size"])
    stride, dilation = _pair(argument.get("stride") or kernel), _pair(argument.get("dilation", 1))
    return tuple(Footprint(*of_axis) for of_axis in zip(kernel, stride, padding, dilation))


def _footprint(node: Node, axis: int, argument: dict) -> Footprint:
    kernel = value_of(node.args[1]).shape[2 + axis]
    dilation = _pair(argument.get("dilation", 1))[axis]
    padding = argument.get("padding", 0)
    if padding == "same":
        padding = (kernel - 1) * dilation // 2
    elif padding == "valid":
        padding = 0
    else:
        padding = _pair(padding)[axis]
    return Footprint(kernel, _pair(argument.get("stride", 1))[axis], padding, dilation)


def _slice_axes(source: Node, argument: dict) -> Axes | None:
    axis = _axis(argument.get("dim", 0)) - 2
    if axis < 0:
        return SAME, SAME  # a slice of the channels, or of a batch of one image
    length, step = map_size(source)[axis], argument.get("step", 1)
    start = argument.get("start") or 0
    start = max(0, start + length) if start < 0 else start
    sliced = Footprint(1, step, -start)
    return (sliced, SAME) if axis == 0 else (SAME, sliced)


def _padding_axes(node: Node, source: Node, argument: dict) -> Axes | None:
    """The axis maps of padding with a constant or with values of the border; negative padding cuts
    off.

    A constant is the same in the clean and in the changed image, so its value does not matter.
    """
    left, _, top, *_ = (*argument["pad"], 0, 0, 0, 0)
    if argument.get("mode", "constant") == "constant":
        return Footprint(padding=top), Footprint(padding=left)
    matrices = padding_matrices(node)
    return matrices and _table_axes(matrices, source, node)


def _table_axes(matrices: tuple[Tensor, Tensor], source: Node, node: Node) -> Axes | None:
    """The axis maps of a separable linear operation, from its matrices (outputs, inputs)."""
    tables = []
    padded = node.target in PADDING
    for matrix, n_in, n_out in zip(matrices, map_size(source), map_size(node)):
        reads = matrix.numpy() != 0
        if not reads.any(1).all():
            return None
        first, last = reads.argmax(1), reads.shape[1] - 1 - reads[:, ::-1].argmax(1)
        try:
            tables.append(Table(first, last, Fraction(1) if padded else Fraction(n_in, n_out)))
        except ValueError:
            return None  # reflection: a later output reads an earlier input
    return tuple(tables)


def padding_matrices(node: Node) -> tuple[Tensor, Tensor] | None:
    """The matrices (outputs, inputs) of padding with values of the map, along rows and columns."""
    pad, (height, width) = arguments(node)["pad"], map_size(node.args[0])
    if len(pad) > 4:
        return None
    left, right, top, bottom = (*pad, 0, 0, 0, 0)[:4]
    mode = arguments(node)["mode"]
    down = F.pad(torch.eye(height)[None, :, :, None], (0, 0, top, bottom), mode)[0, :, :, 0]
    across = F.pad(torch.eye(width)[None, :, None, :], (left, right, 0, 0), mode)[0, :, 0, :]
    return _checked((down.T, across.T), node)


def resampling_matrices(node: Node) -> tuple[Tensor, Tensor] | None:
    """The matrices (outputs, inputs) of an interpolation along rows and columns; None if it is not
    the product of the two."""
    (height, width) = map_size(node.args[0])

    def along(axis: int) -> Tensor:
        # One unit vector per channel, spread evenly over the other axis: interpolation keeps it
        # even.
        responses = []
        for units in torch.eye((height, width)[axis]).split(16):
            across = units[:, :, None] if axis == 0 else units[:, None, :]
            maps = across.expand(len(units), height, width)
            out = node.target(maps[None], *node.args[1:], **node.kwargs)[0]
            responses.append(out[:, :, 0] if axis == 0 else out[:, 0, :])
        return torch.cat(responses).T

    return _checked((along(0), along(1)), node)


def _checked(matrices: tuple[Tensor, Tensor], node: Node) -> tuple[Tensor, Tensor] | None:
    """Return the matrices if they reproduce the operation on a random map, otherwise None."""
    image = torch.rand(map_size(node.args[0]), generator=torch.Generator().manual_seed(0))
    expected = matrices[0] @ image @ matrices[1].T
    computed = node.target(image[None, None], *node.args[1:], **node.kwargs)[0, 0]
    same = expected.shape == computed.shape and torch.allclose(expected, computed, atol=1e-4)
    return matrices if same else None


def _axis(dim: int) -> int:
    """Return a dimension of a map as a non-negative index."""
    return dim % 4


def _pair(value: int | Sequence[int]) -> tuple[int, int]:
    if isinstance(value, int):
        return value, value
    return (value[0], value[0]) if len(value) == 1 else tuple(value)
