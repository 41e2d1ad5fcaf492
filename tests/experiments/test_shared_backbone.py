"""Networks on one frozen backbone: their logits at a pixel are those of the whole network."""

import pytest
import torch

from gcnlab.experiments.shared_backbone import (
    Joined,
    backbone_key,
    drops_together,
    logits_at,
    tables_together,
)
from gcnlab.models import SegmentationNet, build_backbone
from gcnlab.receptive import AtlasSettings, FieldAtlas, Occlusion, OcclusionSettings
from gcnlab.receptive.grid import OcclusionGrid
from tests.python import run_python


def network(head, k, refine, backbone=None):
    torch.manual_seed(k)
    model = SegmentationNet(
        backbone or build_backbone("mini"),
        4,
        head=head,
        kernel_size=k,
        refine=refine,
        frozen_backbone=True,
    )
    for parameter in model.parameters():
        if parameter.requires_grad:  # the refinements start at zero, the deconvolutions as bilinear
            parameter.data += 0.1 * torch.randn_like(parameter)
    return model.eval()


@pytest.mark.parametrize("size", [(384, 352), (333, 401)])
@pytest.mark.parametrize(
    ("head", "k", "refine"),
    [
        ("conv1x1", 7, False),
        ("gcn", 3, False),
        ("gcn", 11, False),
        ("gcn", (9, 7, 5, 3), False),
        ("conv", 5, False),
        ("stack", 5, False),
        ("gcn", 3, True),
    ],
)
def test_logits_at_a_pixel_are_those_of_the_whole_network(head, k, refine, size):
    model = network(head, k, refine) if isinstance(k, int) else None
    if model is None:
        model = SegmentationNet("mini", 4, head=head, kernel_size=k, refine=refine).eval()
    images = torch.randn(2, 3, *size)
    height, width = size
    with torch.no_grad():
        expected, features = model(images), model.backbone(images)
        for pixel in [(0, 0), (height - 1, width - 1), (200, 170), (31, 32), (height // 2, 3)]:
            found = logits_at(model, k, features, pixel, size)
            torch.testing.assert_close(found, expected[..., *pixel], rtol=1e-4, atol=1e-4)


@pytest.mark.slow
def test_drops_of_many_networks_are_those_of_each():
    """Also where the image has the value of the window, as in its padding."""
    backbone = build_backbone("mini")
    settings = [("conv1x1", 1), ("gcn", 5), ("gcn", 3)]
    models = [network(head, k, False, backbone) for head, k in settings]
    assert len({backbone_key(model) for model in models}) == 1
    assert backbone_key(network("gcn", 3, False)) != backbone_key(models[0])
    image = torch.randn(3, 96, 80)
    image[:, 60:], image[:, :, 50:] = 0, 0
    grid, pixel = OcclusionGrid((96, 80), 24, 16), (40, 33)
    found = drops_together(models, [k for _, k in settings], image, pixel, grid, batch_size=5)
    for model, drops in zip(models, found):
        occluder = OcclusionSettings(24, 16, method="plain")
        expected = Occlusion(model, image).drops(pixel, occluder)
        assert drops.shape == expected.shape
        torch.testing.assert_close(
            drops.to(expected.dtype), expected, rtol=0, atol=1e-4 * expected.abs().max().item()
        )


def test_a_backbone_that_is_trained_is_not_shared():
    one, other = (SegmentationNet("mini", 4, kernel_size=3) for _ in range(2))
    other.load_state_dict(one.state_dict())
    assert backbone_key(one) != backbone_key(other)


COMPILED = """
import torch
from gcnlab.experiments.shared_backbone import compiled_backbone
from gcnlab.models import build_backbone

torch.manual_seed(0)
backbone = build_backbone("mini").eval()
for module in backbone.modules():  # not the identity that it starts as
    if isinstance(module, torch.nn.BatchNorm2d):
        module.running_mean.uniform_(-1, 1)
        module.running_var.uniform_(0.5, 2)
images = torch.randn(3, 3, 64, 96)
with torch.no_grad():
    for found, expected in zip(compiled_backbone(backbone)(images), backbone(images)):
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)
print("equal")
"""


@pytest.mark.slow
def test_the_compiled_backbone_computes_the_same():
    """In a process of its own: the shape checks of the tests cannot be compiled."""
    done = run_python(COMPILED)
    assert done.stdout.strip() == "equal", done.stderr


@pytest.mark.slow
@pytest.mark.parametrize("every", [1, 4])
def test_tables_are_those_of_each_network_alone(every):
    """Also where the image has the value of the window; batches of 8 do not divide the windows."""
    backbone = build_backbone("mini")
    models = [network("conv1x1", 1, False, backbone), network("gcn", 3, True, backbone)]
    image = torch.randn(3, 96, 80)
    image[:, 64:] = 0
    settings = AtlasSettings(16, 8, target=(2, 0), every=every)
    tables = tables_together(models, image, settings, 8)
    with torch.no_grad():
        joined = Joined(models)(image[None])
    for i, (model, table) in enumerate(zip(models, tables)):
        atlas = FieldAtlas(model, image, 16, 8, target=(2, 0), every=every, reuse=False).build()
        assert table.complete
        assert table.settings == atlas.settings
        rounding = {"atol": 1e-4, "rtol": 1e-4}
        torch.testing.assert_close(table.values, atlas.table.values, **rounding)
        torch.testing.assert_close(table.score, atlas.table.score, **rounding)
        assert torch.equal(table.predicted, atlas.table.predicted)
        assert (table.image_size, table.map_size) == ((96, 80), (96, 80))
        assert table.image_hash == atlas.table.image_hash
        with torch.no_grad():
            alone = model(image[None])
        torch.testing.assert_close(joined[:, 4 * i : 4 * i + 4], alone, **rounding)
