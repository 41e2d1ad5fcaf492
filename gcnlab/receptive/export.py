"""Record the operations of a network with `torch.export`: slow, for any network that it takes.

`gcnlab.receptive.capture` is tried first. It is some ten times as fast, and gives up where an
export does not: changes of part of a tensor in place, and tensors that the network keeps.
"""

import torch
from torch import nn

from gcnlab.annotations import Tensor
from gcnlab.receptive.capture import Capture


def export(model: nn.Module, image: Tensor) -> Capture:
    """Export `model` for images of the size of `image`.

    The caller puts the network into evaluation mode and restores it afterwards, also its
    attributes.

    Raises:
        Exception: PyTorch raises many types here.
    """
    # Not traced, so that tensors that the network caches have values.
    model(image)
    program = torch.export.export(model, (image,), strict=False).run_decompositions({})
    signature = program.graph_signature
    values = {**program.state_dict, **program.constants}
    names = {
        **signature.inputs_to_parameters,
        **signature.inputs_to_buffers,
        **signature.inputs_to_lifted_tensor_constants,
    }
    placeholders = [node for node in program.graph.nodes if node.op == "placeholder"]
    (own,) = (node for node in placeholders if node.name in signature.user_inputs)
    constants = {n: values[names[n.name]] for n in placeholders if n.name in names}
    (output,) = (node for node in program.graph.nodes if node.op == "output")
    return Capture(program.graph, own, output.args[0][-1], constants)
