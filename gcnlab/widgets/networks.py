"""Networks by name: those of this package, of torchvision and of timm."""

from dataclasses import dataclass
from pathlib import Path

from torch import nn

from gcnlab.arguments import nearest, shown
from gcnlab.datasets.labels import LabelSet
from gcnlab.datasets.normalization import Normalization, weights_normalization
from gcnlab.models.choices import TIMM
from gcnlab.models.timm_backbone import create
from gcnlab.training.runs import load

TORCHVISION = "torchvision/"


@dataclass(frozen=True)
class Network:
    """A network, and what is known about it.

    Attributes:
        model: maps images to logits.
        normalization: what it expects of its input; None if that is unknown.
        classes: names of its classes, or a data set's labels; empty if they are unknown.
    """

    model: nn.Module
    normalization: Normalization | None = None
    classes: LabelSet | tuple[str, ...] = ()


def network_of(named: nn.Module | str | Path) -> Network:
    """A network by its name.

    Args:
        named: the network itself; a name in `gcnlab.pretrained_networks()`, a run's folder or a
            checkpoint; or "torchvision/NAME" or "timm/NAME", whose default weights are downloaded
            once. timm's classifiers have no score map, but their hidden layers can be explored.

    Raises:
        FileNotFoundError, ValueError: no network has this name; see also `gcnlab.load`.
        ModuleNotFoundError: timm is not installed.
    """
    if isinstance(named, nn.Module):
        return Network(named)
    name = str(named)
    if name.startswith(TORCHVISION):
        return _torchvision_network(name.removeprefix(TORCHVISION))
    if name.startswith(TIMM):
        model = create(name, pretrained=True)
        preset = model.pretrained_cfg
        return Network(model, Normalization(tuple(preset["mean"]), tuple(preset["std"])))
    run = load(named, device="cpu")
    return Network(run.model, run.normalization, run.labels or ())


def _torchvision_network(name: str) -> Network:
    from torchvision import models  # slow to import: only for its own networks

    if name not in models.list_models():
        near = nearest(name, models.list_models())
        raise ValueError(
            f"torchvision has no network {shown(name)}{near}; torchvision.models.list_models() lists "
            "them"
        )
    weights = models.get_model_weights(name).DEFAULT
    model = models.get_model(name, weights=weights)
    return Network(model, weights_normalization(weights), tuple(weights.meta["categories"]))
