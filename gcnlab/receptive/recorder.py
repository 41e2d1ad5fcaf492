"""Tensors that depend on the image, and a recorder of the operations on them.

A recorded tensor has a shape, a type and a device, like any other, but no values that code can
read. `Recorder` sees every operation of a pass. If the operation reads a recorded tensor, the
recorder writes its node and returns another recorded tensor; if not, it runs it as usual. The shape
of a result is found by running the operation on zeros, and a convolution on one channel.
"""

import operator
import weakref
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch import nn
from torch.fx import Node
from torch.fx.node import map_aggregate

from gcnlab.annotations import Tensor
from gcnlab.models.modes import DispatchMode
from gcnlab.receptive.nodes import SHAPED, evaluate, named

aten = torch.ops.aten

KEPT = (
    aten.conv1d.default,
    aten.conv2d.default,
    aten.conv2d.padding,
    aten.conv_transpose2d.input,
    aten.batch_norm.default,
    aten.instance_norm.default,
    aten.group_norm.default,
    aten.layer_norm.default,
    aten.rms_norm.default,
    aten.linear.default,
    aten.matmul.default,
    aten.einsum.default,
    aten.scaled_dot_product_attention.default,
    aten.max_pool2d.default,
    aten.adaptive_avg_pool2d.default,
    aten.pad.default,
    aten.upsample_nearest2d.vec,
    aten._upsample_nearest_exact2d.vec,
    aten.upsample_bilinear2d.vec,
    aten.upsample_bicubic2d.vec,
    aten._upsample_bilinear2d_aa.vec,
    aten._upsample_bicubic2d_aa.vec,
    aten.softmax.int,
    aten.log_softmax.int,
    aten.log_sigmoid.default,
    aten.prelu.default,
    aten.grid_sampler.default,
    aten.pixel_shuffle.default,
)
"""Operations that PyTorch composes of others, but that are recorded as one, as an export does. The
others are recorded as their parts."""

EMPTY = (
    aten.empty_like.default,
    aten.new_empty.default,
    aten.new_empty_strided.default,
)
"""Operations that use only the shape and the type of their input, and whose values are not set."""


class Unclear(RuntimeError):
    """One pass is not enough to be sure of the graph; the message says why."""


class Recorded(torch.Tensor):
    """A tensor of the pass that depends on the image.

    Attributes:
        value: a tensor of the same shape, type, strides and device; its values are of no meaning.
        node: the operation that computes it. An operation in place replaces both.
        aliases: one item for each tensor that shares its memory, itself included.
    """

    __torch_function__ = torch._C._disabled_torch_function_impl

    @staticmethod
    def __new__(cls, value: Tensor, node: Node, aliases: list):
        made = torch.Tensor._make_wrapper_subclass(
            cls,
            value.shape,
            strides=value.stride(),
            storage_offset=value.storage_offset(),
            dtype=value.dtype,
            device=value.device,
        )
        made.value, made.node, made.aliases = value, node, aliases
        return made

    @property
    def data(self) -> Tensor:
        return self.detach()

    @data.setter
    def data(self, value: Tensor) -> None:
        raise Unclear("the network replaces the memory of a tensor")

    def __repr__(self) -> str:
        raise Unclear("the network prints a tensor that depends on the image")

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        raise Unclear("a tensor of another pass is used")


class Recorder(DispatchMode):
    """Sees every operation of the pass, below autograd, and writes the graph.

    Attributes:
        graph, constants: see `gcnlab.receptive.capture.Capture`.
        input: the node of the image.
        image: the input of the network.
        modules: the modules around the current operation: path → (path, type).
        failure: the first error of an operation.
    """

    def __init__(self, image: Tensor):
        super().__init__()
        self.graph, self.constants = torch.fx.Graph(), {}
        self.modules: dict[str, tuple[str, type]] = {}
        self.failure: Exception | None = None
        self._made: list[weakref.ref] = []
        self._nodes: dict[int, tuple[Tensor, Node]] = {}  # by id of the constant
        self._read: set[int] = set()  # memory of the constants
        self._changed: set[int] = set()  # memory that the pass has changed
        self.input = self.graph.placeholder("image")
        self.image = self._recorded(torch.zeros_like(image), self.input, ())

    def check_nothing_kept(self) -> None:
        """Raise `Unclear` if a tensor of the pass still exists."""
        del self.image
        if any(made() is not None for made in self._made):
            raise Unclear("the network keeps a tensor of a pass, which its next pass may read")

    def fill(self, image: Tensor) -> None:
        """Make usual tensors of those that still exist, with the values of a pass of `image`.

        The network may keep them in places that nobody can restore, such as a cache of a function.
        """
        kept = [tensor for made in self._made if (tensor := made()) is not None]
        self._made.clear()  # PyTorch refuses to swap tensors with weak references
        if not kept:
            return
        values = {**self.constants, self.input: image.clone()}
        with torch.no_grad():
            for node in self.graph.nodes:
                if node.op == "call_function":
                    values[node] = evaluate(node, values)
        for tensor in kept:
            torch.utils.swap_tensors(tensor, values[tensor.node].clone())

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        try:
            return self._run(func, args, kwargs or {})
        except Exception as error:
            self.failure = self.failure or error
            raise

    def _run(self, func: Any, args: tuple, kwargs: dict) -> Any:
        tensors = list(_tensors((args, kwargs)))
        depends = any(isinstance(t, Recorded) for t in tensors)
        if not (depends and func in KEPT):
            with self:
                result = func.decompose(*args, **kwargs)
            if result is not NotImplemented:
                return result
        if not depends or func in SHAPED or func in EMPTY:
            return self._constant(func, args, kwargs)
        _check_clear(func, args, kwargs)
        if func._schema.is_mutable:
            return self._in_place(func, args, kwargs)
        value, node = self._record(func, args, kwargs)
        if isinstance(value, (tuple, list)):
            return type(value)(self._part(one, i, node, tensors) for i, one in enumerate(value))
        return self._recorded(value, node, tensors)

    def _constant(self, func: Any, args: tuple, kwargs: dict) -> Any:
        """Run an operation that does not depend on the values of the image."""
        if torch.Tag.nondeterministic_seeded in func.tags:
            raise Unclear(f"{func} draws random numbers")
        given = named(func, args, kwargs)
        for name in _written(func):
            for tensor in _tensors(given.get(name)):
                if _memory(tensor) in self._read:
                    raise Unclear(f"{func} changes a tensor that the graph has read")
                self._changed.add(_memory(tensor))
        return func(*_map(args, _value), **_map(kwargs, _value))

    def _record(self, func: Any, args: tuple, kwargs: dict) -> tuple[Any, Node]:
        """Write the node of an operation, and compute a tensor of the shape of its result."""
        values = _map(args, _value), _map(kwargs, _value)
        value = _convolved(*values[0], **values[1]) if func is aten.conv2d.default else None
        value = func(*values[0], **values[1]) if value is None else value
        node = self.graph.call_function(func, _map(args, self._node), _map(kwargs, self._node))
        node.meta["val"] = _map(value, _shape_of)
        node.meta["nn_module_stack"] = self.modules
        return value, node

    def _part(self, value: object, index: int, node: Node, tensors: Sequence[Tensor]) -> object:
        """One of several results of an operation."""
        if value is None:
            return None
        part = self.graph.call_function(operator.getitem, (node, index))
        part.meta["nn_module_stack"] = self.modules
        return self._recorded(value, part, tensors)

    def _in_place(self, func: Any, args: tuple, kwargs: dict) -> Tensor:
        """Record an operation in place as the one that returns its result; the tensor then stands
        for this result."""
        changed, functional = args[0], _not_in_place(func)
        if functional is None or not isinstance(changed, Recorded):
            raise Unclear(f"{func} changes a tensor in place")
        if len(changed.aliases) > 1:
            raise Unclear(f"{func} changes a part of a tensor, or a tensor with views")
        value, node = self._record(functional, args, kwargs)
        if _layout(value) != _layout(changed.value):
            raise Unclear(f"{functional} returns another shape or type than {func}")
        changed.value, changed.node = value, node
        return changed

    def _recorded(self, value: object, node: Node, tensors: Sequence[Tensor]) -> Tensor:
        """The result of an operation that has read `tensors`, which it may share memory with."""
        if not isinstance(value, torch.Tensor):
            raise Unclear(f"{node.target} returns a {type(value).__name__}")
        aliases: list[None] = []
        for tensor in tensors:
            if _memory(_value(tensor)) == _memory(value):
                if not isinstance(tensor, Recorded):
                    raise Unclear(f"{node.target} returns a view of a constant")
                aliases = tensor.aliases
        aliases.append(None)
        made = Recorded(value, node, aliases)
        node.meta["val"] = _shape_of(value)
        self._made.append(weakref.ref(made))
        return made

    def _node(self, tensor: Tensor) -> Node:
        if isinstance(tensor, Recorded):
            return tensor.node
        if id(tensor) not in self._nodes:
            if type(tensor) not in (torch.Tensor, nn.Parameter, nn.Buffer):
                raise Unclear(f"a constant is a {type(tensor).__name__}")
            node = self.graph.placeholder("constant")
            own = tensor.detach()
            if _memory(tensor) in self._changed:  # a buffer gets its old value back
                own = own.clone()
            node.meta["val"] = self.constants[node] = own
            self._nodes[id(tensor)] = tensor, node
            self._read.add(_memory(tensor))
        return self._nodes[id(tensor)][1]


def _check_clear(func: Any, args: tuple, kwargs: dict) -> None:
    """Raise `Unclear` if the operation needs the values of the image, or changes the network."""
    given = named(func, args, kwargs)
    indexed = func is aten.index.Tensor and not any(
        tensor.dtype in (torch.bool, torch.uint8) for tensor in _tensors(given["indices"])
    )
    if torch.Tag.dynamic_output_shape in func.tags and not indexed:
        raise Unclear(f"the shape of the result of {func} depends on values")
    if given.get("running_mean") is not None and any(
        given.get(name) for name in ("training", "train", "use_input_stats")
    ):
        raise Unclear(f"{func} updates statistics")


def _convolved(
    image: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
) -> Tensor | None:
    """Zeros of the shape of a convolution, which is that of one channel; None if this is not
    certain."""
    usual = image.is_contiguous() and weight.is_contiguous() and image.dtype == weight.dtype
    if not usual or image.ndim != 4 or weight.shape[1] * groups != image.shape[1]:
        return None
    if bias is not None and bias.shape != weight.shape[:1]:
        return None
    one = torch.conv2d(image[:, :1], weight[:1, :1], None, stride, padding, dilation)
    return image.new_zeros(len(image), len(weight), *one.shape[2:])


def _not_in_place(func: Any) -> Any:
    """The operation that returns the result of an operation in place; None if there is none with
    the same arguments."""
    schema = func._schema
    name = schema.name.removeprefix("aten::")
    if not name.endswith("_") or _written(func) != [schema.arguments[0].name]:
        return None
    found = getattr(getattr(aten, name[:-1], None), func._overloadname, None)
    if found is None or found._schema.is_mutable:
        return None
    own, other = (
        [(a.name, str(a.real_type)) for a in s.arguments] for s in (schema, found._schema)
    )
    return found if own == other else None


def _written(func: Any) -> list[str]:
    """Names of the arguments that an operation changes."""
    return [a.name for a in func._schema.arguments if a.alias_info and a.alias_info.is_write]


def _value(tensor: Tensor) -> Tensor:
    return tensor.value if isinstance(tensor, Recorded) else tensor


def _layout(tensor: Tensor) -> tuple:
    return tensor.shape, tensor.stride(), tensor.dtype, tensor.device


def _memory(tensor: Tensor) -> int:
    return tensor.untyped_storage().data_ptr()


def _shape_of(tensor: Tensor) -> Tensor:
    """A tensor with the shape, type and device of another, of one element in memory."""
    return torch.empty((), dtype=tensor.dtype, device=tensor.device).expand(tensor.shape)


def _tensors(value: object) -> Iterator[Tensor]:
    if isinstance(value, torch.Tensor):
        yield value
    elif isinstance(value, (tuple, list)):
        for item in value:
            yield from _tensors(item)
    elif isinstance(value, dict):
        yield from _tensors(list(value.values()))


def _map(value: Any, change: Callable[[Tensor], Any]) -> Any:
    """Replace the tensors in the arguments of an operation."""
    return map_aggregate(value, lambda a: change(a) if isinstance(a, torch.Tensor) else a)
