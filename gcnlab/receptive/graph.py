"""A network as a graph of operations, each with the geometry of its two axes.

The network is exported once, for one image size (`torch.export`, which gives a `torch.fx` graph of ATen
operations). For every operation that depends on the image the graph knows how its output's rows and
columns read its inputs' rows and columns (`gcnlab.geometry`), or, where that is not understood or
where the operation is global, that every output may read everything: then `Operation.local` is False.
"""

import operator
import warnings
from dataclasses import dataclass
from fractions import Fraction

import torch
from torch import nn
from torch.fx import Node

from gcnlab.annotations import Tensor
from gcnlab.geometry import SAME, AxisMap, Table, Transposed, Window
from gcnlab.models.modes import evaluation_mode
from gcnlab.models.scoring import device_of, score_maps

aten = torch.ops.aten

PASSED_ON = (
    aten.clone.default,
    aten.alias.default,
    aten.detach.default,
    aten.contiguous.default,
    aten.dropout.default,
    aten.feature_dropout.default,
)
"""Operations that hand their input on as it is (in evaluation mode)."""

POINTWISE = (
    aten.hardswish.default,
    aten.log_sigmoid.default,
    aten.prelu.default,
    aten._prelu_kernel.default,
)
"""Operations position by position that PyTorch does not tag as such."""

BATCH_NORM = (aten._native_batch_norm_legit_no_training.default, aten.batch_norm.default)
CONVOLUTION = (aten.conv2d.default, aten.convolution.default, aten.conv2d.padding)
TRANSPOSED = (aten.conv_transpose2d.input,)
MAX_POOL = (aten.max_pool2d.default, aten.max_pool2d_with_indices.default)
RESAMPLING = (
    aten.upsample_bilinear2d.vec,
    aten.upsample_bilinear2d.default,
    aten.upsample_nearest2d.vec,
    aten.upsample_nearest2d.default,
    aten.upsample_bicubic2d.vec,
    aten.upsample_bicubic2d.default,
    aten.pad.default,
    aten.constant_pad_nd.default,
)
"""Operations on rows and columns that are linear, the same for all channels, and separable."""


@dataclass(frozen=True)
class Operation:
    """One operation of the network.

    Attributes:
        node: its node in the exported graph.
        inputs: the nodes it reads that depend on the image.
        size: rows and columns of its output; None if that is not a map.
        axes: how its rows and its columns read those of its inputs; None if not `local`.
    """

    node: Node
    inputs: tuple[Node, ...]
    size: tuple[int, int] | None
    axes: tuple[AxisMap, AxisMap] | None

    @property
    def local(self) -> bool:
        """Whether the geometry is known; if not, every output may read every input."""
        return self.axes is not None

    @property
    def name(self) -> str:
        """Its module's path in the network and what it does: "layer4.0.conv1 (conv2d)"."""
        path = module_path(self.node)
        return f"{path} ({kind(self.node)})" if path else kind(self.node)


class NotTraceable(RuntimeError):
    """The network cannot be exported as a graph."""


class Graph:
    """The part of a network's graph that leads from the image to its score map.

    Attributes:
        image: the node of the image.
        operations: in order of execution; the last one gives the scores.
        constants: the values of the nodes that do not depend on the image (weights).
    """

    def __init__(self, model: nn.Module, image: Tensor):
        """Export `model`, as it is in evaluation mode, for images like `image`, (1, C, H, W).

        Raises:
            NotTraceable: the network cannot be exported.
        """
        image = image.to(device_of(model))
        try:
            with warnings.catch_warnings(), evaluation_mode(model), torch.no_grad():
                warnings.simplefilter("ignore")
                program = torch.export.export(_Scores(model), (image,), strict=False)
                program = program.run_decompositions({})
        except Exception as error:  # whatever keeps PyTorch from exporting
            raise NotTraceable(f"{type(model).__name__} cannot be exported: {error}") from error
        signature = program.graph_signature
        values = {**program.state_dict, **program.constants}
        names = {
            **signature.inputs_to_parameters,
            **signature.inputs_to_buffers,
            **signature.inputs_to_lifted_tensor_constants,
        }
        placeholders = [node for node in program.graph.nodes if node.op == "placeholder"]
        (self.image,) = (node for node in placeholders if node.name in signature.user_inputs)
        self.constants = {n: values[names[n.name]] for n in placeholders if n.name in names}
        (output,) = (node for node in program.graph.nodes if node.op == "output")
        self.output = output.args[0][-1]
        self.operations = self._operations(program.graph)

    def _operations(self, graph: torch.fx.Graph) -> list[Operation]:
        wanted = {self.output}
        for node in reversed(graph.nodes):
            if node in wanted:
                wanted.update(node.all_input_nodes)
        operations, dependent = [], {self.image}
        for node in graph.nodes:
            if node not in wanted or node.op == "placeholder":
                continue
            inputs = tuple(n for n in node.all_input_nodes if n in dependent)
            if inputs:
                dependent.add(node)
                operations.append(Operation(node, inputs, map_size(node), self._axes(node, inputs)))
            else:
                self.constants[node] = evaluate(node, self.constants)
        return operations

    def _axes(self, node: Node, inputs: tuple[Node, ...]) -> tuple[AxisMap, AxisMap] | None:
        if map_size(node) is None or any(map_size(n) is None for n in inputs):
            return None
        return axes_of(node, inputs)


class _Scores(nn.Module):
    def __init__(self, model: nn.Module):
        super().__init__()
        self.model = model

    def forward(self, images: Tensor) -> Tensor:
        return score_maps(self.model, self.model(images.clone()), 1)


def axes_of(node: Node, inputs: tuple[Node, ...]) -> tuple[AxisMap, AxisMap] | None:
    """How rows and columns of an operation read those of its inputs; None where that is not known."""
    target, argument = node.target, arguments(node)
    source = inputs[0]
    if target in CONVOLUTION or target in TRANSPOSED:
        if inputs != (node.args[0],):
            return None  # weights that depend on the image
        if target in TRANSPOSED or argument.get("transposed", False):
            windows = (_window(node, axis, argument) for axis in (0, 1))
            return tuple(Transposed(window) for window in windows)
        return tuple(_window(node, axis, argument) for axis in (0, 1))
    if target is aten.avg_pool2d.default and (
        argument.get("ceil_mode")
        or argument.get("divisor_override")
        or (any(_pair(argument.get("padding", 0))) and not argument.get("count_include_pad", True))
    ):
        return None  # the divisor differs from place to place
    if target in MAX_POOL or target is aten.avg_pool2d.default:
        return tuple(
            Window(
                _pair(argument["kernel_size"])[axis],
                _pair(argument.get("stride") or argument["kernel_size"])[axis],
                _pair(argument.get("padding", 0))[axis],
                _pair(argument.get("dilation", 1))[axis],
            )
            for axis in (0, 1)
        )
    if target in RESAMPLING:
        return _resampling_axes(node, source)
    if target is aten.slice.Tensor:
        axis = argument["dim"] % 4 - 2
        if axis < 0:
            return SAME, SAME
        length = map_size(source)[axis]
        start = argument.get("start") or 0
        start = max(0, start + length) if start < 0 else start
        sliced = Window(1, argument.get("step", 1), -start)
        return (sliced, SAME) if axis == 0 else (SAME, sliced)
    same_size = all(map_size(n) == map_size(node) for n in inputs)
    if not same_size:
        return None
    if target is operator.getitem:  # batch norm and max-pooling answer with the map and more
        first = node.args[1] == 0 and source.target in BATCH_NORM + MAX_POOL
        return (SAME, SAME) if first else None
    if target in PASSED_ON or target in BATCH_NORM:
        return SAME, SAME
    if target is aten.cat.default:
        return (SAME, SAME) if argument.get("dim", 0) % 4 == 1 else None
    if target in (aten.softmax.int, aten._softmax.default, aten._log_softmax.default):
        return (SAME, SAME) if argument["dim"] % 4 == 1 else None
    if target in POINTWISE or torch.Tag.pointwise in getattr(target, "tags", ()):
        constants = [n.meta["val"] for n in node.all_input_nodes if n not in inputs]
        return None if any(_varies(value, target) for value in constants) else (SAME, SAME)
    return None


def _varies(constant: Tensor, target: object) -> bool:
    """Whether a constant differs from place to place, and would have to be cut as its map is."""
    if target is aten.prelu.default:
        return False  # one weight per channel
    return any(n != 1 for n in constant.shape[-2:])


def _window(node: Node, axis: int, argument: dict) -> Window:
    kernel = node.args[1].meta["val"].shape[2 + axis]
    dilation = _pair(argument.get("dilation", 1))[axis]
    padding = argument.get("padding", 0)
    if padding == "same":
        padding = (kernel - 1) * dilation // 2
    elif padding == "valid":
        padding = 0
    else:
        padding = _pair(padding)[axis]
    return Window(kernel, _pair(argument.get("stride", 1))[axis], padding, dilation)


def _resampling_axes(node: Node, source: Node) -> tuple[AxisMap, AxisMap] | None:
    matrices = resampling_matrices(node)
    if matrices is None:
        return None
    tables = []
    for matrix, n_in, n_out in zip(matrices, map_size(source), map_size(node)):
        reads = matrix.numpy() != 0
        if not reads.any(1).all():  # outputs that read nothing: zero padding, a shift
            before = int(reads.any(1).argmax())
            tables.append(Window(1, 1, before))
            continue
        first, last = reads.argmax(1), reads.shape[1] - 1 - reads[:, ::-1].argmax(1)
        padded = node.target in (aten.pad.default, aten.constant_pad_nd.default)
        try:
            tables.append(Table(first, last, Fraction(1) if padded else Fraction(n_in, n_out)))
        except ValueError:
            return None  # reflection
    return tuple(tables)


def resampling_matrices(node: Node) -> tuple[Tensor, Tensor] | None:
    """The matrices (outputs, inputs) of a resampling along rows and columns, from what it does to unit
    vectors; None if it is not linear (padding with a value other than zero) or wraps more than the map.
    """
    (height, width) = map_size(node.args[0])
    argument = arguments(node)
    padding = node.target in (aten.pad.default, aten.constant_pad_nd.default)
    if padding and (
        len(argument["pad"]) > 4 or argument.get("value") or argument.get("mode") == "circular"
    ):
        return None

    def along(axis: int) -> Tensor:
        # One unit vector per channel, spread evenly over the other axis: a separable map keeps it even.
        responses = []
        for units in torch.eye((height, width)[axis]).split(16):
            across = units[:, :, None] if axis == 0 else units[:, None, :]
            maps = across.expand(len(units), height, width)
            out = node.target(maps[None], *node.args[1:], **node.kwargs)[0]
            middle = out.shape[2 - axis] // 2
            responses.append(out[:, :, middle] if axis == 0 else out[:, middle, :])
        return torch.cat(responses).T

    return along(0), along(1)


def evaluate(node: Node, values: dict[Node, object]) -> object:
    """Run one operation on the values of the nodes it reads."""
    args, kwargs = torch.fx.node.map_arg((node.args, node.kwargs), values.__getitem__)
    return node.target(*args, **kwargs)


def arguments(node: Node) -> dict[str, object]:
    """An operation's arguments by name."""
    if not isinstance(node.target, torch._ops.OpOverload):
        return {}
    names = [argument.name for argument in node.target._schema.arguments]
    return dict(zip(names, node.args)) | node.kwargs


def map_size(node: Node) -> tuple[int, int] | None:
    """Rows and columns of a node's value (of the first, if there are several); None if it is no map."""
    value = node.meta.get("val")
    if isinstance(value, (tuple, list)):
        value = value[0]
    if not isinstance(value, Tensor) or value.ndim != 4:
        return None
    return tuple(value.shape[-2:])


def module_path(node: Node) -> str:
    """Path of the module that an operation belongs to, as in `model.get_submodule`."""
    stack = node.meta.get("nn_module_stack") or {}
    path = list(stack.values())[-1][0] if stack else ""
    return path.removeprefix("model").removeprefix(".")


def kind(node: Node) -> str:
    """What an operation does: "conv2d"."""
    return getattr(node.target, "__name__", str(node.target)).split(".")[0]


def _pair(value) -> tuple[int, int]:
    if isinstance(value, int):
        return value, value
    return (value[0], value[0]) if len(value) == 1 else tuple(value)
