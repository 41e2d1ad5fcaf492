import pytest
import torch
from torch import nn

from gcnlab.models import (
    BACKBONES,
    BoundaryRefinement,
    GlobalConvBlock,
    SegmentationNet,
    build_backbone,
)
from gcnlab.models.upsampling import BilinearDeconv

pytestmark = pytest.mark.slow

HEADS = ("conv1x1", "gcn", "conv", "stack")


@pytest.mark.parametrize("head", HEADS)
@pytest.mark.parametrize("backbone", BACKBONES)
def test_every_head_on_every_backbone_runs_forward_and_backward_at_odd_sizes(backbone, head):
    net = SegmentationNet(backbone, 3, head, kernel_size=3, mid_channels=4)
    image = torch.randn(2, 3, 45, 67)
    scores = net(image)
    assert scores.shape == (2, 3, 45, 67)
    scores.square().mean().backward()
    idle = [name for name, p in net.named_parameters() if p.grad is None]
    assert not idle


@pytest.mark.parametrize("size", [(32, 32), (33, 64), (1, 1), (31, 100), (64, 17)])
@pytest.mark.parametrize("upsample", ["deconv", "bilinear"])
def test_any_input_size(size, upsample):
    net = SegmentationNet("mini", 4, kernel_size=3, upsample=upsample).eval()
    assert net(torch.randn(1, 3, *size)).shape == (1, 4, *size)


def test_nine_boundary_refinements_and_five_deconvolutions():
    net = SegmentationNet("mini", 4)
    assert sum(isinstance(m, BoundaryRefinement) for m in net.modules()) == 9
    assert sum(isinstance(m, BilinearDeconv) for m in net.modules()) == 5
    plain = SegmentationNet("mini", 4, refine=False, upsample="bilinear")
    assert not any(isinstance(m, BoundaryRefinement | BilinearDeconv) for m in plain.modules())


def test_refinement_sits_where_figure_2_has_it():
    """Order of the calls: a head's BR before its sum, a sum's BR before its upsampling, one BR after
    each of the last two upsamplings and none after the first three."""
    net = SegmentationNet("mini", 4, kernel_size=3).eval()
    calls = []
    for _name, module in net.named_modules():
        if isinstance(module, BoundaryRefinement | BilinearDeconv):
            kind = "BR" if isinstance(module, BoundaryRefinement) else "up"
            module.register_forward_hook(
                lambda m, i, o, kind=kind: calls.append((kind, o.shape[-1]))
            )
    net(torch.randn(1, 3, 512, 512))
    assert calls[:4] == [("BR", 128), ("BR", 64), ("BR", 32), ("BR", 16)]
    assert calls[4:] == [
        ("up", 32), ("BR", 32), ("up", 64), ("BR", 64), ("up", 128), ("BR", 128),
        ("up", 256), ("BR", 256), ("up", 512), ("BR", 512),
    ]  # fmt: skip


def test_pixels_stay_in_their_place():
    """A network of pure copies returns each coarse logit at the position of its pixel, also at odd sizes: with
    one head alive, scores equal repeated bilinear doubling of that level, cut to the input."""
    net = SegmentationNet("mini", 2, "conv1x1", refine=False).eval()
    for head in net.heads[:3]:
        nn.init.zeros_(head.weight)
    image = torch.randn(1, 3, 75, 101)
    scores = net.heads[3](net.backbone(image)[3])
    for height, width in ((5, 7), (10, 13), (19, 26), (38, 52), (75, 101)):
        scores = nn.functional.interpolate(scores, scale_factor=2, mode="bilinear")
        scores = scores[..., :height, :width]
    torch.testing.assert_close(net(image), scores)


def test_one_kernel_size_per_level():
    net = SegmentationNet("mini", 2, kernel_size=[3, 5, 7, 9])
    assert [h.branch_a[0].kernel_size[0] for h in net.heads] == [3, 5, 7, 9]
    assert all(isinstance(h, GlobalConvBlock) for h in net.heads)
    with pytest.raises(ValueError, match="one value per level"):
        SegmentationNet("mini", 2, kernel_size=[3, 5])


def test_a_backbone_may_be_a_module():
    backbone = build_backbone("mini", frozen_norm=True)
    assert SegmentationNet(backbone, 2).backbone is backbone


def test_bad_arguments_are_named():
    with pytest.raises(ValueError, match="num_classes"):
        SegmentationNet("mini", 0)
    with pytest.raises(ValueError, match="odd"):
        SegmentationNet("mini", 2, kernel_size=4)


def test_inner_widths_of_stacks_are_per_level():
    net = SegmentationNet("mini", 3, "stack", kernel_size=5, mid_channels=(2, 4, 6, 8))
    first = [next(head.parameters()) for head in net.heads]
    assert [len(weight) for weight in first] == [2, 4, 6, 8]
    with pytest.raises(ValueError, match=r"mid_channels needs one value per level \(4\)"):
        SegmentationNet("mini", 3, "stack", kernel_size=5, mid_channels=(2, 4))
