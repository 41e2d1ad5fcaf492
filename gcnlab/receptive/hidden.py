"""Hidden units: the channels of any layer, in place of the classes of the score map.

Zhou et al. ("Object detectors emerge in deep scene CNNs", ICLR 2015), who introduced the occlusion
that the paper's Figure 3 follows, looked at units inside the network: they occluded the image and
measured how much one channel of a convolution changed. Here a network is cut at a layer:
`HiddenLayer(model, "backbone.layer4")` maps images to the map that this layer returns. Everything
that takes a network takes it:

    valid_field(HiddenLayer(model, "layer3"), image, (row, column), target=17)

The `target` is then a channel; None selects the channel with the largest value at the unit. The `pixel` is
a position on the layer's map. The exact method computes no layer after it; the plain method runs
the whole network and reads the layer.
"""

import threading
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any, no_type_check

import torch
from torch import nn
from torch.utils.hooks import RemovableHandle

from gcnlab.annotations import Float, Tensor
from gcnlab.arguments import nearest, shown
from gcnlab.models.logits import check_network, model_input
from gcnlab.models.modes import evaluation_mode
from gcnlab.receptive.unit import check_image


class HiddenLayer(nn.Module):
    """A network up to one of its layers: maps images to the map that this layer returns.

    Its weights are those of `model`, and so are its modes: `train()` and `eval()` are passed on.
    The copy that is returned does not change if the network goes on in place (a ReLU after a batch
    norm). If the layer is run several times in one pass, the map is that of the last time.

    Args:
        model: any network that takes images; its own output may be of any kind.
        layer: name of a submodule as in `model.named_modules()`, such as "backbone.layer4".
            `layers_with_maps` lists those that return a map.

    Raises:
        ValueError: the model has no such submodule, or it is a `torch.jit.ScriptModule`.
        TypeError: `model` is not a network.
    """

    @no_type_check  # the error of `check_network` says what to do instead
    def __init__(self, model: nn.Module, layer: str):
        check_network(model)
        _check_not_compiled(model, "the model")
        super().__init__()
        modules = dict(model.named_modules(remove_duplicate=False))
        names = [name for name in modules if name]
        if layer not in names:
            ends = [name for name in names if name.endswith(f".{layer}")]
            hint = f"; did you mean {ends[0]}?" if ends else nearest(layer, names)
            raise ValueError(
                f"unknown layer {shown(layer)} of {type(model).__name__}{hint}; "
                "layers_with_maps(model, image) lists the layers that return a map"
            )
        _check_not_compiled(modules[layer], f"layer {layer!r}")
        self.model, self.layer = model, layer
        self.training = model.training

    def forward(
        self, images: Float[Tensor, "batch channels height width"]
    ) -> Float[Tensor, "batch units rows columns"]:
        """The layer's map.

        Raises:
            ValueError: the layer does not return one map per image, or the network does not run it
                for these images.
        """
        outputs: list[Any] = []

        def keep(output: Any) -> None:
            is_map = _is_map(output, len(images))
            outputs[:] = [output.clone() if is_map else output]

        with _watched(self.model.get_submodule(self.layer), keep):
            self.model(images)
        name, count = f"layer {self.layer!r} of {type(self.model).__name__}", len(images)
        if not outputs:
            raise ValueError(f"{name} is not run for this image: choose one of layers_with_maps")
        if not _is_map(outputs[0], count):
            raise ValueError(
                f"{name} returns {_described(outputs[0])} for {count} images, not one map (channels, "
                "rows, columns) for each: choose one of layers_with_maps"
            )
        return outputs[0]

    def extra_repr(self) -> str:
        return f"layer={self.layer!r}"


@no_type_check  # the errors of the checks say what to do instead
def layers_with_maps(
    model: nn.Module, image: Float[Tensor, "channels height width"]
) -> dict[str, tuple[int, int, int]]:
    """The layers of a network that `HiddenLayer` can cut it at, for images like this one.

    These are the submodules whose output is one floating-point tensor (batch, channels, rows,
    columns). A container that returns the output of its last child is listed beside it. The order of
    the axes is not checked: networks whose maps are (batch, rows, columns, channels), such as Swin,
    are listed, too, and their rows then count as channels. Submodules that are a
    `torch.jit.ScriptModule` are left out, because their outputs cannot be read.

    Args:
        model: any network that takes images; run once in evaluation mode and left as it was.
        image: the model's input (already normalised).

    Returns:
        Name → (channels, rows, columns), in the order in which the layers end. Of a layer that is
        run several times, the last one counts.

    Raises:
        ValueError: the image is not one image, or the network is a `torch.jit.ScriptModule`.
        TypeError: `model` is not a network.
    """
    check_network(model)
    _check_not_compiled(model, "the model")
    check_image(image)
    found: dict[str, tuple[int, int, int]] = {}

    def keep(name: str, output: Any) -> None:
        found.pop(name, None)
        if _is_map(output, 1):
            found[name] = tuple(output.shape[1:])

    with evaluation_mode(model), torch.no_grad(), ExitStack() as hooks:
        for name, module in model.named_modules():
            if name and not isinstance(module, torch.jit.ScriptModule):
                hooks.enter_context(_watched(module, lambda output, name=name: keep(name, output)))
        model(model_input(model, image[None]))
    return found


def _check_not_compiled(module: nn.Module, what: str) -> None:
    if isinstance(module, torch.jit.ScriptModule):
        raise ValueError(
            f"{what} is a torch.jit.ScriptModule, whose layers cannot be read: pass the network "
            "that was scripted or traced"
        )


def _watched(module: nn.Module, keep: Callable[[Any], None]) -> RemovableHandle:
    """Call `keep` with each output of a module, in the passes of this thread, until the `with` block
    ends."""
    thread = threading.get_ident()

    def hook(module: nn.Module, inputs: Any, output: Any) -> None:
        if threading.get_ident() == thread:
            keep(output)

    return module.register_forward_hook(hook)


def _is_map(output: Any, count: int) -> bool:
    return (
        isinstance(output, Tensor)
        and output.ndim == 4
        and output.is_floating_point()
        and len(output) == count
        and output.numel() > 0
    )


def _described(output: Any) -> str:
    if isinstance(output, Tensor):
        dtype = str(output.dtype).removeprefix("torch.")
        return f"a tensor {tuple(output.shape)} of {dtype}"
    return f"a {type(output).__name__}"
