"""Put the units of a network's maps on pixels: unit i of a map of stride s at pixel s·i.

Some layers of timm's networks do not follow this convention (`gcnlab.geometry`):

- TensorFlow's "same" padding depends on the size of the map and often pads the end more than the
  beginning. The units of stride 32 of an EfficientNet are then up to 31 px away from their place.
- A convolution or a pooling of stride 2 without padding puts unit 0 in the middle of its window.
- The patches of ConvNeXt and Swin (4×4 pixels, then 2×2 units) put unit i at s·i + (s − 1)/2, which
  is between two pixels.

`centre` gives every window of odd size k the padding (k − 1)/2 on all sides, which moves it by
whole units and leaves its function as it is. Nothing inside a network of patches is changed,
because pretrained features do not survive it: an EfficientNet-Lite0 whose strided convolutions read
the means of two neighbouring units recognises 17 % of photographs of animals instead of 59 %
(`benchmarks/padding.py`). The maps of such a network are interpolated instead, by `on_pixels`.

A network that has patches besides strided windows of odd size is refused. The average pooling of
2×2 in the shortcuts of ResNet-D stays as it is: it reads inside the window of the convolutions
beside it, so the field of a unit is centred, but half a unit of the finer map off its centre.
"""

from typing import Any

from torch import nn

from gcnlab.annotations import Float, Tensor
from gcnlab.models.upsampling import replicate_border

_SHORTCUTS = ("downsample", "shortcut")


def on_pixels(
    feature: Float[Tensor, "batch channels height width"], stride: int
) -> Float[Tensor, "batch channels height width"]:
    """Interpolate a map of patches, whose unit i is at stride·i + (stride − 1)/2, at stride·i.

    The interpolation is linear: nearly the mean of units i − 1 and i. Unit 0 stays as it is, because
    there is none before it. The theoretical field of the result has an even size, so that its
    centre is half a pixel before stride·i; the centre of its weights is at stride·i.
    """
    before = (stride - 1) / (2 * stride)  # weight of unit i − 1
    around = replicate_border(feature)
    rows = (1 - before) * around[..., 1:-1, :] + before * around[..., :-2, :]
    return (1 - before) * rows[..., 1:-1] + before * rows[..., :-2]


def centre(network: nn.Module, name: str) -> bool:
    """Change the layers of `network`, a network of timm, so that the units of its maps lie on
    pixels, unless it is a network of patches.

    Args:
        network: is changed in place. Its parameters keep their names and values.
        name: the network's name in messages.

    Returns:
        Whether it is a network of patches: each unit of stride s is in the middle of s×s pixels.

    Raises:
        ValueError: the units of its maps lie elsewhere; the message names a layer.
    """
    patches = odd = ""
    for path, module in list(network.named_modules()):
        kind = type(module).__name__
        if isinstance(module, nn.Conv2d | nn.AvgPool2d | nn.MaxPool2d):
            if _is_patches(module):
                patches = patches or path
            elif not _is_shortcut(path, module):
                _centre_window(network, path, module, name)
                strided = _two(module.stride) != (1, 1) and _two(module.kernel_size) != (1, 1)
                odd = odd or (path if strided else "")
        elif kind == "PatchMerging" and type(module).__module__.endswith(
            ("swin_transformer", "_v2")
        ):
            patches = patches or path
        elif (
            isinstance(module, nn.Upsample | nn.ConvTranspose2d)
            or kind in ("SpaceToDepth", "PatchMerging", "Unroll")
            or (kind.startswith("BlurPool") and module.filt_size % 2 == 0)
            or getattr(module, "dynamic_padding", False)
        ) and not any(isinstance(m, nn.Conv2d) for m in module.modules()):
            raise ValueError(_refusal(name, path, module))
    if patches and odd:
        raise ValueError(_refusal(name, patches, network.get_submodule(patches)))
    return bool(patches)


def _is_patches(module: nn.Module) -> bool:
    """Whether a convolution reads patches: windows of even size that neither overlap nor leave
    gaps."""
    kernel = _two(module.kernel_size)
    return (
        isinstance(module, nn.Conv2d)
        and kernel == _two(module.stride)
        and kernel in ((2, 2), (4, 4))
        and module.padding in (0, (0, 0))
        and _two(module.dilation) == (1, 1)
        and not _same(module)
    )


def _is_shortcut(path: str, module: nn.Module) -> bool:
    """Whether a layer is the average pooling in a shortcut of ResNet-D."""
    inside = any(part in _SHORTCUTS for part in path.split("."))
    return inside and isinstance(module, nn.AvgPool2d) and _two(module.kernel_size) == (2, 2)


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
    raise ValueError(_refusal(name, path, module))


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
