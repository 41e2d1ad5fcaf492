"""Logits of changed images from kept activations, compared with running the network on each."""

from random import Random

import captum.attr
import pytest
import torch
import torchvision
from hypothesis import HealthCheck, Phase, given, note, settings
from hypothesis import strategies as st
from torch import nn

from gcnlab.models import SegmentationNet
from gcnlab.models.logits import logits_of
from gcnlab.receptive import Occlusion, OcclusionSettings, valid_field
from gcnlab.receptive.graph import Graph
from gcnlab.receptive.incremental import IncrementalNet
from tests.receptive.networks import LAYERS, Attention, C, random_network

pytestmark = [
    pytest.mark.slow,
    # PyTorch says so once for convolutions that random networks may well have.
    pytest.mark.filterwarnings("ignore:Using padding='same'"),
    # A random network may fail its check, and then goes the plain way: one of 2,000 did.
    pytest.mark.filterwarnings("ignore:.*every window runs the whole network"),
]


def agree(ours, theirs):
    """Equal within 1e-4 of the largest value."""
    scale = theirs.abs().max().clamp(min=1e-3)
    torch.testing.assert_close(ours / scale, theirs / scale, atol=1e-4, rtol=0)


@pytest.mark.parametrize("examples", [10, pytest.param(100, marks=pytest.mark.weekly)])
def test_random_networks_equal_captum(examples):
    settings(
        deadline=None,
        max_examples=examples,
        suppress_health_check=list(HealthCheck),
        phases=[Phase.explicit, Phase.reuse, Phase.generate],  # a network takes too long to shrink
    )(equals_captum)()


@given(st.integers(0, 2**32), st.data())
def equals_captum(seed, data):
    drawn = random_network(seed)
    note(str(drawn.model))
    image = drawn.image
    rows, columns = drawn.size
    pixel = data.draw(st.integers(0, rows - 1)), data.draw(st.integers(0, columns - 1))
    window = tuple(data.draw(st.integers(1, n)) for n in image.shape[-2:])
    stride = tuple(data.draw(st.integers(max(1, w // 3), w)) for w in window)
    target, fill = data.draw(st.integers(0, 2)), data.draw(st.sampled_from([0.0, -1.5]))
    batch_size = data.draw(st.integers(1, 16))
    field = valid_field(
        drawn.model, image, pixel, target, window, stride, fill, batch_size=batch_size
    )
    theirs = captum.attr.Occlusion(lambda images: logits_of(drawn.model, images)).attribute(
        image[None],
        sliding_window_shapes=(3, *window),
        strides=(3, *stride),
        target=(target, *pixel),
        baselines=fill,
        perturbations_per_eval=1,  # some networks mix the images of a batch
    )
    agree(field.discrepancy, theirs[0, 0])


@pytest.mark.parametrize("kind", LAYERS, ids=lambda kind: kind.__name__)
def test_each_kind_of_layer_equals_the_plain_way(kind):
    """Three of each kind, a 3×3 convolution before and after; windows far from the unit and on it."""
    for seed in range(3):
        d = Random(f"{kind.__name__} {seed}")
        torch.manual_seed(seed)
        stem, head = nn.Conv2d(3, C, 3, padding=1), nn.Conv2d(C, 3, 3, padding=1)
        net = nn.Sequential(stem, kind(d), head).double().eval()
        image = torch.randn(3, 24, 26, dtype=torch.float64)  # even: unpooling takes no other
        exact, plain = Occlusion(net, image), Occlusion(net, image, reuse=False)
        rows, columns = plain.score_map.shape[-2:]
        for pixel in [(0, 0), (rows // 2, columns // 2), (rows - 1, columns - 1)]:
            fields = [
                o.field(pixel, 1, OcclusionSettings((6, 5), 4, batch_size=8))
                for o in (exact, plain)
            ]
            agree(*(f.discrepancy for f in fields))


@pytest.mark.parametrize("upsample", ["deconv", "bilinear"])
def test_a_gcn_at_an_odd_size(upsample):
    """Corners, blocks of one and of many windows; all of it can be reused."""
    torch.manual_seed(0)
    net = SegmentationNet("mini", 4, kernel_size=7, upsample=upsample).eval()
    for refinement in (*net.refine_heads, *net.refine_sums, *net.refine_outputs):
        nn.init.normal_(refinement.residual[2].weight, std=0.1)
    image = torch.randn(3, 61, 83)
    graph = Graph(net, image[None])
    for pixel, batch_size in [((0, 0), 1), ((60, 82), 16), ((31, 5), 4)]:
        occlusion = Occlusion(net, image, graph=graph)
        exact = occlusion.field(pixel, 1, OcclusionSettings(15, 9, batch_size=batch_size))
        plain = valid_field(net, image, pixel, 1, 15, 9, method="plain")
        agree(exact.discrepancy, plain.discrepancy)
        assert occlusion.note == ""
        assert occlusion.savings(pixel, OcclusionSettings(15, 9, batch_size=batch_size)) > 1


@pytest.mark.parametrize("name", ["mini_gcn", "resnet18"])
def test_other_backbones(name):
    torch.manual_seed(0)
    net = SegmentationNet(name, 3, kernel_size=5).eval()
    image = torch.randn(3, 65, 70)
    exact, plain = (
        valid_field(net, image, (30, 40), 1, 32, 32, method=m) for m in ("exact", "plain")
    )
    agree(exact.discrepancy, plain.discrepancy)


@pytest.mark.parametrize(
    ("name", "whole"),
    [
        ("fcn_resnet50", []),
        ("deeplabv3_resnet50", ["classifier.0.convs.4.0 (adaptive_avg_pool2d)"]),
        ("lraspp_mobilenet_v3_large", ["backbone.4.block.2.avgpool (adaptive_avg_pool2d)"]),
    ],
)
def test_torchvisions_networks(name, whole):
    torch.manual_seed(0)
    net = getattr(torchvision.models.segmentation, name)(
        weights=None, weights_backbone=None, num_classes=5
    ).eval()
    image = torch.randn(3, 65, 72)
    occlusion = Occlusion(net, image)
    exact = occlusion.field((20, 30), 2, OcclusionSettings(32, 32))
    plain = valid_field(net, image, (20, 30), 2, 32, 32, method="plain")
    agree(exact.discrepancy, plain.discrepancy)
    assert all(layer in occlusion.note for layer in whole)
    assert bool(occlusion.note) == bool(whole)


def test_what_cannot_be_exported_is_run_whole_and_says_so():
    class Moody(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = nn.Conv2d(3, 2, 3, padding=1)

        def forward(self, x):
            return self.conv(x) if float(x.mean()) > -100 else x[:, :2]

    torch.manual_seed(0)
    net, image = Moody(), torch.randn(3, 16, 16)
    occlusion = Occlusion(net, image)
    assert "every window runs the whole network" in occlusion.note
    plain = valid_field(net, image, (8, 8), 0, 4, 4, method="plain")
    agree(occlusion.field((8, 8), 0, OcclusionSettings(4, 4)).discrepancy, plain.discrepancy)


def test_attention_is_computed_whole_and_named():
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(3, 4, 3, 2, 1), Attention(), nn.Conv2d(4, 2, 1)).eval()
    assert "computed on the whole map" in Occlusion(net, torch.randn(3, 20, 20)).note


def test_only_the_meeting_of_both_cones_is_counted():
    """Two 3×3 convolutions, 1 channel. A change of one pixel reaches 3×3 positions of the first map; the unit at the
    same place reads 3×3 of them: 9 positions × 9 weights, then 1 position × 9 weights."""
    net = nn.Sequential(
        nn.Conv2d(1, 1, 3, padding=1, bias=False), nn.Conv2d(1, 1, 3, padding=1, bias=False)
    )
    incremental = IncrementalNet(net, torch.randn(1, 11, 11))
    assert incremental.macs == 2 * 9 * 121
    at, next_to = ([(5, 6)], [(5, 6)]), ([(5, 6)], [(7, 8)])
    assert incremental.plan(*at, [(0, 0)], (5, 5), 1).macs == 9 * 9 + 9
    # Two columns away only one column of the first map is both reached and read.
    assert incremental.plan(*next_to, [(0, 0)], (5, 5), 1).macs == 3 * 9 + 9
    out_of_sight = incremental.plan([(0, 1)], [(0, 1)], [(0, 0)], (5, 5), 1)
    assert out_of_sight.macs == 0
    ((_, change),) = incremental.changes(out_of_sight, [(0, 1)], [(0, 1)], torch.zeros(1, 11, 11))
    assert change.tolist() == [[0.0]]


def test_small_changes_are_not_rounded_away():
    """A score of about 1e6 whose change is about 1: the difference of two such numbers keeps few digits."""
    torch.manual_seed(0)
    net = nn.Conv2d(1, 1, 1, bias=True)
    nn.init.constant_(net.bias, 1e6)
    nn.init.constant_(net.weight, 1.0)
    image = torch.full((1, 4, 4), 0.123456)
    field = valid_field(net, image, (1, 1), 0, 1, 1)
    assert field.discrepancy[1, 1].item() == pytest.approx(0.123456, rel=1e-6)


def test_the_network_and_the_image_are_left_as_they_were():
    torch.manual_seed(0)
    net = SegmentationNet("mini", 3, kernel_size=3)
    state = {name: value.clone() for name, value in net.state_dict().items()}
    image = torch.randn(3, 40, 40)
    copy = image.clone()
    net.train()
    valid_field(net, image, (3, 3), 0, 16, 16)
    assert net.training
    assert torch.equal(image, copy)
    assert all(torch.equal(value, state[name]) for name, value in net.state_dict().items())


def test_double_precision():
    torch.manual_seed(0)
    net = SegmentationNet("mini", 3, kernel_size=3, upsample="bilinear").double().eval()
    image = torch.randn(3, 40, 40).double()
    exact, plain = (
        valid_field(net, image, (3, 30), 0, 16, 16, method=m) for m in ("exact", "plain")
    )
    torch.testing.assert_close(exact.discrepancy, plain.discrepancy, atol=1e-7, rtol=1e-6)
