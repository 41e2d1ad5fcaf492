"""Hidden units, against the layers run by hand and against occluding the image by hand."""

import copy
import threading

import jaxtyping
import pytest
import torch
import torchvision
from torch import nn

from gcnlab.models import SegmentationNet
from gcnlab.receptive import (
    FieldAtlas,
    HiddenLayer,
    Occlusion,
    OcclusionSettings,
    gradient_field,
    layers_with_maps,
    theoretical_field,
    valid_field,
)
from gcnlab.receptive.unit import unit_at

SIZE = 64, 72


@pytest.fixture(scope="module")
def image():
    return torch.randn(3, *SIZE, generator=torch.Generator().manual_seed(1))


@pytest.fixture(scope="module")
def gcn():
    torch.manual_seed(0)
    return with_statistics(SegmentationNet("resnet18", 4, kernel_size=5))


@pytest.fixture(scope="module")
def classifier():
    """A classification network, which has no score map."""
    import timm

    torch.manual_seed(0)
    return with_statistics(timm.create_model("resnet18", pretrained=False))


@pytest.fixture(scope="module")
def lraspp():
    """Its output is a dict; its backbone has global layers (squeeze and excitation)."""
    torch.manual_seed(0)
    return with_statistics(
        torchvision.models.segmentation.lraspp_mobilenet_v3_large(
            weights=None, weights_backbone=None, num_classes=5
        )
    )


def with_statistics(net):
    """As if it were trained: batch norm knows the statistics of its inputs."""
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = None
    with torch.no_grad():
        net.train()(torch.randn(4, 3, *SIZE))
    return net.eval()


def agree(ours, theirs):
    """Equal within 1e-4 of the largest value."""
    scale = theirs.abs().max().clamp(min=1e-12)
    torch.testing.assert_close(ours / scale, theirs / scale, atol=1e-4, rtol=0)


def by_hand(run, image, pixel, channel, window, stride):
    """The field of a channel of `run`, window by window, one image at a time; the windows divide
    the image evenly."""
    total, count = torch.zeros(image.shape[-2:]), torch.zeros(image.shape[-2:])
    with torch.no_grad():
        clean = run(image[None])[0, channel, pixel[0], pixel[1]]
        for top in range(0, image.shape[1] - window + 1, stride):
            for left in range(0, image.shape[2] - window + 1, stride):
                changed = image.clone()
                changed[:, top : top + window, left : left + window] = 0
                drop = clean - run(changed[None])[0, channel, pixel[0], pixel[1]]
                total[top : top + window, left : left + window] += drop
                count[top : top + window, left : left + window] += 1
    return total / count


def up_to_layer3(net):
    """The layers of timm's ResNet-18 up to the third stage."""
    return nn.Sequential(
        net.conv1, net.bn1, net.act1, net.maxpool, net.layer1, net.layer2, net.layer3
    )


def test_it_is_the_layers_output(classifier, image):
    with torch.no_grad():
        maps = HiddenLayer(classifier, "layer3")(image[None])
        assert torch.equal(maps, up_to_layer3(classifier)(image[None]))
        first = HiddenLayer(classifier, "conv1")(image[None])
        assert torch.equal(first, classifier.conv1(image[None]))


def test_what_comes_after_in_place_does_not_change_it(classifier, image):
    """The batch norm's output is overwritten by a ReLU."""
    with torch.no_grad():
        expected = classifier.bn1(classifier.conv1(image[None]))
        found = HiddenLayer(classifier, "bn1")(image[None])
    assert classifier.act1.inplace
    assert found.min() < 0
    assert torch.equal(found, expected)


def test_of_a_layer_that_runs_twice_the_last_counts(gcn, image):
    """A block of ResNet-18 uses one ReLU twice, the second time for its own output."""
    block, relu = (
        HiddenLayer(gcn, f"backbone.layer1.{name}")(image[None]) for name in ("0", "0.relu")
    )
    assert torch.equal(block, relu)


@pytest.mark.slow
@pytest.mark.parametrize("layer", ["layer1.0.bn1", "layer3"])
def test_fields_of_a_classifier_equal_occlusion_by_hand(classifier, image, layer):
    net, stack = HiddenLayer(classifier, layer), up_to_layer3(classifier)
    if layer != "layer3":
        block = classifier.layer1[0]
        stack = nn.Sequential(*list(stack)[:4], block.conv1, block.bn1)
    channels, rows, columns = layers_with_maps(classifier, image)[layer]
    exact, plain = Occlusion(net, image), Occlusion(net, image, reuse=False)
    assert "whole network" not in exact.note
    settings = OcclusionSettings(16, 8)
    for pixel in [(0, 0), (rows - 1, columns - 1), (rows // 2, columns // 3)]:
        theirs = by_hand(stack, image, pixel, channels - 1, 16, 8)
        for occlusion in (exact, plain):
            found = occlusion.field(pixel, channels - 1, settings)
            agree(found.discrepancy, theirs)
            assert unit_at(found.centre, SIZE, (rows, columns)) == pixel


@pytest.mark.slow
@pytest.mark.parametrize(
    ("network", "layer"),
    [
        ("gcn", "backbone.layer2"),
        ("gcn", "heads.3"),
        ("lraspp", "backbone.3"),
        ("lraspp", "backbone.16"),  # behind layers that read their whole input
        ("lraspp", "classifier.scale.1"),  # a map of one unit
    ],
)
def test_exact_equals_plain(network, layer, image, request):
    net = HiddenLayer(request.getfixturevalue(network), layer)
    exact, plain = Occlusion(net, image), Occlusion(net, image, reuse=False)
    assert torch.equal(plain.score_map, net(image[None])[0].detach())
    rows, columns = plain.score_map.shape[-2:]
    for pixel in [(0, 0), (rows - 1, columns - 1), (rows // 2, columns // 2)]:
        fields = [o.field(pixel, 3, OcclusionSettings(16, 16)) for o in (exact, plain)]
        agree(*(field.discrepancy for field in fields))
    assert "whole network" not in exact.note


def test_without_a_target_it_is_the_strongest_channel(classifier, image):
    net = HiddenLayer(classifier, "layer3")
    strongest = int(net(image[None])[0, :, 1, 2].argmax())
    found = valid_field(net, image, (1, 2), window=32, stride=32)
    assert found.target == strongest
    assert found.score == pytest.approx(net(image[None])[0, strongest, 1, 2].item())


@pytest.mark.slow
def test_an_atlas_equals_valid_field(classifier, image):
    net = HiddenLayer(classifier, "layer2")
    atlas = FieldAtlas(net, image, 16, 16, every=8).build()
    assert [len(at) for at in atlas.units] == [8, 9]
    occlusion = Occlusion(net, image)
    for pixel in [(0, 0), (7, 8), (0, 8), (7, 0), (3, 5)]:
        ours = atlas.field(pixel)
        theirs = occlusion.field(pixel, None, OcclusionSettings(16, 16))
        assert (ours.target, ours.centre) == (theirs.target, theirs.centre)
        agree(ours.discrepancy, theirs.discrepancy)


@pytest.mark.slow
@pytest.mark.parametrize("layer", ["backbone.bn1", "backbone.layer3.1", "heads.2", "refine_sums.1"])
def test_the_theoretical_field_is_that_of_the_layer(gcn, layer):
    ours = theoretical_field(HiddenLayer(gcn, layer), SIZE)
    theirs = theoretical_field(gcn, SIZE, layer)
    for one, other in ((ours.rows, theirs.rows), (ours.columns, theirs.columns)):
        assert (one.size, one.stride, one.offset) == (other.size, other.stride, other.offset)
        assert one.start.tolist() == other.start.tolist()
        assert one.stop.tolist() == other.stop.tolist()


def test_the_gradient_field_is_that_of_the_layer(gcn, image):
    net, unit = HiddenLayer(gcn, "backbone.layer2"), (3, 4)
    leaf = image.clone()[None].requires_grad_()
    body = gcn.backbone
    stem = body.maxpool(body.relu(body.bn1(body.conv1(leaf))))
    body.layer2(body.layer1(stem))[0, 5, *unit].backward()
    found = gradient_field(net, image, unit, 5)
    agree(found, leaf.grad[0].abs().sum(0))
    top, bottom, left, right = theoretical_field(net, SIZE).box(unit)
    found[max(0, top) : bottom, max(0, left) : right] = 0
    assert not found.any()


@pytest.mark.slow
def test_every_layer_that_is_listed_can_be_cut_at(image):
    torch.manual_seed(0)
    net = SegmentationNet("mini", 4, kernel_size=3).eval()
    layers = layers_with_maps(net, image)
    for layer, shape in layers.items():
        assert tuple(HiddenLayer(net, layer)(image[None]).shape) == (1, *shape), layer
    modules = {name for name, _ in net.named_modules() if name}
    assert set(layers) <= modules
    for layer in modules - set(layers):
        with pytest.raises(ValueError, match="choose one of layers_with_maps"):
            HiddenLayer(net, layer)(image[None])


def test_layers_are_in_the_order_in_which_they_end(classifier, image):
    layers = layers_with_maps(classifier, image)
    order = list(layers)
    assert order[:4] == ["conv1", "bn1", "act1", "maxpool"]
    ends = [order.index(f"layer{n}") for n in (1, 2, 3, 4)]
    assert ends == sorted(ends)
    assert order.index("layer3.1") == ends[2] - 1  # a container after its last child
    assert layers["layer3"] == (256, 4, 5)
    assert not {"", "fc", "global_pool"} & set(layers)  # these return vectors


def test_the_network_is_left_as_it_was(gcn, image):
    net = copy.deepcopy(gcn).train()
    before = {name: value.clone() for name, value in net.state_dict().items()}
    layers_with_maps(net, image)
    valid_field(HiddenLayer(net, "backbone.layer1"), image, (3, 4), 0, 32, 32)
    assert net.training
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())
    assert not any(module._forward_hooks for module in net.modules())


def test_modes_and_weights_are_those_of_the_network(gcn, image):
    model = copy.deepcopy(gcn)
    net = HiddenLayer(model, "backbone.bn1")
    assert not net.training
    assert [id(weight) for weight in net.parameters()] == [id(w) for w in model.parameters()]
    net.train()
    assert model.backbone.bn1.training
    statistics = model.backbone.bn1.running_mean.clone()
    net(torch.cat([image[None], image[None] + 1]))
    assert not torch.equal(model.backbone.bn1.running_mean, statistics)
    model.eval()
    assert HiddenLayer(model.train(), "backbone.bn1").training


def test_a_copy_has_its_own_weights(gcn, image):
    net = HiddenLayer(gcn, "backbone.conv1")
    other = copy.deepcopy(net)
    with torch.no_grad():
        other.model.backbone.conv1.weight.mul_(2)
        torch.testing.assert_close(other(image[None]), 2 * net(image[None]))
    assert "backbone.conv1" in repr(net)


def test_a_failed_pass_leaves_no_hook(gcn):
    net = HiddenLayer(gcn, "backbone.layer4")
    with pytest.raises(Exception, match=r"channels|Type-check"):
        net(torch.zeros(1, 5, *SIZE))  # five channels
    assert not any(module._forward_hooks for module in net.modules())


@pytest.mark.parametrize("kind", ["values", "in_place"])
def test_networks_that_one_pass_cannot_record(kind):
    """The first is run plainly, the second is exported."""

    class Network(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.second = nn.Conv2d(3, 4, 3, padding=1), nn.Conv2d(4, 2, 3, padding=1)

        def forward(self, x):
            x = self.first(x)
            if kind == "values":
                return self.second(x) if x.sum() > -1e9 else x
            x[:, :1] += 1
            return self.second(x)

    torch.manual_seed(0)
    model, image = Network().eval(), torch.randn(3, 12, 16)
    for layer, run in (("first", model.first), ("second", model)):
        occlusion = Occlusion(HiddenLayer(model, layer), image)
        found = occlusion.field((5, 6), 1, OcclusionSettings(4, 4))
        agree(found.discrepancy, by_hand(run, image, (5, 6), 1, 4, 4))
        assert ("cannot be exported" in occlusion.note) == (kind == "values")


def test_passes_of_other_threads_are_not_read(image):
    """Another thread runs the layer on another image, after this thread has."""

    class Network(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = nn.Conv2d(3, 4, 3)

        def forward(self, x):
            x = self.conv(x)
            other = threading.Thread(target=lambda: self.conv(torch.zeros(1, 3, 9, 9)))
            other.start()
            other.join()
            return x

    torch.manual_seed(0)
    model = Network()
    assert torch.equal(HiddenLayer(model, "conv")(image[None]), model.conv(image[None]))
    assert layers_with_maps(model, image) == {"conv": (4, SIZE[0] - 2, SIZE[1] - 2)}


class Kinds(nn.Module):
    """Layers whose outputs are not maps."""

    def __init__(self):
        super().__init__()
        self.several = nn.ModuleDict()
        self.pair, self.ids, self.vector, self.folded = Pair(), Ids(), nn.Flatten(), Folded()
        self.unused, self.last = nn.Conv2d(3, 3, 1), nn.Conv2d(3, 2, 1)

    def forward(self, x):
        for layer in (self.pair, self.ids, self.vector, self.folded):
            layer(x)
        return self.last(x)


class Pair(nn.Module):
    def forward(self, x):
        return x, x


class Ids(nn.Module):
    def forward(self, x):
        return (x > 0).long()


class Folded(nn.Module):
    """Channels become images."""

    def forward(self, x):
        return x.flatten(0, 1)[:, None]


@pytest.mark.parametrize(
    ("layer", "words"),
    [
        ("pair", r"layer 'pair' of Kinds returns a tuple for 1 images, not one map"),
        ("ids", r"returns a tensor \(1, 3, 8, 9\) of int64"),
        ("vector", r"returns a tensor \(1, 216\) of float32"),
        ("folded", r"returns a tensor \(3, 1, 8, 9\) of float32 for 1 images"),
        ("unused", "layer 'unused' of Kinds is not run for this image"),
        ("several", "is not run for this image"),
    ],
)
def test_what_is_not_a_map_is_named(layer, words):
    image = torch.randn(3, 8, 9)
    net = HiddenLayer(Kinds(), layer)
    for call in (lambda: net(image[None]), lambda: valid_field(net, image, (1, 1), 0, 4, 4)):
        with pytest.raises(ValueError, match=words):
            call()
    assert layers_with_maps(net.model, image) == {"last": (2, 8, 9)}


def test_an_unknown_layer_names_the_nearest(gcn):
    for unknown in ("layer4", "backbone.layr4", "backbone.layer4x"):
        words = rf"unknown layer '{unknown}' of Seg.*; did you mean backbone\.layer4\?"
        with pytest.raises(ValueError, match=words):
            HiddenLayer(gcn, unknown)
    with pytest.raises(ValueError, match="unknown layer ''"):
        HiddenLayer(gcn, "")


@pytest.mark.filterwarnings("ignore:.*torch.jit.*")
@pytest.mark.parametrize("traced", [False, True])
def test_a_compiled_network_is_named_and_compiled_parts_are_left_out(traced):
    image = torch.randn(3, 8, 9)
    inner = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU())
    compiled = torch.jit.trace(inner, image[None]) if traced else torch.jit.script(inner)
    for call in (lambda: HiddenLayer(compiled, "0"), lambda: layers_with_maps(compiled, image)):
        with pytest.raises(ValueError, match=r"the model is a torch\.jit\.ScriptModule"):
            call()
    net = nn.Sequential(compiled, nn.Conv2d(4, 2, 1))
    assert layers_with_maps(net, image) == {"1": (2, 6, 7)}
    assert torch.equal(HiddenLayer(net, "1")(image[None]), net(image[None]))
    for layer in ("0", "0.0", "0.1"):
        with pytest.raises(ValueError, match=f"layer '{layer}' is a torch.jit.ScriptModule"):
            HiddenLayer(net, layer)


def test_what_is_not_a_network_or_an_image_is_named(gcn, image, monkeypatch):
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)
    with pytest.raises(TypeError, match="model must be a torch"):
        HiddenLayer("resnet18", "layer4")
    with pytest.raises(TypeError, match="model must be a torch"):
        layers_with_maps("resnet18", image)
    with pytest.raises(ValueError, match=r"use image\[0\]"):
        layers_with_maps(gcn, image[None])
