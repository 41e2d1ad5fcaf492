import pytest
import torch
import torchvision
from safetensors.torch import save_file
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from gcnlab.models import BACKBONES, build_backbone
from gcnlab.models.resnet import Bottleneck, GCNBottleneck, make_shortcut, mini_resnet, resnet50_gcn


def conv_macs(network, size=224):
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        network.eval()(torch.zeros(1, 3, size, size))
    return counter.get_total_flops() // 2


def conv_weights(network):
    return sum(m.weight.numel() for m in network.modules() if isinstance(m, nn.Conv2d))


@pytest.mark.parametrize("name", BACKBONES)
def test_taps_have_the_channels_and_strides_that_are_promised(name):
    backbone = build_backbone(name).eval()
    features = backbone(torch.randn(1, 3, 65, 97))
    for feature, channels, stride in zip(
        features, backbone.channels, backbone.strides, strict=True
    ):
        assert feature.shape == (1, channels, -(-65 // stride), -(-97 // stride))


def test_the_taps_of_figure_2():
    backbone = build_backbone("resnet50")
    assert backbone.channels == (256, 512, 1024, 2048)
    assert backbone.strides == (4, 8, 16, 32)


def test_the_last_tap_is_torchvisions_last_stage():
    torch.manual_seed(0)
    resnet = torchvision.models.resnet18().eval()
    backbone = build_backbone("resnet18").eval()
    missing = backbone.load_state_dict(resnet.state_dict(), strict=False)
    assert not missing.missing_keys
    image = torch.randn(1, 3, 64, 64)
    scores = resnet.fc(backbone(image)[3].mean((2, 3)))
    torch.testing.assert_close(scores, resnet(image))


def test_resnet50_gcn_has_the_blocks_of_table_11():
    network = resnet50_gcn()
    assert [len(getattr(network, f"layer{i}")) for i in (1, 2, 3, 4)] == [3, 4, 6, 3]
    for stage, k, inner, outer in ((network.layer3, 5, 85, 1024), (network.layer4, 7, 128, 2048)):
        for number, block in enumerate(stage):
            assert isinstance(block, GCNBottleneck)
            convs = [unit[0] for branch in (block.branch_a, block.branch_b) for unit in branch]
            assert [c.kernel_size for c in convs] == [(1, k), (k, 1), (k, 1), (1, k)]
            assert [c.padding for c in convs] == [
                (0, k // 2),
                (k // 2, 0),
                (k // 2, 0),
                (0, k // 2),
            ]
            assert {c.out_channels for c in convs} == {inner}
            assert [c.stride for c in convs] == (
                [(2, 2), (1, 1), (2, 2), (1, 1)] if number == 0 else [(1, 1)] * 4
            )
            assert block.project[0].weight.shape == (outer, inner, 1, 1)
    assert not any(
        isinstance(b, GCNBottleneck) for s in (network.layer1, network.layer2) for b in s
    )


def test_resnet50_gcn_has_the_weights_and_the_cost_of_the_paper():
    network = resnet50_gcn()
    assert round(conv_weights(network) / 1e6, 2) == 20.45
    assert round(conv_weights(torchvision.models.resnet50()) / 1e6, 2) == 23.45
    assert round((conv_macs(network) - network.fc.weight.numel()) / 1e6) == 3667


def test_resnet50_gcn_classifies():
    assert resnet50_gcn(num_classes=10).eval()(torch.randn(1, 3, 64, 64)).shape == (1, 10)


def test_the_mini_network_sees_71_pixels_at_res_5():
    """Its gradient, with every ReLU and max-pool open, is as wide as the theoretical field."""
    backbone = build_backbone("mini").eval().double()
    for module in backbone.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.constant_(module.weight, 1 / module.weight[0].numel())
    image = torch.rand(1, 3, 257, 257, dtype=torch.float64)
    support = torch.zeros(257, 257, dtype=torch.bool)
    for _ in range(30):  # max-pooling lets one pixel of nine through: other images, other pixels
        image = torch.rand(1, 3, 257, 257, dtype=torch.float64, requires_grad=True)
        backbone(image)[3][0, :, 4, 4].sum().backward()
        support |= image.grad[0].abs().sum(0) > 0
    rows, columns = support.nonzero().T
    for ends in ((rows.min(), rows.max()), (columns.min(), columns.max())):
        assert ends == (128 - 35, 128 + 35)


@pytest.mark.parametrize("ending", [".pth", ".safetensors"])
def test_weights_from_a_local_file(tmp_path, ending):
    state = dict(mini_resnet(num_classes=3).state_dict().items())
    path = tmp_path / f"mini{ending}"
    save_file(state, path) if ending == ".safetensors" else torch.save(state, path)
    backbone = build_backbone("mini", weights=path, frozen_norm=True)
    assert torch.equal(backbone.layer4[0].conv1.weight, state["layer4.0.conv1.weight"])
    assert torch.equal(backbone.bn1.running_var, state["bn1.running_var"])


def test_nothing_is_downloaded_unless_asked_for(monkeypatch):
    def refuse(*args, **kwargs):
        raise AssertionError("a download was tried")

    monkeypatch.setattr("torch.hub.load_state_dict_from_url", refuse)
    monkeypatch.setattr("torchvision.models._api.load_state_dict_from_url", refuse)
    for name in ("resnet18", "mini"):
        build_backbone(name)
    with pytest.raises(AssertionError, match="download"):
        build_backbone("resnet18", weights="IMAGENET1K_V1")


def test_weights_of_another_network_are_refused_by_name(tmp_path):
    path = tmp_path / "resnet18.pth"
    torch.save(torchvision.models.resnet18().state_dict(), path)
    with pytest.raises(ValueError, match=r"resnet18\.pth.*another network"):
        build_backbone("mini", weights=path)


def test_a_damaged_weights_file_is_named(tmp_path):
    path = tmp_path / "half.pth"
    torch.save(mini_resnet().state_dict(), path)
    path.write_bytes(path.read_bytes()[:5000])
    with pytest.raises(ValueError, match=r"half\.pth"):
        build_backbone("mini", weights=path)


def test_weights_that_are_nowhere_are_refused():
    with pytest.raises(FileNotFoundError, match="IMAGENET1K_V1"):
        build_backbone("resnet18", weights="IMAGENET22K")
    with pytest.raises(FileNotFoundError, match=r"none\.pth"):
        build_backbone("mini", weights="none.pth")
    with pytest.raises(ValueError, match="no weights for 'mini'"):
        build_backbone("mini", weights="DEFAULT")


def test_an_unknown_backbone_is_refused_with_the_known_ones():
    with pytest.raises(ValueError, match="resnet152"):
        build_backbone("vgg16")


def test_frozen_norm_has_nothing_to_train_and_keeps_its_statistics():
    backbone = build_backbone("mini", frozen_norm=True).train()
    before = backbone.bn1.running_mean.clone()
    backbone(torch.randn(2, 3, 32, 32))
    assert torch.equal(backbone.bn1.running_mean, before)
    assert all(p.ndim == 4 for p in backbone.parameters())


@pytest.mark.parametrize(("channels", "stride"), [(32, 1), (32, 2), (16, 1)])
def test_a_bottleneck_is_torchvisions(channels, stride):
    """The same weights under the same names, and the same output to the last bit."""
    shortcut = make_shortcut(channels, 32, stride, torch.nn.BatchNorm2d)
    reference = torchvision.models.resnet.Bottleneck(channels, 8, stride, shortcut).eval()
    ours = Bottleneck(channels, 8, stride).eval()
    ours.load_state_dict(reference.state_dict())
    image = torch.randn(2, channels, 9, 11)
    assert torch.equal(ours(image), reference(image.clone()))
