"""Read the nodes of a recorded graph (`torch.fx`): the operation, its arguments and its value.

A *map* is a tensor (1, channels, rows, columns): the graph is recorded for one image. A tensor of
another shape, or with parts of the image in the batch dimension, is not a map, and nothing is known
about its rows and columns.
"""

import operator

import torch
from torch.fx import Node
from torch.fx.node import map_arg

from gcnlab.annotations import Tensor

aten = torch.ops.aten


def value_of(node: Node) -> object:
    """A tensor with the shape and type of the node's value, or of the first of several values."""
    value = node.meta.get("val")
    return value[0] if isinstance(value, (tuple, list)) and value else value


def map_size(node: Node) -> tuple[int, int] | None:
    """Rows and columns of a node's map (of the first, if there are several); None if its value is
    not a map."""
    value = value_of(node)
    if not isinstance(value, Tensor) or value.ndim != 4 or len(value) != 1:
        return None
    return tuple(value.shape[-2:])


def channels(node: Node) -> int:
    """Number of channels of a node's map."""
    return value_of(node).shape[1]


def is_floating(node: Node) -> bool:
    """Whether a node's value is a real floating-point tensor: not a mask, integer or complex."""
    value = value_of(node)
    return isinstance(value, Tensor) and value.is_floating_point()


def arguments(node: Node) -> dict[str, object]:
    """The arguments of an operation by name, without those that have their default values."""
    if not isinstance(node.target, torch._ops.OpOverload):
        return {}
    return named(node.target, node.args, node.kwargs)


def named(operation: torch._ops.OpOverload, args: tuple, kwargs: dict) -> dict[str, object]:
    """The given arguments of an operation by name."""
    return dict(zip((a.name for a in operation._schema.arguments), args)) | kwargs


def evaluate(node: Node, values: dict[Node, object]) -> object:
    """Run one operation on the values of the nodes it reads."""
    args, kwargs = map_arg((node.args, node.kwargs), values.__getitem__)
    return node.target(*args, **kwargs)


def kind(node: Node) -> str:
    """The name of an operation, such as "conv2d"."""
    return getattr(node.target, "__name__", str(node.target)).split(".")[0]


def module_path(node: Node) -> str:
    """Path of the module that an operation belongs to, as in `model.get_submodule`."""
    stack = node.meta.get("nn_module_stack") or {}
    path = list(stack.values())[-1][0] if stack else ""
    return path.removeprefix("model").removeprefix(".")


def name(node: Node) -> str:
    """Module and kind of an operation, for messages: "layer4.0.conv1 (conv2d)"."""
    if (
        node.target is operator.getitem
    ):  # one output of an operation with several; name the operation
        node = node.args[0]
    path = module_path(node)
    return f"{path} ({kind(node)})" if path else kind(node)


def draws_random_numbers(node: Node) -> bool:
    """Whether an operation's result is random. Dropout in evaluation mode is not."""
    if torch.Tag.nondeterministic_seeded not in getattr(node.target, "tags", ()):
        return False
    given, names = arguments(node), {a.name for a in node.target._schema.arguments}
    if "dropout_p" in names:  # attention
        return given.get("dropout_p", 0.0) != 0
    return given.get("train", given.get("training", True)) is not False


JUMPING = (
    aten.round.default,
    aten.round.decimals,
    aten.floor.default,
    aten.ceil.default,
    aten.trunc.default,
    aten.frac.default,
    aten.sign.default,
    aten.sgn.default,
    aten.heaviside.default,
    aten.floor_divide.default,
    aten.div.Tensor_mode,
    aten.div.Scalar_mode,
    aten.fmod.Tensor,
    aten.fmod.Scalar,
    aten.remainder.Tensor,
    aten.remainder.Scalar,
    aten.threshold.default,
    aten.remainder.Scalar_Tensor,
    aten.hardshrink.default,
    aten.copysign.Tensor,
    aten.copysign.Scalar,
    aten.atan2.default,
    aten.angle.default,
    aten.frexp.Tensor,
    aten.nextafter.default,
    # These hide NaN, which marks an unknown difference.
    aten.nan_to_num.default,
    aten.fmax.default,
    aten.fmin.default,
)
"""Operations whose floating-point result is discontinuous."""


def why_unusable(node: Node) -> str:
    """Why differences cannot be passed through an operation accurately enough; empty if they can.

    The result may be discontinuous (a mask, an integer, a step function), or in half precision.
    """
    value = node.meta.get("val")
    if isinstance(value, Tensor) and value.dtype in (torch.float16, torch.bfloat16):
        return f"{name(node)} computes in {str(value.dtype).removeprefix('torch.')}, whose rounding shows"
    counts = isinstance(value, Tensor) and not (value.is_floating_point() or value.is_complex())
    if counts or node.target in JUMPING:
        return f"{name(node)} jumps: a rounding error could change its discontinuous result"
    return ""


SHAPED = (
    aten.zeros_like.default,
    aten.ones_like.default,
    aten.full_like.default,
    aten.new_zeros.default,
    aten.new_ones.default,
    aten.new_full.default,
)
"""Operations that use only the shape and the type of their input."""


def shaped_constant(node: Node) -> Tensor:
    """The value of an operation in `SHAPED`."""

    def stand_in(source: Node) -> Tensor:
        value = value_of(source)
        return torch.empty(value.shape, dtype=value.dtype, device=value.device)

    args, kwargs = map_arg((node.args, node.kwargs), stand_in)
    return node.target(*args, **kwargs)
