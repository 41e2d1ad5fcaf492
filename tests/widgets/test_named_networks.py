import pytest
import torch
from torch import nn

from gcnlab.datasets import SHAPES, Normalization
from gcnlab.widgets.networks import network_of


def test_a_network_of_this_package():
    network = network_of("gcn7-seed0")
    assert network.normalization == Normalization()
    assert network.classes == SHAPES
    assert network.model(torch.zeros(1, 3, 32, 32)).shape == (1, SHAPES.num_classes, 32, 32)


def test_a_network_itself():
    module = nn.Conv2d(3, 2, 1)
    network = network_of(module)
    assert network.model is module
    assert (network.normalization, network.classes) == (None, ())


def test_a_network_of_torchvision(monkeypatch):
    """Without the download: the same network with random weights."""
    from torchvision import models

    asked = {}

    def random(name, weights):
        asked[name] = weights
        return models.segmentation.lraspp_mobilenet_v3_large(weights=None, weights_backbone=None)

    monkeypatch.setattr(models, "get_model", random)
    network = network_of("torchvision/lraspp_mobilenet_v3_large")
    weights = models.segmentation.LRASPP_MobileNet_V3_Large_Weights.DEFAULT
    assert asked == {"lraspp_mobilenet_v3_large": weights}
    assert network.normalization == Normalization()
    assert network.classes[:2] == ("__background__", "aeroplane")
    assert len(network.classes) == 21


def test_a_network_of_timm(monkeypatch):
    from gcnlab.widgets import networks

    def create(name, pretrained):
        assert pretrained
        model = nn.Conv2d(3, 2, 1)
        model.pretrained_cfg = {"mean": (0.5, 0.5, 0.5), "std": (0.5, 0.5, 0.5)}
        return model

    monkeypatch.setattr(networks, "create", create)
    assert network_of("timm/resnet18").normalization == Normalization((0.5,) * 3, (0.5,) * 3)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("torchvision/fcn_resnet5", "torchvision has no network 'fcn_resnet5'; did you mean"),
        ("timm/resnet1", "timm has no network 'resnet1'; did you mean"),
        ("gcn7-seed", "no folder or pretrained network 'gcn7-seed'; did you mean"),
    ],
)
def test_unknown_names(name, message):
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        network_of(name)
