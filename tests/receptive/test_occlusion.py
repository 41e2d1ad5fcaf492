import pytest
import torch
from captum.attr import Occlusion as CaptumOcclusion
from torch import nn

from gcnlab.models import SegmentationNet
from gcnlab.receptive import Occlusion, OcclusionSettings, valid_field

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def net():
    torch.manual_seed(0)
    net = SegmentationNet("mini", 4, kernel_size=5).eval()
    for refinement in (*net.refine_heads, *net.refine_sums, *net.refine_outputs):
        nn.init.normal_(refinement.residual[2].weight, std=0.1)
    return net


@pytest.mark.parametrize(
    ("size", "pixel", "window", "stride", "fill", "batch_size"),
    [
        ((64, 64), (30, 33), 16, 8, 0.0, 16),
        ((61, 83), (0, 82), 17, 9, 0.0, 5),  # last windows are cut at the border
        ((50, 47), (49, 0), (20, 11), (7, 11), -1.5, 1),
        ((40, 40), (20, 20), 40, 40, 0.0, 16),  # one window: the whole image
    ],
)
def test_equals_captums_occlusion(net, size, pixel, window, stride, fill, batch_size):
    image = torch.randn(3, *size)
    field = valid_field(
        net, image, pixel, 2, window=window, stride=stride, fill=fill, batch_size=batch_size
    )
    pair = lambda value: (value, value) if isinstance(value, int) else value  # noqa: E731
    captum = CaptumOcclusion(net).attribute(
        image[None],
        sliding_window_shapes=(3, *pair(window)),
        strides=(3, *pair(stride)),
        target=(2, *pixel),
        baselines=fill,
    )
    torch.testing.assert_close(field.discrepancy, captum[0, 0], atol=1e-4, rtol=1e-4)


def test_equals_a_hand_computation():
    """A 1×1 network with weight 2 on the red channel, read at pixel (1, 2): only windows over that
    pixel matter, and hiding it costs 2 × its red value."""
    model = nn.Conv2d(3, 1, 1, bias=False)
    model.weight.data = torch.tensor([2.0, 0, 0])[None, :, None, None]
    image = torch.arange(48.0).reshape(3, 4, 4)
    field = valid_field(model, image, (1, 2), window=2, stride=1)
    drop = 2 * 6.0  # red at (1, 2)
    # Of the windows that cover a pixel, the share that also covers (1, 2):
    share = torch.tensor(
        [[0, 1 / 2, 1, 1], [0, 1 / 2, 1, 1], [0, 1 / 4, 1 / 2, 1 / 2], [0, 0, 0, 0]]
    )
    torch.testing.assert_close(field.discrepancy, drop * share)
    assert field.score == drop


def test_without_a_target_it_takes_the_predicted_class(net):
    image = torch.randn(3, 40, 40)
    with torch.no_grad():
        predicted = int(net(image[None])[0, :, 20, 20].argmax())
    field = valid_field(net, image, (20, 20), window=20, stride=20)
    assert field.target == predicted


def test_region_and_coverage_follow_their_definitions(net):
    image = torch.randn(3, 48, 48)
    field = valid_field(net, image, (24, 24), window=12, stride=6)
    size = field.discrepancy.abs()
    region = field.region(0.3)
    assert torch.equal(region, size >= 0.3 * size.max())
    mask = torch.zeros(48, 48, dtype=torch.bool)
    mask[10:30, 20:40] = True
    assert field.coverage(mask, 0.3) == pytest.approx(region[10:30, 20:40].float().mean().item())
    assert field.coverage(region, 0.3) == 1.0


def test_a_unit_that_nothing_drives_has_an_empty_region():
    model = nn.Conv2d(3, 2, 1)
    nn.init.zeros_(model.weight)
    field = valid_field(model, torch.randn(3, 8, 8), (4, 4), window=4, stride=4)
    assert not field.region(0.2).any()


def test_the_network_is_left_as_it_was(net):
    net.train()
    statistics = net.backbone.bn1.running_mean.clone()
    valid_field(net, torch.randn(3, 32, 32), (5, 5), window=16, stride=16)
    assert net.training
    assert torch.equal(net.backbone.bn1.running_mean, statistics)
    net.eval()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"window": 9}, "window"),
        ({"window": 0}, "window"),
        ({"stride": 5}, "stride"),
        ({"stride": 0}, "stride"),
        ({"batch_size": 0}, "batch_size"),
        ({"method": "magic"}, "method"),
        ({"pixel": (8, 8)}, "pixel"),
        ({"target": 7}, "target"),
        ({"image": torch.zeros(3, 8, 8, dtype=torch.uint8)}, "normalised|Float"),
    ],
)
def test_bad_arguments_are_named(change, message):
    arguments = {"image": torch.zeros(3, 8, 8), "pixel": (1, 1), "window": 4, "stride": 4} | change
    with pytest.raises((ValueError, TypeError), match=message):
        valid_field(nn.Conv2d(3, 2, 1), **arguments)


@pytest.mark.parametrize("threshold", [0.0, -1.0, 1.5])
def test_the_threshold_is_a_fraction(threshold):
    field = valid_field(nn.Conv2d(3, 2, 1), torch.randn(3, 8, 8), (1, 1), window=4, stride=4)
    with pytest.raises(ValueError, match="threshold"):
        field.region(threshold)


def test_coverage_of_nothing_is_refused():
    field = valid_field(nn.Conv2d(3, 2, 1), torch.randn(3, 8, 8), (1, 1), window=4, stride=4)
    with pytest.raises(ValueError, match="empty"):
        field.coverage(torch.zeros(8, 8, dtype=torch.bool))


@pytest.mark.parametrize("reuse", [True, False])
def test_on_progress_is_called_after_every_batch_and_can_cancel_what_was_run_is_kept(net, reuse):
    class Enough(Exception):
        pass

    shares = []

    def on_progress(share):
        shares.append(share)
        if len(shares) == 2:
            raise Enough

    occlusion = Occlusion(net, torch.randn(3, 48, 48), reuse=reuse)
    settings = OcclusionSettings(16, 16, batch_size=3)
    with pytest.raises(Enough):
        list(occlusion.steps((20, 20), 1, settings, on_progress=on_progress))
    before = shares.copy()
    assert 0 < before[0] < before[1] < 1
    (field,) = occlusion.steps((20, 20), 1, settings, on_progress=shares.append)
    assert shares[-1] == 1
    # Nine windows in all; the second call ran only those that the first one had not.
    assert shares[2] * 9 * (1 - before[1]) <= 3 + 1e-9
    fresh = valid_field(net, occlusion.image, (20, 20), 1, 16, 16, method="plain")
    torch.testing.assert_close(field.discrepancy, fresh.discrepancy, atol=1e-5, rtol=1e-4)
