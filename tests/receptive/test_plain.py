"""The plain method, the check against it, and how failures are handled."""

import functools
import warnings

import pytest
import torch
from torch import nn
from torch.nn import functional as F

import gcnlab.receptive.incremental
from gcnlab.receptive import (
    Occlusion,
    OcclusionSession,
    OcclusionSettings,
    gradient_field,
    theoretical_field,
    valid_field,
)
from gcnlab.receptive.graph import Graph
from tests.receptive.networks import Around

pytestmark = pytest.mark.slow


def by_hand(net, image, pixel, window, stride):
    """The field of class 0, window by window, one image at a time."""
    total, count = torch.zeros(image.shape[-2:]), torch.zeros(image.shape[-2:])
    with torch.no_grad():
        clean = net(image[None].clone())[0, 0, pixel[0], pixel[1]]
        for top in range(0, image.shape[1] - window + 1, stride):
            for left in range(0, image.shape[2] - window + 1, stride):
                changed = image.clone()
                changed[:, top : top + window, left : left + window] = 0
                drop = clean - net(changed[None])[0, 0, pixel[0], pixel[1]]
                total[top : top + window, left : left + window] += drop
                count[top : top + window, left : left + window] += 1
    return total / count


class MixesTheBatch(nn.Conv2d):
    def forward(self, x):
        y = super().forward(x)
        return y - y.mean(0, keepdim=True) + y.mean((0, 2, 3), keepdim=True)


class OneScoreMap(nn.Conv2d):
    def forward(self, x):
        return super().forward(x)[:1]


class OneImage(nn.Conv2d):
    def forward(self, x):
        return super().forward(x.view(3, 12, 12)[None])


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        (MixesTheBatch, "mixes the images of a batch"),
        (OneScoreMap, "one image at a time"),
        (OneImage, "one image at a time"),
    ],
)
def test_images_that_influence_each_other_are_run_one_by_one(kind, words):
    torch.manual_seed(0)
    net, image = kind(3, 2, 3, padding=1).eval(), torch.randn(3, 12, 12)
    expected = by_hand(net, image, (5, 6), 4, 4)
    plain = valid_field(net, image, (5, 6), 0, 4, 4, method="plain")
    torch.testing.assert_close(plain.discrepancy, expected, atol=1e-5, rtol=1e-4)
    assert words in plain.note
    exact = valid_field(net, image, (5, 6), 0, 4, 4)
    torch.testing.assert_close(exact.discrepancy, expected, atol=1e-5, rtol=1e-4)


def test_whether_images_go_in_batches_is_found_out_once():
    class Counting(nn.Conv2d):
        images = 0

        def forward(self, x):
            self.images += len(x)
            return super().forward(x)

    net, image = Counting(3, 2, 3, padding=1), torch.randn(3, 12, 12)
    occlusion, counts = Occlusion(net, image, reuse=False), []
    for pixel in [(5, 6), (1, 1), (9, 9)]:
        before = net.images
        occlusion.field(pixel, 0, OcclusionSettings(4, 4))
        counts.append(net.images - before)
    assert counts[1:] == [9, 9]  # the windows, and nothing else
    assert counts[0] > 9


def test_random_scores_are_told_and_every_window_has_the_same_numbers():
    class Dropping(nn.Conv2d):
        def forward(self, x):
            return F.dropout(super().forward(x), 0.5, training=True)

    torch.manual_seed(0)
    net, image = Dropping(3, 2, 3, padding=1), torch.randn(3, 12, 12)
    state = torch.get_rng_state()
    field = valid_field(net, image, (5, 6), 0, 4, 4)
    assert "draws random numbers" in field.note
    assert "different logits for the same image each time" in field.note
    assert torch.equal(torch.get_rng_state(), state)
    again = valid_field(net, image, (5, 6), 0, 4, 4, batch_size=3)
    assert torch.equal(field.discrepancy, again.discrepancy)
    far = field.discrepancy[:, 8:]  # of columns that the unit does not see
    assert not far.any()


class Normalises(nn.Module):
    def __init__(self, inplace):
        super().__init__()
        torch.manual_seed(0)
        self.inplace, self.conv = inplace, nn.Conv2d(3, 4, 3, padding=1)

    def forward(self, x):
        return self.conv(x.sub_(0.5).div_(0.25) if self.inplace else (x - 0.5) / 0.25)


@pytest.mark.parametrize("method", ["plain", "exact", "drilldown"])
def test_a_network_may_normalise_in_place(method):
    image = torch.randn(3, 24, 28)
    copy = image.clone()
    there, elsewhere = (
        valid_field(Normalises(i).eval(), image, (12, 14), 0, 6, 4, method=method)
        for i in (True, False)
    )
    torch.testing.assert_close(there.discrepancy, elsewhere.discrepancy)
    gradients = [gradient_field(Normalises(i), image, (12, 14), 0) for i in (True, False)]
    torch.testing.assert_close(*gradients)
    assert torch.equal(image, copy)


def test_attributes_that_a_network_sets_are_not_left_without_values():
    class Caches(nn.Conv2d):
        mask = None

        def forward(self, x):
            if self.mask is None:
                self.mask = torch.linspace(0, 1, x.shape[-1])
            return super().forward(x) * self.mask

    net, image = Caches(3, 2, 3, padding=1), torch.randn(3, 12, 12)
    field = valid_field(net, image, (5, 6), 0, 4, 4)
    torch.testing.assert_close(field.discrepancy, by_hand(net, image, (5, 6), 4, 4))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_networks_of_another_precision(dtype):
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.ReLU(), nn.Conv2d(4, 2, 3, padding=1))
    image = torch.randn(3, 16, 17)
    expected = valid_field(net, image, (8, 8), 0, 4, 4).discrepancy
    digits = 20 * torch.finfo(dtype).eps + 1e-6
    plain, exact = (
        valid_field(net.to(dtype), image, (8, 8), 0, 4, 4, method=m) for m in ("plain", "exact")
    )
    torch.testing.assert_close(plain.discrepancy, expected, atol=digits, rtol=0)
    torch.testing.assert_close(exact.discrepancy, plain.discrepancy, atol=1e-6, rtol=0)
    assert ("whose rounding shows" in exact.note) == (dtype != torch.float64)


def test_what_networks_keep_is_not_left_without_values():
    """State in a dict, in a list, by a hook, in a closure."""
    records = {}

    @functools.lru_cache
    def grid(width):
        return torch.linspace(0, 1, width)

    class Keeps(nn.Conv2d):
        def __init__(self):
            super().__init__(3, 2, 3, padding=1)
            self.cache, self.log = {}, []

        def forward(self, x):
            width = x.shape[-1]
            if width not in self.cache:
                self.cache[width] = torch.linspace(1, 2, width)
            self.log.append(x)
            return super().forward(x) * self.cache[width] + grid(width)

    net, image = Keeps(), torch.randn(3, 12, 12)
    net.register_forward_hook(lambda module, given, answer: records.update(last=answer))
    for ask in (
        lambda: theoretical_field(net, 12),
        lambda: valid_field(net, image, (5, 6), 0, 4, 4),
        lambda: gradient_field(net, image, (5, 6), 0),
    ):
        ask()
        for kept in (*net.cache.values(), *net.log, *records.values(), grid(12)):
            assert type(kept) is torch.Tensor
    net.train()(image[None]).sum().backward()


def test_a_network_may_use_autograd_inside():
    class Slope(nn.Conv2d):
        def forward(self, x):
            with torch.enable_grad():
                own = x.detach().requires_grad_()
                (slope,) = torch.autograd.grad((own**3).sum(), own)
            return super().forward(slope)

    torch.manual_seed(0)
    net, image = Slope(3, 2, 3, padding=1), torch.randn(3, 12, 12)
    field = valid_field(net, image, (5, 6), 0, 4, 4)
    expected = by_hand(net, image, (5, 6), 4, 4)
    torch.testing.assert_close(field.discrepancy, expected, atol=1e-5, rtol=1e-4)


def test_a_part_with_a_graph_of_its_own_goes_the_plain_way():
    class Chooses(nn.Conv2d):
        def forward(self, x):
            y = super().forward(x)
            return torch.cond(x.mean() > 0, lambda y: 2 * y, lambda y: 3 * y, (y,))

    torch.manual_seed(0)
    net, image = Chooses(3, 2, 3, padding=1), torch.randn(3, 12, 12)
    field = valid_field(net, image, (5, 6), 0, 4, 4)
    expected = by_hand(net, image, (5, 6), 4, 4)
    torch.testing.assert_close(field.discrepancy, expected, atol=1e-5, rtol=1e-4)
    assert "separate graph" in field.note


@pytest.mark.parametrize(
    "ending",
    [
        lambda y: F.normalize(y, dim=1),
        lambda y: y / y.abs().sum(1, keepdim=True),
        lambda y: (y.abs() + 1e-30).log(),
        lambda y: torch.atan2(y[:, :1], y[:, 1:2]),
        lambda y: torch.cat([y[:, :1] * 1000, F.normalize(y, dim=1)], 1),
    ],
)
def test_rounding_is_not_enlarged_under_an_occluder_of_zeros(ending):
    """Without biases the features there are zero, or nothing but rounding: what has their direction or their
    logarithm would be anything."""

    class Directions(nn.Module):
        def __init__(self):
            super().__init__()
            self.a = nn.Conv2d(3, 8, 3, padding=1, bias=False)
            self.b = nn.Conv2d(8, 4, 3, padding=1, bias=False)

        def forward(self, x):
            return ending(self.b(F.relu(self.a(x))) + 1e-20)

    torch.manual_seed(0)
    net, image = Directions().eval(), torch.randn(3, 24, 20)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the check may see it, too
        exact, plain = Occlusion(net, image), Occlusion(net, image, reuse=False)
        for pixel in [(11, 9), (0, 0), (20, 15)]:
            fields = [
                o.field(pixel, 0, OcclusionSettings(7, 3)).discrepancy for o in (exact, plain)
            ]
            scale = fields[1].abs().max()
            assert (fields[0] - fields[1]).abs().max() <= 1e-4 * scale + 1e-6


def test_scores_beyond_single_precision():
    torch.manual_seed(0)
    net = Around(nn.Conv2d(3, 2, 3, padding=1), lambda f, x: f(x) * 1e60).double()
    field = valid_field(net, torch.randn(3, 12, 12).double(), (5, 6), 0, 4, 4)
    assert field.discrepancy.isfinite().all()
    assert field.region(0.2).any()


def small_net():
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 4, 3, padding=1), nn.SiLU(), nn.Conv2d(4, 2, 3, padding=1)
    ).eval(), torch.randn(3, 24, 24)


def sabotage(monkeypatch, function):
    """Let the difference of activations be that of `function`, given the right one."""
    right = gcnlab.receptive.incremental.difference_of

    def wrong(operation, values, scale):
        good = right(operation, values, scale)
        if "silu" not in operation.name:
            return good
        return lambda patches, box: function(good(patches, box))

    monkeypatch.setattr(gcnlab.receptive.incremental, "difference_of", wrong)


def test_the_first_field_is_checked_and_goes_on_the_plain_way_if_it_is_wrong(monkeypatch):
    sabotage(monkeypatch, lambda delta: 1.1 * delta)
    net, image = small_net()
    plain = valid_field(net, image, (9, 9), 0, 6, 6, method="plain")
    occlusion = Occlusion(net, image)
    with pytest.warns(UserWarning, match="differs from the plain method by"):
        field = occlusion.field((9, 9), 0, OcclusionSettings(6, 6))
    torch.testing.assert_close(field.discrepancy, plain.discrepancy)
    assert "every window runs the whole network: on 4 windows" in field.note
    with warnings.catch_warnings():  # once is enough
        warnings.simplefilter("error")
        assert occlusion.field((1, 1), 0, OcclusionSettings(6, 6)).note == field.note


def test_the_next_image_does_not_try_again(monkeypatch):
    sabotage(monkeypatch, lambda delta: 1.1 * delta)
    net, image = small_net()
    session = OcclusionSession(net)
    with pytest.warns(UserWarning, match="differs from the plain method by"):
        first = session.on(image).field((9, 9), 0, OcclusionSettings(6, 6))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert (
            session.on(image.flip(1)).field((9, 9), 0, OcclusionSettings(6, 6)).note == first.note
        )


def test_a_failure_inside_names_the_operation_and_goes_on_the_plain_way(monkeypatch):
    def broken(delta):
        raise IndexError("unforeseen\nand more")

    sabotage(monkeypatch, broken)
    net, image = small_net()
    plain = valid_field(net, image, (9, 9), 0, 6, 6, method="plain")
    with pytest.warns(UserWarning, match=r"1 \(silu\): IndexError: unforeseen\."):
        field = valid_field(net, image, (9, 9), 0, 6, 6)
    torch.testing.assert_close(field.discrepancy, plain.discrepancy)
    assert "1 (silu)" in field.note


def test_a_failure_after_the_check_keeps_what_was_run(monkeypatch):
    calls = []

    def late(delta):
        calls.append(1)
        if len(calls) > 20:
            raise IndexError("late")
        return delta

    sabotage(monkeypatch, late)
    net, image = small_net()
    plain = valid_field(net, image, (9, 9), 0, 3, 1, method="plain")
    with pytest.warns(UserWarning, match="late"):
        field = valid_field(net, image, (9, 9), 0, 3, 1, batch_size=1)
    torch.testing.assert_close(field.discrepancy, plain.discrepancy)


def test_users_can_ask_for_the_check():
    net, image = small_net()
    occlusion = Occlusion(net, image)
    check = occlusion.self_check((9, 9), OcclusionSettings(6, 4), count=9)
    assert check.agrees
    assert check.windows == 9
    assert 0 <= check.difference <= check.tolerance
    with pytest.raises(ValueError, match="count"):
        occlusion.self_check((9, 9), OcclusionSettings(6, 4), count=0)
    with pytest.raises(ValueError, match="outside"):
        occlusion.self_check((24, 0), OcclusionSettings(6, 4))


def test_a_network_is_checked_once():
    net, image = small_net()
    graph = Graph(net, image[None])
    assert not graph.checked
    Occlusion(net, image, graph=graph).field((9, 9), 0, OcclusionSettings(6, 6))
    assert graph.checked


def test_a_window_with_infinite_scores_is_named():
    net = Around(nn.Conv2d(3, 2, 1), lambda f, x: f(x) + (x.abs().sum(1, keepdim=True)).log())
    image = torch.rand(3, 8, 8) + 1
    with pytest.raises(ValueError, match=r"rows 0 … 3, columns 4 … 7 filled with 0\.0"):
        valid_field(net, image, (1, 5), 0, 4, 4)


def test_a_unit_of_a_smaller_map_is_told():
    net = nn.Conv2d(3, 2, 4, stride=4)
    field = valid_field(net, torch.rand(3, 32, 32), (2, 3), 0, 4, 4)
    assert "score map is 8×8 for an image of 32×32" in field.note
    assert "row 10, column 14" in field.note


def test_scores_that_do_not_depend_on_the_image():
    class Background(nn.Module):
        def forward(self, x):
            return torch.eye(3)[0][None, :, None, None].expand(len(x), 3, *x.shape[-2:])

    for method in ("exact", "plain"):
        field = valid_field(Background(), torch.rand(3, 8, 8), (2, 3), 0, 4, 4, method=method)
        assert not field.discrepancy.any()
        assert field.score == 1


def test_the_image_itself_as_scores():
    for method in ("exact", "plain"):
        field = valid_field(nn.Identity(), torch.ones(3, 8, 8), (2, 3), 0, 4, 4, method=method)
        assert field.discrepancy.sum() == 16
