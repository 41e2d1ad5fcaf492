"""The exact field of others' networks is the plain one; the table is `data/results/receptive/others.json`."""

import pytest
import torch

from gcnlab.receptive import Occlusion, OcclusionSettings
from tests.receptive.others import OTHERS, SIDE, build

pytestmark = pytest.mark.slow


# Every day, one network of each kind: test_incremental.py has torchvision's, and the decoders of Unet,
# PSPNet and Segformer stand for those of FPN, DeepLabV3+, PAN and MAnet.
WEEKLY = (
    "torchvision fcn_resnet50",
    "torchvision deeplabv3_mobilenet_v3_large",
    "torchvision lraspp_mobilenet_v3_large",
    "smp FPN, ResNet-18",
    "smp DeepLabV3Plus, ResNet-18",
    "smp PAN, ResNet-18",
    "smp MAnet, ResNet-18",
)


@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=[pytest.mark.weekly] if n in WEEKLY else []) for n in OTHERS]
)
def test_the_exact_field_is_the_plain_one(name):
    net = build(name).double()
    image = torch.randn(3, SIDE, SIDE, dtype=torch.float64)
    exact, plain = Occlusion(net, image), Occlusion(net, image, reuse=False)
    settings = OcclusionSettings(64, 64)
    fields = [o.field((70, 9), 1, settings).discrepancy for o in (exact, plain)]
    scale = fields[1].abs().max()
    assert scale > 0
    assert (fields[0] - fields[1]).abs().max() <= 1e-4 * scale
    assert "differs from the plain method by" not in exact.note
