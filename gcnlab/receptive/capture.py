"""Record the operations of a network in one pass: seconds sooner than an export.

The image is replaced by a tensor whose values nobody may read (`gcnlab.receptive.recorder`). Each
operation that reads it becomes a node of a `torch.fx` graph. Everything that does not depend on the
image is computed as usual, so it is a constant of the graph.

A network that needs a value of such a tensor (control flow that depends on the data) fails here.
The recorder also gives up where one pass is not enough to be sure: changes of part of a tensor in
place, statistics that a pass updates, random numbers, tensors that the network keeps for its next
pass. Such a network is exported (`gcnlab.receptive.export`), which treats these cases in general.
"""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.fx import Node

from gcnlab.annotations import Tensor
from gcnlab.receptive.recorder import Recorded, Recorder, Unclear


@dataclass(frozen=True)
class Capture:
    """The operations of a network.

    Attributes:
        graph: a node for each operation, in order of execution; `node.meta["val"]` has the shape
            and the type of its value, and `node.meta["nn_module_stack"]` its modules.
        image: the node of the image.
        output: the node of the score map.
        constants: the tensors that do not depend on the image (weights), by node.
    """

    graph: torch.fx.Graph
    image: Node
    output: Node
    constants: dict[Node, Tensor]


def capture(model: nn.Module, image: Tensor) -> Capture:
    """Record what `model` computes for images of the size of `image`.

    The caller puts the network into evaluation mode and restores it afterwards, also its
    attributes.

    Raises:
        Unclear: the graph might be wrong.
        Exception: whatever the network raises, also because it needs a value.
    """
    recorder = Recorder(image)
    try:
        with torch.no_grad(), _paths(model, recorder), _below_autograd(), recorder:
            scores = model(recorder.image)
        if recorder.failure is not None:  # the network may have caught it and gone another way
            raise recorder.failure
        if not isinstance(scores, Recorded):
            raise Unclear("the score map does not depend on the image")
        output = scores.node
        del scores
        recorder.check_nothing_kept()
    except Exception:
        recorder.fill(image)
        raise
    return Capture(recorder.graph, recorder.input, output, recorder.constants)


@contextmanager
def _paths(model: nn.Module, recorder: Recorder) -> Iterator[None]:
    """Tell the recorder which modules it is in, by hooks around those of the network."""
    with ExitStack() as hooks:
        for path, module in model.named_modules():
            stack = []

            def enter(module: nn.Module, *_: Any, path: str = path, stack: list = stack) -> None:
                stack.append(recorder.modules)
                recorder.modules = {**recorder.modules, path: (path, type(module))}

            def leave(*_: Any, stack: list = stack) -> None:
                recorder.modules = stack.pop()

            handle = module.register_forward_pre_hook(enter, prepend=True)
            hooks.callback(handle.remove)
            hooks.callback(module.register_forward_hook(leave, always_call=True).remove)
        yield


def _below_autograd() -> Any:
    """Keep PyTorch from taking apart operations in `KEPT` before the recorder sees them: autograd
    does, and it has nothing to record here."""
    return torch._C._AutoDispatchBelowAutograd()
