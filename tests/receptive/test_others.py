"""The exact field of others' networks is the plain one; the table is `data/results/receptive/others.json`."""

import pytest
import torch

from gcnlab.receptive import Occlusion, OcclusionSettings
from tests.receptive.others import OTHERS, SIDE, build


@pytest.mark.parametrize("name", OTHERS)
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
