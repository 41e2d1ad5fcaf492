"""Operations proven to be local reuse activations; others run on their whole input and are named."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from gcnlab.receptive import Occlusion, OcclusionSettings, gradient_field, theoretical_field
from gcnlab.receptive.graph import Graph
from tests.receptive.networks import Around, Function

pytestmark = pytest.mark.slow


def between(layer, size=(24, 28)):
    """The layer between two convolutions, and an image."""
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), layer, nn.Conv2d(4, 3, 3, padding=1))
    return net.double().eval(), torch.randn(3, *size, dtype=torch.float64)


def whole(layer):
    net, image = between(layer)
    return [o.name for o in Graph(net, image[None]).operations if not o.local]


LOCAL = {
    "a slice of the batch": lambda x: x[: len(x)],
    "padding as large as the map": lambda x: F.pad(x, (0, 64, 30, 0))[..., 30:, :28],
    "a shift by padding": lambda x: F.pad(x, (2, -2, -1, 1)),
    "padding with a value": lambda x: F.pad(x, (1, 1, 1, 1), value=3.0)[..., 1:-1, 1:-1],
    "replicated borders": lambda x: F.pad(x, (2, 0, 0, 1), mode="replicate")[..., :-1, 2:],
    "more channels": lambda x: F.pad(x, (0, 0, 0, 0, 1, 0))[:, :-1],
    "mean over the channels": lambda x: x * x.mean(1, keepdim=True).sigmoid(),
    "maximum over the channels": lambda x: x + x.max(1, keepdim=True)[0],
    "a sum spread over channels": lambda x: x[:, :1] + x.flip(1),
    "channels in another order": lambda x: x[:, [2, 1, 0, 3]],
    "channels in two halves": lambda x: torch.cat(x.chunk(2, 1)[::-1], 1),
    "one below the other": lambda x: torch.cat([x[:, :, :9], x[:, :, 9:]], 2),
    "zeros beside it": lambda x: torch.cat([torch.zeros_like(x[..., :2]), x], 3)[..., 2:],
    "strided slices": lambda x: F.interpolate(x[..., ::2, 1::2], scale_factor=2.0),
    "a constant for each place": lambda x: x * torch.linspace(0, 1, 28, dtype=x.dtype),
    "interpolation with antialiasing": lambda x: F.interpolate(
        F.interpolate(x, (12, 14), mode="bilinear", antialias=True), (24, 28)
    ),
    "the same shape again": lambda x: x.view(x.shape).expand(x.shape),
}


@pytest.mark.parametrize("name", LOCAL)
def test_these_are_local_and_exact(name):
    net, image = between(Function(LOCAL[name]))
    occlusion = Occlusion(net, image)
    exact = occlusion.field((12, 14), 0, OcclusionSettings(6, 4))
    assert occlusion.note == ""
    plain = Occlusion(net, image, reuse=False).field((12, 14), 0, OcclusionSettings(6, 4))
    torch.testing.assert_close(exact.discrepancy, plain.discrepancy, atol=1e-9, rtol=0)


WHOLE = {
    "channels folded into the batch": (
        lambda x: x.reshape(-1, 1, *x.shape[2:]).relu().reshape(x.shape),
        "view",
    ),
    "mirrored copies in the batch": (lambda x: torch.cat([x, x.flip(-1)])[:1], "flip"),
    "copies in the batch": (lambda x: sum(torch.cat([x, 2 * x]).chunk(2)), "cat"),
    "a shift that wraps": (lambda x: x.roll(1, 2), "roll"),
    "reflected borders": (lambda x: F.pad(x, (1, 1, 1, 1), mode="reflect")[..., 1:-1, 1:-1], "pad"),
    "rows and columns exchanged": (lambda x: x.transpose(2, 3).transpose(2, 3), "transpose"),
    "statistics of the image": (lambda x: F.batch_norm(x, None, None, training=True), "batch_norm"),
    "unpadded average": (
        lambda x: F.avg_pool2d(x, 3, 1, 1, count_include_pad=False),
        "avg_pool2d",
    ),
    "mean over rows": (lambda x: x + x.mean(2, keepdim=True), "mean"),
}


@pytest.mark.parametrize("name", WHOLE)
def test_these_are_run_as_a_whole_and_named(name):
    function, operation = WHOLE[name]
    assert any(operation in named for named in whole(Function(function))), whole(Function(function))


JUMPS = {
    "a mask by comparison": lambda x: torch.where(x > 0, x, 0.1 * x),
    "a product with a mask": lambda x: x * (x > 0),
    "a filled mask": lambda x: x.masked_fill(x < 0, 0.0),
    "a confident class": lambda x: x * (x.argmax(1, keepdim=True) == 1),
    "rounding": lambda x: x + x.round(),
    "unpooling": lambda x: F.max_unpool2d(*F.max_pool2d(x, 2, return_indices=True), 2),
    "infinity made finite": lambda x: x.relu().log().nan_to_num(neginf=-5.0),
    "an angle": lambda x: torch.atan2(x, x.flip(1)),
    "half precision inside": lambda x: x.half().to(x.dtype),
    "the best k": lambda x: x * x.topk(2, 1)[1][:, :1],
}


@pytest.mark.parametrize("name", JUMPS)
def test_results_that_jump_go_the_plain_way(name):
    """Inside an occluder all values are equal: rounding would decide which is the largest."""
    net, image = between(Function(JUMPS[name]))
    occlusion = Occlusion(net, image)
    assert "jumps" in occlusion.note or "whose rounding shows" in occlusion.note
    field = occlusion.field((12, 14), 0, OcclusionSettings(6, 4))
    assert field.note == occlusion.note
    plain = Occlusion(net, image, reuse=False).field((12, 14), 0, OcclusionSettings(6, 4))
    torch.testing.assert_close(field.discrepancy, plain.discrepancy, atol=0, rtol=0)


def test_the_answers_of_max_pooling_are_local_if_only_the_maxima_are_read():
    pool = Function(lambda x: F.max_pool2d(x, 2, return_indices=True)[0])
    assert whole(nn.Sequential(pool, nn.Upsample(scale_factor=2))) == []


def test_minus_infinity_inside_is_no_difference():
    """A mask of −∞ has no finite difference: such windows are run by the plain method."""
    mask = torch.zeros(1, 4, 24, 28, dtype=torch.float64)
    mask[:, :2] = float("-inf")
    net, image = between(Function(lambda x: (x.exp().log() + mask).softmax(1)))
    exact, plain = (
        Occlusion(net, image, reuse=r).field((12, 14), 0, OcclusionSettings(6, 4))
        for r in (True, False)
    )
    torch.testing.assert_close(exact.discrepancy, plain.discrepancy, atol=1e-9, rtol=0)


@pytest.mark.parametrize("rows", [-3, -1, 0, 2])
@pytest.mark.parametrize("columns", [-2, 0, 1])
def test_a_shift_moves_the_theoretical_field(rows, columns):
    net = Around(
        nn.Conv2d(3, 2, 1), lambda f, x: f(F.pad(x, (columns, -columns, rows, -rows)))
    ).eval()
    image = torch.rand(3, 12, 13)
    seen = gradient_field(net, image, (6, 7)).nonzero().tolist()
    assert seen == [[6 - rows, 7 - columns]]
    assert theoretical_field(net, (12, 13)).box((6, 7)) == (
        6 - rows,
        7 - rows,
        7 - columns,
        8 - columns,
    )


def test_a_unit_in_the_padding_sees_what_would_lie_there():
    """The field is that of an image that continues beyond its border."""
    net = Around(nn.Conv2d(3, 2, 1), lambda f, x: f(F.pad(x, (0, 0, 5, 0))))
    assert theoretical_field(net, 8).box((2, 3)) == (-3, -2, 3, 4)


def test_rows_between_the_windows_of_a_transposed_convolution_see_nothing():
    net = nn.ConvTranspose2d(3, 2, 1, stride=3)
    field = theoretical_field(net, 5)
    assert field.box((3, 3)) == (1, 2, 1, 2)
    top, bottom, *_ = field.box((4, 3))
    assert top == bottom
    image = torch.rand(3, 5, 5)
    assert not gradient_field(net, image, (4, 3), 0).any()


CAUSES = {
    "attention": (
        Function(lambda x: (x.flatten(2) @ (x.flatten(2).mT @ x.flatten(2))).view_as(x)),
        "matmul",
    ),
    "group norm": (nn.GroupNorm(2, 4), "group_norm"),
    "pooling to one value": (
        Function(lambda x: x * F.adaptive_avg_pool2d(x, 1)),
        "adaptive_avg_pool2d",
    ),
    "mean over the map": (Function(lambda x: x - x.mean((2, 3), keepdim=True)), "mean"),
    "a mean that is reshaped": (
        Around(nn.Linear(4, 4), lambda f, x: x * f(x.mean((2, 3)))[..., None, None]),
        "mean",
    ),
    "what only rearranges": (Function(lambda x: x.roll(1, 3)), "roll"),
}


@pytest.mark.parametrize("name", CAUSES)
def test_the_theoretical_field_names_the_cause(name):
    layer, operation = CAUSES[name]
    net, _ = between(layer)
    assert operation in theoretical_field(net, (24, 28)).unknown_beyond


def test_a_map_that_is_its_own_weights_is_not_local():
    net = Around(nn.Conv2d(3, 2, 3, padding=1), lambda f, x: F.conv2d(f(x), f(x)[:, :, :3, :3]))
    assert "conv2d" in theoretical_field(net, 12).unknown_beyond
    own = Around(nn.Conv2d(3, 1, 1), lambda f, x: (lambda y: F.conv2d(y, y, padding=5))(f(x)))
    assert "conv2d" in theoretical_field(own, 12).unknown_beyond


def test_masks_do_not_hide_the_theoretical_field():
    net, image = between(Function(lambda x: torch.where(x > 0, x, 0.1 * x)))
    assert theoretical_field(net, tuple(image.shape[-2:])).rows.size == 5


def test_levels_that_meet_at_an_odd_size_have_a_field_without_one_stride():
    """33 rows → 17 → 33: the way down and up again steps by 2 · 17/33, the way across by 1."""
    down = nn.Conv2d(3, 3, 3, 2, 1)
    net = Around(down, lambda f, x: x + F.interpolate(f(x), size=x.shape[-2:], mode="nearest"))
    field = theoretical_field(net, 33)
    assert field.unknown_beyond is None
    assert field.rows.stride is None
    assert "without a uniform stride" in str(field)
    for unit in [(0, 0), (16, 17), (32, 1)]:
        rows, columns = gradient_field(net, torch.rand(3, 33, 33), unit, 0).nonzero().unbind(1)
        top, bottom, left, right = field.box(unit)
        assert (max(0, top), min(33, bottom)) == (rows.min(), rows.max() + 1)
        assert (max(0, left), min(33, right)) == (columns.min(), columns.max() + 1)
