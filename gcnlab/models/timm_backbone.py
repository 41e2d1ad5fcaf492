"""Backbones of the library timm: `build_backbone("timm/NAME")`.

Any of its networks that gives feature maps at strides 4, 8, 16 and 32 can be a backbone, without
its classification layer. The network is changed in three ways:

- Unit i of each map lies on pixel stride·i, and a map has ⌈n / stride⌉ units for n pixels, at any
  input size. For convolutions with odd kernels this only moves the map. The maps of networks that
  work on patches (ConvNeXt, Swin) are interpolated, and their images padded at the bottom and right
  to a multiple of 32 (`gcnlab.models.centring`).
- ReLUs and other activations are not in place, because attribution methods need this.
- Attention in windows (Swin) accepts any size of the image.

Attention windows are laid from the top left corner of a map, so what a unit of a Swin sees is not
centred on it; only what its patches see is.
"""

from collections.abc import Mapping
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F

from gcnlab.annotations import Float, Tensor
from gcnlab.arguments import first_line, nearest, shown
from gcnlab.models.centring import centre, on_pixels
from gcnlab.models.choices import TIMM

DEFAULT = "DEFAULT"
"""The weights of a network that timm chooses first."""


class TimmBackbone(nn.Module):
    """A network of timm without its classification layer: it maps an image to four feature maps.

    Attributes:
        name: "timm/NAME".
        network: timm's extractor of feature maps.
        channels: channels of the maps at strides 4, 8, 16 and 32.
        strides: (4, 8, 16, 32), in pixels of the image.
        taps: for each map, the path in `network` of the module that computes it, for
            `theoretical_field`.
        patches: whether the network works on patches, so that the maps of its modules lie between
            pixels, and are interpolated.

    Args:
        name: "timm/NAME".
        frozen_norm: replace every batch norm by a fixed scale and shift. Layer norm, which has no
            statistics, stays as it is.
        tag: a tag of timm's weights ("in1k"), or "DEFAULT" for its first choice, which timm
            downloads once and caches; None for random initialisation.

    Raises:
        ModuleNotFoundError: timm is not installed.
        ValueError: timm has no such network, or it has no maps at these strides, or their units
            cannot be put on pixels.
    """

    strides = (4, 8, 16, 32)

    def __init__(self, name: str, frozen_norm: bool = False, tag: str | None = None):
        super().__init__()
        self.name = name
        self.network = create(
            name,
            features_only=True,
            pretrained=tag is not None,
            pretrained_cfg=None if tag == DEFAULT else tag,
        )
        info = self.network.feature_info
        found = [int(stride) if stride == int(stride) else stride for stride in info.reduction()]
        if not set(self.strides) <= set(found):
            raise ValueError(
                f"{name} has feature maps at strides {', '.join(map(str, found))}, but a backbone "
                "needs strides 4, 8, 16 and 32; choose another network"
            )
        self.patches = centre(self.network, name)
        last = {stride: index for index, stride in enumerate(found)}
        self.picked = tuple(last[stride] for stride in self.strides)
        self.channels = tuple(info.channels()[index] for index in self.picked)
        paths, modules = info.module_name(), dict(self.network.named_modules())
        self.taps = tuple(_path(paths[index], modules) for index in self.picked)
        self.channels_last = str(getattr(self.network, "output_fmt", "NCHW")).endswith("NHWC")
        if frozen_norm:
            from timm.utils.model import freeze_batch_norm_2d

            self.network = freeze_batch_norm_2d(self.network)
        for module in self.modules():
            if getattr(module, "inplace", False):
                module.inplace = False

    def forward(
        self, image: Float[Tensor, "batch 3 height width"]
    ) -> list[Float[Tensor, "batch _ _ _"]]:
        """Return the maps at strides 4 … 32, each of size ⌈height / stride⌉ × ⌈width / stride⌉."""
        height, width = image.shape[-2:]
        bottom, right = (-height % 32, -width % 32) if self.patches else (0, 0)
        found = self.network(F.pad(image, (0, right, 0, bottom)) if bottom or right else image)
        maps = [found[index] for index in self.picked]
        if self.channels_last:
            maps = [one.permute(0, 3, 1, 2) for one in maps]
        if self.patches:
            maps = [
                on_pixels(one[..., : -(-height // stride), : -(-width // stride)], stride)
                for one, stride in zip(maps, self.strides)
            ]
        for one, stride in zip(maps, self.strides):
            expected = tuple(-(-n // stride) for n in image.shape[-2:])
            if tuple(one.shape[-2:]) != expected:
                raise ValueError(
                    f"the map of stride {stride} of this network has {tuple(one.shape[-2:])} units "
                    f"for an image of {tuple(image.shape[-2:])} pixels, not {expected}; choose "
                    "another network"
                )
        return maps

    def stages(self) -> list[list[nn.Module]]:
        """For each map, the modules that compute it from the map before; see `gcnlab.models.cut`.

        Raises:
            ValueError: the maps are interpolated, or timm does not compute them one after the other.
        """
        modules = {} if self.patches or self.channels_last else _in_order(self.network)
        if not set(self.taps) <= set(modules):
            why = (
                "its maps are interpolated" if self.patches else "timm computes its maps otherwise"
            )
            raise ValueError(
                f"frozen_stride: {self.name} cannot be cut, because {why}; freeze the whole backbone "
                "(frozen_backbone), or nothing"
            )
        found = [[]]
        for name, module in modules.items():
            found[-1].append(module)
            if name in self.taps:
                found.append([])
        return found[: len(self.taps)]

    def renamed(self, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The weights of timm's classifier under the names that they have in this module, without
        those that it does not have (of the classification layer).

        Weights with other names, which are not of this network, keep them.
        """
        own = self.network.state_dict()
        with torch.device("meta"):  # names only; uses no memory
            names = {key: _path(key, own, None) for key in create(self.name).state_dict()}
        places = {key: names.get(key, key) for key in state}
        return {f"network.{places[key]}": value for key, value in state.items() if places[key]}


def create(name: str, **options: Any) -> nn.Module:
    """Call `timm.create_model` for the network "timm/NAME".

    Raises:
        ModuleNotFoundError, ValueError: see `TimmBackbone`.
    """
    timm, short = import_timm(name), name.removeprefix(TIMM)
    if not timm.is_model(short) or "." in short:
        hint = "; give the tag as weights, not in the name" if "." in short else ""
        raise ValueError(
            f"timm has no network {shown(short)}{hint or nearest(short, timm.list_models())}; "
            "timm.list_models() lists them"
        )
    try:
        try:  # Swin refuses other sizes of the image than that of its pretraining unless told so
            return timm.create_model(short, strict_img_size=False, **options)
        except TypeError:  # the others do not know this option
            return timm.create_model(short, **options)
    except (RuntimeError, AssertionError, AttributeError, TypeError) as error:
        raise ValueError(f"{name}: timm cannot build this network ({first_line(error)})") from error


def import_timm(name: str) -> Any:
    """Return the module timm, which the network or the weights `name` need.

    Raises:
        ModuleNotFoundError: it is not installed.
    """
    try:
        import timm
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            f"{name} needs the package timm: pip install 'gcnlab[timm]'"
        ) from error
    return timm


def _in_order(network: nn.Module) -> dict[str, nn.Module]:
    """Name → module, in the order in which an extractor of timm calls them on each other's outputs;
    empty if it works in another way."""
    if isinstance(network, nn.ModuleDict):  # FeatureListNet
        return dict(network.items())
    if getattr(network, "feature_hooks", ...) is not None:
        return {}
    first = {
        name: module
        for name, module in network.named_children()
        if name in ("conv_stem", "bn1", "act1")
    }
    return first | {f"blocks.{i}": block for i, block in enumerate(network.blocks)}


def _path(name: str, known: Any, default: Any = ...) -> Any:
    """The name in timm's extractor of what its classifier calls `name`."""
    first, _, rest = name.partition(".")
    for candidate in (name, f"{first}_{rest}", f"model.{name}", f"body.{name}"):
        if candidate in known:
            return candidate
    if default is ...:
        raise ValueError(f"the network of timm has no module {name}; choose another network")
    return default
