"""A network as a graph of operations, each with the geometry of its two axes.

The operations of the network are recorded once, for one image size: in one pass
(`gcnlab.receptive.capture`), or, if that is not enough to be sure, by `torch.export`. Both give a
`torch.fx` graph of ATen operations. For every operation that depends on the image, the graph holds
which rows and columns of its inputs the rows and columns of its output read. If that is not proven
(`gcnlab.receptive.locality`), every output may read every input, and `Operation.local` is False.
"""

import warnings
from dataclasses import dataclass

import torch
from torch import nn
from torch.fx import Node

from gcnlab.annotations import Tensor
from gcnlab.arguments import first_line
from gcnlab.models.logits import device_of, dtype_of, extract_logits
from gcnlab.models.modes import evaluation_mode, restored_attributes
from gcnlab.receptive.capture import Capture, capture
from gcnlab.receptive.export import export
from gcnlab.receptive.locality import Axes, axes_of
from gcnlab.receptive.nodes import (
    SHAPED,
    draws_random_numbers,
    evaluate,
    map_size,
    name,
    shaped_constant,
    why_unusable,
)


@dataclass(frozen=True)
class Operation:
    """One operation of the network.

    Attributes:
        node: its node in the graph.
        inputs: the nodes it reads that depend on the image.
        size: rows and columns of its output; None if that is not a map.
        axes: for each input, the axis maps of rows and columns; None if not `local`.
    """

    node: Node
    inputs: tuple[Node, ...]
    size: tuple[int, int] | None
    axes: tuple[Axes, ...] | None

    @property
    def local(self) -> bool:
        """Whether the geometry is known; if not, every output may read every input."""
        return self.axes is not None

    @property
    def name(self) -> str:
        """Path of its module in the network, and its kind: "layer4.0.conv1 (conv2d)"."""
        return name(self.node)


class NotTraceable(RuntimeError):
    """The network cannot be recorded as a graph, or its logits are random."""


class Graph:
    """The part of a network's graph that leads from the image to its score map.

    Attributes:
        image: the node of the image.
        output: the node of the score map.
        operations: those that depend on the image and on which the score map depends, in order of
            execution.
        constants: the values of the nodes that do not depend on the image (weights).
        checked: whether a field from kept activations has been compared with the plain method.
        unusable: the reason why activations cannot be reused; empty if none is known.
    """

    def __init__(self, model: nn.Module, image: Tensor):
        """Record `model`, in evaluation mode, for images of the size of `image`, (1, C, H, W).

        Raises:
            NotTraceable: the network can neither be recorded in one pass nor exported, or it draws
                random numbers.
        """
        self.checked, self.unusable = False, ""
        image = image.to(device_of(model), dtype_of(model) or image.dtype)
        captured = _captured(model, image) or _exported(model, image)
        self.image, self.output = captured.image, captured.output
        self.constants = captured.constants
        with torch.no_grad():
            self.operations = self._operations(captured.graph)

    def _operations(self, graph: torch.fx.Graph) -> list[Operation]:
        wanted = {self.output}
        for node in reversed(graph.nodes):
            if node in wanted:
                wanted.update(node.all_input_nodes)
        operations, dependent, local = [], {self.image}, {self.image}
        for node in graph.nodes:
            if node not in wanted or node.op == "placeholder":
                continue
            if node.op != "call_function":
                raise NotTraceable(f"part of the network is a separate graph ({node.name})")
            if draws_random_numbers(node):
                raise NotTraceable(f"{name(node)} draws random numbers")
            inputs = tuple(n for n in node.all_input_nodes if n in dependent)
            if node.target in SHAPED:
                self.constants[node] = shaped_constant(node)
                continue
            if not inputs:
                self.constants[node] = evaluate(node, self.constants)
                continue
            dependent.add(node)
            self.unusable = self.unusable or why_unusable(node)
            axes = _proven_axes(node, inputs, local, set(node.users) & wanted)
            if axes is not None:
                local.add(node)
            operations.append(Operation(node, inputs, map_size(node), axes))
        return operations


def _proven_axes(
    node: Node, inputs: tuple[Node, ...], local: set[Node], users: set[Node]
) -> tuple[Axes, ...] | None:
    """Call `axes_of`; unexpected arguments, which raise an exception there, prove nothing."""
    try:
        return axes_of(node, inputs, local, users)
    except Exception:
        return None


def _captured(model: nn.Module, image: Tensor) -> Capture | None:
    """The operations from one pass; None if that is not enough."""
    try:
        with warnings.catch_warnings(), evaluation_mode(model), restored_attributes(model):
            warnings.simplefilter("ignore")
            return capture(_Scores(model), image)
    except (MemoryError, torch.OutOfMemoryError):
        raise
    except Exception:  # any that the network raises
        return None


def _exported(model: nn.Module, image: Tensor) -> Capture:
    """The operations from an export.

    Raises:
        NotTraceable: the network cannot be exported.
    """
    try:
        with (
            warnings.catch_warnings(),
            evaluation_mode(model),
            restored_attributes(model),
            torch.no_grad(),
        ):
            warnings.simplefilter("ignore")
            exported = export(_Scores(model), image)
    except Exception as error:  # PyTorch raises many types here
        raise NotTraceable(
            f"{type(model).__name__} cannot be exported: {first_line(error)}"
        ) from error
    if any(module._forward_hooks for module in model.modules()):
        with evaluation_mode(model), torch.no_grad():
            model(image.clone())  # replaces traced tensors that hooks have recorded
    return exported


class _Scores(nn.Module):
    def __init__(self, model: nn.Module):
        super().__init__()
        self.model = model

    def forward(self, images: Tensor) -> Tensor:
        # A network may modify its input in place.
        return extract_logits(self.model, self.model(images.clone()), len(images))
