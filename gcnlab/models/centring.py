"""Put the units of a network's maps on pixels: unit i of a map of stride s at pixel s·i.

Some layers of timm's networks do not follow this convention (`gcnlab.geometry`):

- TensorFlow's "same" padding depends on the size of the map and often pads the end more than the
  beginning. The units of stride 32 of an EfficientNet are then up to 31 px away from their place.
- A convolution or a pooling of stride 2 without padding puts unit 0 in the middle of its window.
- A window of even size (the patches of ConvNeXt and Swin, 4×4 and 2×2; the average pooling in the
  shortcuts of ResNet-D) has its centre between two units. Without padding, unit i of a map of
  patches is at pixel s·i + (s − 1)/2.

`centre` changes these layers. A window of odd size k gets the padding (k − 1)/2 on all sides, which
moves it by whole units and is exact. A window of even size reads the means of neighbouring units,
2×2 of them, in place of the units. The means lie half a unit before the units, so that the
window, moved by whole units, has its centre on a unit. This is linear interpolation at half a unit.
It blurs what these layers read over two units: **with even windows, a pretrained network computes
features that differ a little from timm's**, and fine-tuning adapts to it.
"""

from typing import Any

from torch import nn
from torch.nn import functional as F

from gcnlab.annotations import Float, Tensor
from gcnlab.models.upsampling import replicate_border


def centre(network: nn.Module, name: str) -> None:
    """Change the layers of `network`, a network of timm, so that the units of its maps lie on
    pixels.

    Args:
        network: is changed in place. Its parameters keep their names and values.
        name: the network's name in messages.

    Raises:
        ValueError: a layer cannot be centred; the message names it.
    """
    for path, module in list(network.named_modules()):
        kind = type(module).__name__
        if isinstance(module, nn.Conv2d | nn.AvgPool2d | nn.MaxPool2d):
            _centre_window(network, path, module, name)
        elif kind == "PatchMerging" and type(module).__module__.endswith(
            ("swin_transformer", "_v2")
        ):
            module.register_forward_pre_hook(_means_of_channels_last)
        elif (
            isinstance(module, nn.Upsample | nn.ConvTranspose2d)
            or kind in ("SpaceToDepth", "PatchMerging", "Unroll")
            or (kind.startswith("BlurPool") and module.filt_size % 2 == 0)
            or getattr(module, "dynamic_padding", False)
        ) and not any(isinstance(m, nn.Conv2d) for m in module.modules()):
            raise ValueError(_refusal(name, path, module))


def _centre_window(network: nn.Module, path: str, module: nn.Module, name: str) -> None:
    """Centre a convolution or a pooling with the given path in the network."""
    kernel, stride, dilation = (
        _two(getattr(module, key, 1)) for key in ("kernel_size", "stride", "dilation")
    )
    if kernel == (1, 1) or (stride == (1, 1) and not _same(module) and _is_centred(module)):
        return
    if getattr(module, "padding_mode", "zeros") != "zeros":
        raise ValueError(_refusal(name, path, module))
    if _same(module):
        module = _without_same_padding(network, path, module)
    if isinstance(module, nn.AvgPool2d | nn.MaxPool2d):
        module.ceil_mode = False
    if all(k % 2 for k in kernel):
        module.padding = tuple(d * (k - 1) // 2 for k, d in zip(kernel, dilation))
        return
    if kernel[0] != kernel[1] or dilation != (1, 1) or isinstance(module, nn.MaxPool2d):
        raise ValueError(_refusal(name, path, module))
    module.padding = (kernel[0] // 2 - 1,) * 2
    module.register_forward_pre_hook(_means)


def _means(module: nn.Module, inputs: tuple[Any, ...]) -> tuple[Tensor]:
    """Replace the n units of each axis by the n + 1 means of neighbours. The neighbours of those at
    the ends are zeros, or themselves for an average that does not count its padding.
    """
    if isinstance(module, nn.Conv2d) or module.count_include_pad:
        return (F.avg_pool2d(inputs[0], 2, stride=1, padding=1),)
    return (F.avg_pool2d(replicate_border(inputs[0]), 2, stride=1),)


def _means_of_channels_last(
    module: nn.Module, inputs: tuple[Float[Tensor, "batch height width channels"]]
) -> tuple[Tensor]:
    """The same before Swin's merging of 2×2 units, which pads an odd axis at its end."""
    (x,) = inputs
    height, width = (n + n % 2 for n in x.shape[1:3])
    means = F.avg_pool2d(x.permute(0, 3, 1, 2), 2, stride=1, padding=1)
    return (means[..., :height, :width].permute(0, 2, 3, 1),)


def _same(module: nn.Module) -> bool:
    """Whether a layer computes TensorFlow's "same" padding for each input."""
    return "Same" in type(module).__name__ and getattr(module, "same_pad", True)


def _is_centred(module: nn.Module) -> bool:
    """Whether a layer of stride 1 has an odd window and keeps the size of its map."""
    if isinstance(module.padding, str):
        return module.padding == "same" and all(k % 2 for k in module.kernel_size)
    kernel, padding, dilation = (
        _two(getattr(module, key, 1)) for key in ("kernel_size", "padding", "dilation")
    )
    return all(2 * p == d * (k - 1) for k, p, d in zip(kernel, padding, dilation))


def _without_same_padding(network: nn.Module, path: str, module: nn.Module) -> nn.Module:
    """Replace a layer with "same" padding by one whose padding can be set; return that one."""
    if hasattr(module, "same_pad"):  # weight-standardised convolutions can do both
        module.same_pad = False
        return module
    if isinstance(module, nn.Conv2d):
        new = nn.Conv2d(
            module.in_channels,
            module.out_channels,
            module.kernel_size,
            module.stride,
            dilation=module.dilation,
            groups=module.groups,
            bias=module.bias is not None,
            device="meta",
        )
        new.weight, new.bias = module.weight, module.bias
    elif isinstance(module, nn.AvgPool2d):
        new = nn.AvgPool2d(module.kernel_size, module.stride, count_include_pad=False)
    else:
        new = nn.MaxPool2d(module.kernel_size, module.stride, dilation=module.dilation)
    parent, _, child = path.rpartition(".")
    setattr(network.get_submodule(parent), child, new)
    return new


def _refusal(name: str, path: str, module: nn.Module) -> str:
    return (
        f"{name}: the units of its maps do not lie on pixels, because of {path} "
        f"({type(module).__name__}); choose another network"
    )


def _two(value: Any) -> tuple[int, int]:
    return tuple(value) if isinstance(value, tuple | list) else (value, value)
