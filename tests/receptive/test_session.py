import pytest
import torch
from torch import nn

import gcnlab.receptive.incremental
import gcnlab.receptive.session
from gcnlab.models import SegmentationNet
from gcnlab.receptive import OcclusionSession, OcclusionSettings, valid_field
from gcnlab.receptive.graph import Graph, NotTraceable

pytestmark = pytest.mark.slow


def test_fields_are_those_of_each_image_and_the_graph_is_made_once_per_size(monkeypatch):
    torch.manual_seed(0)
    net = SegmentationNet("mini", 3, kernel_size=3)
    exported = []

    def counted(model, image):
        exported.append(tuple(image.shape[-2:]))
        return Graph(model, image)

    monkeypatch.setattr(gcnlab.receptive.session, "Graph", counted)
    session = OcclusionSession(net)
    settings = OcclusionSettings(16, 8)
    for size in [(48, 64), (48, 64), (41, 50)]:
        image = torch.randn(3, *size)
        field = session.on(image).field((20, 30), settings=settings)
        expected = valid_field(net, image, (20, 30), window=16, stride=8, method="plain")
        torch.testing.assert_close(field.discrepancy, expected.discrepancy, atol=1e-5, rtol=1e-4)
    assert exported == [(48, 64), (41, 50)]


def test_a_network_that_cannot_be_exported_is_run_plainly():
    class Twofold(nn.Conv2d):
        def forward(self, x):
            return super().forward(x) * (1 if x.sum() > 0 else 2)  # depends on the image's values

    net, image = Twofold(3, 2, 3, padding=1), torch.rand(3, 12, 12)
    occlusion = OcclusionSession(net).on(image)
    assert "every window runs the whole network: Twofold cannot be exported" in occlusion.note
    field = occlusion.field((5, 5), 0, OcclusionSettings(4, 4))
    expected = valid_field(net, image, (5, 5), 0, window=4, stride=4, method="plain")
    torch.testing.assert_close(field.discrepancy, expected.discrepancy)


def test_what_cannot_be_exported_is_tried_once_per_size(monkeypatch):
    tried = []

    def refused(model, image):
        tried.append(tuple(image.shape[-2:]))
        raise NotTraceable("it cannot be exported")

    for module in (gcnlab.receptive.session, gcnlab.receptive.incremental):
        monkeypatch.setattr(module, "Graph", refused)
    session = OcclusionSession(nn.Conv2d(3, 2, 1))
    notes = [session.on(torch.rand(3, *size)).note for size in [(8, 8), (8, 8), (9, 8)]]
    assert tried == [(8, 8), (9, 8)]
    assert all("it cannot be exported" in note for note in notes)


def test_without_reuse_nothing_is_exported(monkeypatch):
    monkeypatch.setattr(gcnlab.receptive.session, "Graph", lambda *a: pytest.fail("exported"))
    session = OcclusionSession(nn.Conv2d(3, 2, 1), reuse=False)
    field = session.on(torch.rand(3, 8, 8)).field((1, 1), settings=OcclusionSettings(4, 4))
    assert field.discrepancy.shape == (8, 8)
