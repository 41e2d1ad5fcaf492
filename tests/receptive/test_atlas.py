"""The atlas against `valid_field` and against running the network for every window."""

import dataclasses
import itertools
import json
import math
import signal
import subprocess
import sys
import threading
from random import Random

import jaxtyping
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file
from torch import nn
from torch.nn import functional as F

from gcnlab.models import SegmentationNet
from gcnlab.models.logits import logits_of
from gcnlab.receptive import FieldAtlas, Occlusion, OcclusionSettings, valid_field
from gcnlab.receptive.atlas import SAVE_SECONDS
from gcnlab.receptive.atlas_passes import AtlasPasses
from gcnlab.receptive.atlas_table import ERROR
from gcnlab.receptive.graph import Graph
from gcnlab.receptive.incremental import IncrementalNet, NotReusable
from gcnlab.receptive.plain import PlainNet
from tests.receptive import others
from tests.receptive.networks import random_network
from tests.receptive.test_others import WEEKLY

pytestmark = [
    # PyTorch says so once for convolutions that random networks may well have.
    pytest.mark.filterwarnings("ignore:Using padding='same'"),
    # A random network may fail its check; every window is then run plain.
    pytest.mark.filterwarnings("ignore:.*every window runs the whole network"),
]


def small(classes=4, seed=0):
    """A network whose passes are quick."""
    torch.manual_seed(seed)
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, 2, 1), nn.BatchNorm2d(8), nn.ReLU(), nn.MaxPool2d(3, 2, 1),
        nn.Conv2d(8, 8, 3, padding=1), nn.ReLU(), nn.Upsample(scale_factor=4, mode="bilinear"),
        nn.Conv2d(8, classes, 3, padding=1),
    ).eval()  # fmt: skip


@pytest.fixture(scope="module")
def net():
    return small()


@pytest.fixture(scope="module")
def image():
    return torch.randn(3, 48, 56, generator=torch.Generator().manual_seed(1))


@pytest.fixture(scope="module")
def atlas(net, image):
    return FieldAtlas(net, image, window=8, stride=4).build()


@pytest.fixture(scope="module")
def gcn():
    torch.manual_seed(0)
    net = SegmentationNet("mini", 4, kernel_size=5).eval()
    for refinement in (*net.refine_heads, *net.refine_sums, *net.refine_outputs):
        nn.init.normal_(refinement.residual[2].weight, std=0.1)
    return net


def some_units(atlas, count, seed=0):
    """The four corners of the units that are kept, and others at random."""
    draw = Random(seed)
    rows, columns = (at.tolist() for at in atlas.units)
    corners = [(r, c) for r in (rows[0], rows[-1]) for c in (columns[0], columns[-1])]
    return corners + [(draw.choice(rows), draw.choice(columns)) for _ in range(count - 4)]


def agree(ours, theirs):
    """Equal within 1e-4 of the largest value."""
    scale = theirs.abs().max().clamp(min=1e-12)
    torch.testing.assert_close(ours / scale, theirs / scale, atol=1e-4, rtol=0)


def equals_valid_field(atlas, occlusion, settings, targets=(None,)):
    """At 50 units, for each of some targets."""
    for pixel in some_units(atlas, 50):
        for target in targets:
            ours, theirs = atlas.field(pixel, target), occlusion.field(pixel, target, settings)
            agree(ours.discrepancy, theirs.discrepancy)
            same = ("pixel", "target", "window", "stride", "fill", "quantity", "evaluated")
            for name in (*same, "agreement", "centre"):
                assert getattr(ours, name) == getattr(theirs, name), name
            assert ours.score == pytest.approx(theirs.score, rel=1e-4, abs=1e-4)


def drops_of_every_window(model, image, window, stride, fill=0.0):
    """Clean − occluded for all classes and units, (down, across, classes, rows, columns), by the
    definition."""
    with torch.no_grad():
        clean = logits_of(model, image[None])[0]
        rows = []
        for top in range(0, image.shape[1] - window + stride, stride):
            row = []
            for left in range(0, image.shape[2] - window + stride, stride):
                occluded = image.clone()
                occluded[:, top : top + window, left : left + window] = fill
                row.append(clean - logits_of(model, occluded[None])[0])
            rows.append(torch.stack(row))
    return torch.stack(rows)


@pytest.mark.slow
@pytest.mark.parametrize("seed", [1, 3, 4, 7, 11, 13, 20, 26])
def test_random_networks_equal_valid_field(seed):
    drawn, draw = random_network(seed), Random(seed)
    window = tuple(draw.randint(2, n) for n in drawn.image.shape[1:])
    stride = tuple(draw.randint(max(1, w // 2), w) for w in window)
    every, fill = draw.choice([1, 2, 4, 8]), draw.choice([0.0, -1.5])
    atlas = FieldAtlas(drawn.model, drawn.image, window, stride, fill, every=every).build()
    occlusion = Occlusion(drawn.model, drawn.image)
    equals_valid_field(atlas, occlusion, OcclusionSettings(window, stride, fill))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("size", "window", "stride", "fill", "target", "every"),
    [
        ((64, 64), 16, 8, 0.0, None, 4),
        ((61, 83), 17, 9, 0.0, (0, 3), 8),  # the last windows are cut at the border
        ((50, 47), (20, 11), (7, 11), -1.5, 2, 1),
        ((40, 40), 40, 40, 0.0, None, 2),  # one window: the whole image
    ],
)
def test_a_gcn_equals_valid_field(gcn, size, window, stride, fill, target, every):
    image = torch.randn(3, *size)
    graph = Graph(gcn, image[None])
    atlas = FieldAtlas(gcn, image, window, stride, fill, target, every, graph=graph).build()
    occlusion, settings = (
        Occlusion(gcn, image, graph=graph),
        OcclusionSettings(window, stride, fill),
    )
    equals_valid_field(
        atlas, occlusion, settings, target if isinstance(target, tuple) else (target,)
    )


@pytest.mark.slow
@pytest.mark.parametrize(
    "name",
    [pytest.param(n, marks=[pytest.mark.weekly] if n in WEEKLY else []) for n in others.OTHERS],
)
def test_networks_of_other_libraries_at_every_unit(name):
    model = others.build(name).double()
    image = torch.randn(3, others.SIDE, others.SIDE, dtype=torch.float64)
    atlas = FieldAtlas(model, image, window=48, stride=32).build()
    theirs = drops_of_every_window(model, image, 48, 32)
    rows, columns = atlas.units
    assert {*rows} == {p * theirs.shape[-2] // others.SIDE for p in range(0, others.SIDE, 4)}
    units = theirs[..., rows[:, None], columns]
    predicted = logits_of(model, image[None])[0].argmax(0)[rows[:, None], columns]
    wanted = units.gather(2, predicted.expand(*units.shape[:2], 1, -1, -1))[:, :, 0]
    wanted = wanted.permute(2, 3, 0, 1)
    ours = atlas.table.drops((0, slice(None), slice(None)))
    scale = wanted.abs().amax((-2, -1), keepdim=True).clamp(min=1e-12)
    torch.testing.assert_close(ours / scale, wanted / scale, atol=1e-4, rtol=0)


@pytest.mark.slow
def test_what_cannot_be_reused_is_run_plain_and_says_so(image):
    class Asking(nn.Conv2d):
        def forward(self, x):
            return super().forward(x) * (2 if x.sum() > 0 else 1)  # has no graph

    model = Asking(3, 2, 3, padding=1).eval()
    atlas = FieldAtlas(model, image, window=8, stride=8).build()
    assert "every window runs the whole network" in atlas.note
    pixel = (20, 24)
    field = atlas.field(pixel)
    assert "every window runs the whole network" in field.note
    agree(field.discrepancy, valid_field(model, image, pixel, window=8, stride=8).discrepancy)


def test_reuse_that_saves_nothing_is_not_used(image):
    """The stem is global, so each window changes everything after it."""

    class Mean(nn.Module):
        def forward(self, x):
            return x + x.mean((2, 3), keepdim=True)

    model = nn.Sequential(Mean(), nn.Conv2d(3, 2, 3, padding=1)).eval()
    atlas = FieldAtlas(model, image, window=8, stride=8).build()
    assert "reuse would save 0 % of the multiply-adds" in atlas.note
    exact = valid_field(model, image, (20, 24), window=8, stride=8)
    agree(atlas.field((20, 24)).discrepancy, exact.discrepancy)


@pytest.mark.parametrize("reuse", [True, False])
def test_windows_that_change_nothing_are_not_run(net, image, reuse, monkeypatch):
    image, run = image.clone(), []
    image[:, 24:, 16:] = 0.5
    drops = drops_of_every_window(net, image, 8, 4, 0.5)
    for name in ("_reused", "plain"):
        own = getattr(AtlasPasses, name)

        def counted(self, grid, windows, *args, own=own):
            run.extend(windows)
            return own(self, grid, windows, *args)

        monkeypatch.setattr(AtlasPasses, name, counted)
    atlas = FieldAtlas(net, image, window=8, stride=4, fill=0.5, reuse=reuse).build()
    grid = atlas.table.grid
    assert atlas.complete
    assert len({*run}) == len(grid.windows()) - 5 * 9
    assert not any(i >= 6 and j >= 4 for i, j in run)
    classes, (rows, columns) = atlas.table.predicted, atlas.units
    units = drops[..., rows[:, None], columns].permute(3, 4, 2, 0, 1)
    wanted = units.gather(2, classes[..., None, None, None].expand(-1, -1, 1, *grid.shape))[:, :, 0]
    agree(atlas.table.values[0], wanted)


def test_without_reuse_it_is_the_same(net, image, atlas):
    plain = FieldAtlas(net, image, window=8, stride=4, reuse=False).build()
    assert plain.note == ""
    torch.testing.assert_close(plain.table.values, atlas.table.values, atol=1e-5, rtol=1e-4)


@pytest.fixture
def threads():
    """Three of PyTorch's threads, and what there was before."""
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    yield 3
    torch.set_num_threads(before)


def test_blocks_in_threads_are_the_same(net, image, atlas, threads):
    other = FieldAtlas(net, image, window=8, stride=4, batch_size=2).build()
    assert torch.get_num_threads() == threads
    assert other.note == ""
    torch.testing.assert_close(other.table.values, atlas.table.values, rtol=1e-4, atol=1e-5)
    assert not any(t.name.startswith("ThreadPoolExecutor") for t in threading.enumerate())


def test_stopping_ends_the_threads(net, image, threads):
    steps = FieldAtlas(net, image, window=8, stride=4, batch_size=2).steps()
    for _ in range(4):
        next(steps)
    steps.close()
    assert not any(t.name.startswith("ThreadPoolExecutor") for t in threading.enumerate())


def test_a_failure_in_a_thread_keeps_what_was_run(net, image, atlas, monkeypatch, threads):
    run, calls = IncrementalNet._run, itertools.count()

    def fails(self, *arguments):
        if next(calls) > 5:
            raise NotReusable("an operation failed")
        return run(self, *arguments)

    monkeypatch.setattr(IncrementalNet, "_run", fails)
    with pytest.warns(UserWarning, match="an operation failed"):
        other = FieldAtlas(net, image, window=8, stride=4, batch_size=2).build()
    torch.testing.assert_close(other.table.values, atlas.table.values, rtol=1e-4, atol=1e-5)


def test_a_mistake_of_reuse_is_noticed(net, image, atlas, monkeypatch):
    right = IncrementalNet.patches

    def wrong(self, *args):
        for windows, patch in right(self, *args):
            with torch.inference_mode():
                patch.delta[:, :, ::4, ::4] += 0.1 * patch.delta.abs().max()
            yield windows, patch

    monkeypatch.setattr(IncrementalNet, "patches", wrong)
    with pytest.warns(UserWarning, match="differ from the plain method"):
        found = FieldAtlas(net, image, window=8, stride=4).build()
    assert "differ from the plain method" in found.note
    torch.testing.assert_close(found.table.values, atlas.table.values, atol=1e-5, rtol=1e-4)


def test_a_failure_of_reuse_keeps_what_was_run(net, image, atlas, monkeypatch):
    right, calls = IncrementalNet._run, []

    def failing(self, *args):
        calls.append(1)
        if len(calls) == 30:
            raise NotReusable("layer4: it does not fit")
        return right(self, *args)

    monkeypatch.setattr(IncrementalNet, "_run", failing)
    with pytest.warns(UserWarning, match="layer4: it does not fit"):
        found = FieldAtlas(net, image, window=8, stride=4).build()
    assert found.complete
    assert len(calls) == 30
    torch.testing.assert_close(found.table.values, atlas.table.values, atol=1e-5, rtol=1e-4)


def test_a_graph_that_was_checked_before_runs_no_plain_window(net, image, atlas, monkeypatch):
    graph = Graph(net, image[None])
    FieldAtlas(net, image, window=24, stride=24, graph=graph).build()
    assert graph.checked
    monkeypatch.setattr(PlainNet, "readings", None)
    found = FieldAtlas(net, image, window=8, stride=4, graph=graph).build()
    torch.testing.assert_close(found.table.values, atlas.table.values, atol=1e-6, rtol=1e-4)


def test_the_same_arguments_give_the_same_atlas(net, image, atlas):
    again = FieldAtlas(net, image, window=8, stride=4).build()
    torch.testing.assert_close(again.table.values, atlas.table.values, atol=1e-6, rtol=1e-5)
    assert torch.equal(again.table.predicted, atlas.table.predicted)


def test_the_network_and_the_image_are_left_as_they_were(image):
    net = small().train()
    before = {name: value.clone() for name, value in net.state_dict().items()}
    copy, state = image.clone(), torch.get_rng_state()
    FieldAtlas(net, copy, window=24, stride=24).build()
    assert net.training
    assert torch.equal(copy, image)
    assert torch.equal(torch.get_rng_state(), state)
    for name, value in net.state_dict().items():
        assert torch.equal(value, before[name]), name


# Coarse windows first


def test_each_level_contains_the_one_before_and_the_last_is_the_grid(atlas):
    levels = [
        {(i, j) for i in down for j in across}
        for down, across in map(atlas.table.level, atlas.table.steps())
    ]
    assert len(levels) > 1
    assert len(levels[0]) <= 25
    assert all(one < other for one, other in itertools.pairwise(levels))
    assert levels[-1] == set(atlas.table.grid.windows())


def test_it_is_built_coarse_to_fine_and_may_be_stopped(net, image, atlas):
    part = FieldAtlas(net, image, window=8, stride=4)
    assert part.evaluated == 0
    assert not part.complete
    with pytest.raises(ValueError, match=r"only 0 windows .* call build"):
        part.field((0, 0))
    first, count = part.table.steps()[0], math.prod(part.table.grid.shape)
    shares = []
    for share in part.steps():
        shares.append(share)
        if not part.table.missing(first):
            break
    assert shares == sorted(shares)
    assert part.evaluated == share < 0.3
    pixel = (24, 28)
    coarse, exact = part.field(pixel), atlas.field(pixel)
    assert coarse.evaluated == share
    assert math.isnan(coarse.agreement)
    assert f"{round(share * count)} of {count} windows have been run" in coarse.note
    assert coarse.discrepancy.shape == exact.discrepancy.shape
    # Windows that were run are exact, and between them the drops are linear.
    known, wanted = part.table.drops((0, 6, 7)), atlas.table.drops((0, 6, 7))
    done = part.table.done
    torch.testing.assert_close(known[done], wanted[done], atol=1e-5, rtol=1e-4)
    middle = (known[0, 0] + known[0, first]) / 2
    torch.testing.assert_close(known[0, first // 2], middle)
    with pytest.raises(KeyError):  # the caller's own error cancels
        part.build(on_progress=lambda share: {}[share])
    seen = []
    part.build(on_progress=seen.append)
    assert seen[-1] == 1
    assert part.complete
    assert part.field(pixel).evaluated == 1
    torch.testing.assert_close(part.table.values, atlas.table.values, atol=1e-6, rtol=1e-4)
    assert list(part.steps()) == []


def test_stopping_runs_no_window_again(net, image, monkeypatch):
    reused, plain, right, readings = [], [], IncrementalNet.patches, PlainNet.readings

    def counted(self, *args):
        for windows, patch in right(self, *args):
            reused.extend(windows)
            yield windows, patch

    def counted_plain(self, *args):
        for windows, found in readings(self, *args):
            plain.extend(windows)
            yield windows, found

    monkeypatch.setattr(IncrementalNet, "patches", counted)
    monkeypatch.setattr(PlainNet, "readings", counted_plain)
    part = FieldAtlas(net, image, window=8, stride=4)
    coarse = part.table.missing(part.table.steps()[0])
    while not part.complete:
        next(part.steps())
    assert plain == coarse
    assert sorted(reused) == part.table.grid.windows()


def test_windows_of_the_next_level_replace_the_interpolation(net, image):
    part = FieldAtlas(net, image, window=8, stride=4)
    steps = part.table.steps()
    for _ in part.steps():
        run = set(zip(*map(list, np.nonzero(part.table.done.numpy())), strict=True))
        if not part.table.missing(steps[0]) and part.table.missing(steps[1]) and len(run) > 25:
            break
    drops, values = part.table.drops((0, 3, 3)), part.table.values[0, 3, 3]
    assert torch.equal(drops[part.table.done], values[part.table.done].double())
    assert (values[~part.table.done] == 0).all()
    assert (drops[~part.table.done] != 0).any()


# Which unit


@pytest.mark.parametrize(
    ("every", "asked", "kept"),
    [
        (4, (24, 28), (24, 28)),
        (4, (25, 27), (24, 28)),
        (4, (26, 30), (24, 28)),  # in the middle: the upper and the left one
        (8, (47, 55), (40, 48)),  # beyond the last one
        (1, (47, 55), (47, 55)),
    ],
)
def test_the_nearest_unit_answers_and_says_so(every, asked, kept):
    model, image = nn.Conv2d(3, 2, 1).eval(), torch.randn(3, 48, 56)
    atlas = FieldAtlas(model, image, every=every, window=24, stride=24).build()
    field = atlas.field(asked)
    assert field.pixel == field.centre == atlas.nearest(asked) == kept
    assert (f"the nearest to {asked}" in field.note) == (asked != kept)
    exact = valid_field(model, image, kept, window=24, stride=24)
    agree(field.discrepancy, exact.discrepancy)


class Quarter(nn.Sequential):
    """A score map with a quarter of the image's rows and columns."""

    def __init__(self):
        super().__init__(nn.Conv2d(3, 4, 4, 4), nn.ReLU(), nn.Conv2d(4, 3, 3, padding=1))


@pytest.mark.parametrize(("every", "units"), [(1, 1), (4, 1), (8, 2)])
def test_a_smaller_score_map(every, units):
    torch.manual_seed(0)
    model, image = Quarter().eval(), torch.randn(3, 48, 64)
    atlas = FieldAtlas(model, image, window=16, stride=8, every=every).build()
    assert atlas.units[0].tolist() == list(range(0, 12, units))
    assert atlas.units[1].tolist() == list(range(0, 16, units))
    exact = valid_field(model, image, (8, 14), window=16, stride=8)
    field = atlas.field((8, 14))
    agree(field.discrepancy, exact.discrepancy)
    assert field.centre == exact.centre
    assert exact.note in field.note


# Which class


def test_several_classes(net, image):
    atlas = FieldAtlas(net, image, window=24, stride=12, target=[2, 0]).build()
    predicted, occlusion = atlas.table.predicted, Occlusion(net, image)
    for pixel in some_units(atlas, 12):
        for target in (2, 0):
            field = atlas.field(pixel, target)
            exact = occlusion.field(pixel, target, OcclusionSettings(24, 12))
            agree(field.discrepancy, exact.discrepancy)
            assert field.target == target
            assert field.score == pytest.approx(exact.score, rel=1e-4)
        own = int(predicted[pixel[0] // 4, pixel[1] // 4])
        if own in (2, 0):
            assert atlas.field(pixel).target == own
        else:
            with pytest.raises(ValueError, match=rf"keeps class 2, 0 .* not class {own}"):
                atlas.field(pixel)


def test_a_class_that_is_not_kept_is_an_error(atlas):
    predicted = int(atlas.table.predicted[0, 0])
    assert atlas.field((0, 0), predicted).target == predicted
    other = (predicted + 1) % 4
    message = rf"keeps class {predicted} at unit \(0, 0\), not class {other}.*target={other}"
    with pytest.raises(ValueError, match=message):
        atlas.field((0, 0), other)


# Precision


@pytest.mark.parametrize("precision", ["float16", "int8"])
def test_errors_stay_within_the_bound(net, image, atlas, precision):
    small = FieldAtlas(net, image, window=8, stride=4, precision=precision).build()
    assert small.table.precision == small.settings.precision == precision
    assert small.nbytes < atlas.nbytes / {"float16": 1.9, "int8": 3.5}[precision]
    for pixel in some_units(atlas, 50):
        exact, ours = atlas.field(pixel), small.field(pixel)
        row, column = pixel[0] // 4, pixel[1] // 4
        largest = atlas.table.drops((0, row, column)).abs().max()
        error = (ours.discrepancy - exact.discrepancy).abs().max()
        assert error <= ERROR[precision] * largest * (1 + 1e-4)


@given(
    st.lists(st.floats(-1, 1, width=32), min_size=16, max_size=16),
    st.sampled_from(["float16", "int8"]),
    st.integers(-60, 100),
)
def test_any_drops_stay_within_the_bound(drops, precision, exponent):
    drops = torch.tensor(drops).reshape(1, 1, 1, 4, 4)
    drops = torch.where(drops.abs() < 1e-12, 0.0, drops) * 2.0**exponent
    small = table_of(drops).stored_as(precision)
    error = (small.drops((0, 0, 0)) - drops[0, 0, 0].double()).abs().max()
    assert error <= ERROR[precision] * drops.abs().max().double() * (1 + 1e-6)


def test_extreme_drops_are_stored():
    for size in (0.0, 3.4e38, 1e-30):
        drops = (size * torch.linspace(-1, 1, 16)).reshape(1, 1, 1, 4, 4)
        for precision in ("float16", "int8"):
            found = table_of(drops).stored_as(precision).drops((0, 0, 0))
            assert (found - drops[0, 0, 0].double()).abs().max() <= ERROR[precision] * size * 1.001


def table_of(drops):
    """A complete table with one unit and 4 × 4 windows."""
    model = nn.Conv2d(3, 1, 1)
    table = FieldAtlas(model, torch.zeros(3, 8, 8), 2, 2, every=8).table
    return dataclasses.replace(table, values=drops, done=torch.ones(4, 4, dtype=torch.bool))


def test_precision_is_not_won_back_and_a_part_stays_float32(net, image, atlas):
    small = atlas.table.stored_as("int8")
    with pytest.raises(ValueError, match="stored as int8, so float32 is lost"):
        small.stored_as("float32")
    with pytest.raises(ValueError, match="missing windows has to stay float32"):
        FieldAtlas(net, image, window=8, stride=4).table.stored_as("int8")


def test_changes_beyond_float32_are_an_error():
    model = nn.Conv2d(3, 1, 1).double()
    with torch.no_grad():
        model.weight.fill_(1e60)
    image = torch.ones(3, 8, 8, dtype=torch.float64)
    with pytest.raises(ValueError, match="more than float32 can hold"):
        FieldAtlas(model, image, 4, 4).build()


# Files


@pytest.mark.parametrize("precision", ["float32", "int8"])
def test_saved_and_loaded_it_is_the_same(net, image, tmp_path, precision):
    path = tmp_path / "one.atlas"
    atlas = FieldAtlas(net, image, (12, 16), 8, -0.5, (1, 3), 8, precision).build()
    atlas.save(path)
    found = FieldAtlas.load(path)
    assert found.settings == atlas.settings
    assert found.complete
    assert path.stat().st_size < atlas.nbytes + 4096
    assert [p.name for p in tmp_path.iterdir()] == ["one.atlas"]
    for pixel in some_units(atlas, 10):
        ours, theirs = found.field(pixel, 3), atlas.field(pixel, 3)
        assert torch.equal(ours.discrepancy, theirs.discrepancy)
        assert dataclasses.replace(ours, discrepancy=theirs.discrepancy) == theirs
    found.build()  # nothing is missing


def test_a_part_is_saved_and_goes_on(net, image, atlas, tmp_path):
    path, part = tmp_path / "part.atlas", FieldAtlas(net, image, window=8, stride=4)
    for share in part.steps():
        part.save(path)
        if share > 0.4:
            break
    found = FieldAtlas.load(path)
    assert found.evaluated == share
    with pytest.raises(ValueError, match="loaded without its network"):
        found.build()
    found, again = FieldAtlas.load(path, net, image), []
    found.build(on_progress=again.append)
    assert again[0] >= share
    torch.testing.assert_close(found.table.values, atlas.table.values, atol=1e-6, rtol=1e-4)


BUILDING = """
import os, sys, torch
from gcnlab.models import SegmentationNet
from gcnlab.receptive import FieldAtlas, atlas
atlas.SAVE_SECONDS = 0
folder = sys.argv[1]
path = folder + "/part.atlas"
torch.manual_seed(0)
net = SegmentationNet("mini", 4, kernel_size=3).eval()
image = torch.randn(3, 64, 64)
torch.save({"net": net.state_dict(), "image": image}, folder + "/inputs.pt")
if os.path.exists(path):
    found = FieldAtlas.load(path, net, image)
else:
    found = FieldAtlas(net, image, window=8, stride=2, precision="float16")
print(found.evaluated, flush=True)
found.build(on_progress=lambda share: print(share, flush=True), path=path)
"""


@pytest.mark.slow
def test_it_goes_on_after_kills(tmp_path):
    """A process that saves while it builds is killed three times, at any point of its work."""
    path, kept = tmp_path / "part.atlas", 0.0
    for kill_at in (0.2, 0.4, 0.6):
        command = [sys.executable, "-c", BUILDING, str(tmp_path)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            assert float(process.stdout.readline()) >= kept
            for line in process.stdout:
                if float(line) > kill_at:
                    process.send_signal(signal.SIGKILL)
                    break
        assert process.returncode == -signal.SIGKILL
        before, kept = kept, FieldAtlas.load(path).evaluated
        assert before < kept < 1
    inputs = torch.load(tmp_path / "inputs.pt", weights_only=True)
    net = SegmentationNet("mini", 4, kernel_size=3).eval()
    net.load_state_dict(inputs["net"])
    atlas = FieldAtlas.load(path, net, inputs["image"]).build(path=path)
    assert [file.name for file in tmp_path.glob("*.atlas")] == ["part.atlas"]
    assert FieldAtlas.load(path).complete
    assert atlas.table.precision == "float16"
    whole = FieldAtlas(net, inputs["image"], window=8, stride=2, precision="float16").build()
    for pixel in some_units(whole, 50):
        agree_in_half = atlas.field(pixel).discrepancy, whole.field(pixel).discrepancy
        torch.testing.assert_close(*agree_in_half, atol=1e-3, rtol=1e-3)


def test_it_is_saved_while_it_is_built(net, image, tmp_path, monkeypatch):
    path, saves, clock = tmp_path / "one.atlas", [], [0.0]
    monkeypatch.setattr("gcnlab.receptive.atlas.time.monotonic", lambda: clock[0])
    atlas = FieldAtlas(net, image, window=8, stride=4)

    def tick(share):
        clock[0] += SAVE_SECONDS / 2
        saves.append(FieldAtlas.load(path).evaluated if path.exists() else None)

    atlas.build(on_progress=tick, path=path)
    assert saves[:3] == [None, None, saves[2]]  # the second batch is saved after its report
    assert saves[2] > 0
    assert len({*saves}) == math.ceil(len(saves) / 2)
    assert FieldAtlas.load(path).complete


def test_another_image_or_network_is_refused(net, image, atlas, tmp_path):
    path = tmp_path / "one.atlas"
    atlas.save(path)
    with pytest.raises(ValueError, match=r"one\.atlas: this atlas was made of another image"):
        FieldAtlas.load(path, net, image + 1e-3)
    other = small(seed=1)
    with pytest.raises(ValueError, match=r"one\.atlas: .* another network, or of other weights"):
        FieldAtlas.load(path, other, image)
    fewer = small(classes=1)
    with pytest.raises(ValueError, match=r"one\.atlas: .* another network, or of other weights"):
        FieldAtlas.load(path, fewer, image)
    with pytest.raises(ValueError, match="pass both the model and the image"):
        FieldAtlas.load(path, net)


def test_damaged_and_foreign_files_are_named(atlas, tmp_path):
    good, bad = tmp_path / "good.atlas", tmp_path / "bad.atlas"
    atlas.save(good)
    content = good.read_bytes()
    for damaged in (b"", b"PK\x03\x04 a zip", content[:-100], content[:40], content + b"more"):
        bad.write_bytes(damaged)
        with pytest.raises(ValueError, match=r"bad\.atlas: damaged, or not an atlas"):
            FieldAtlas.load(bad)
    save_file({"weight": torch.zeros(3)}, bad)
    with pytest.raises(ValueError, match=r"bad\.atlas: a safetensors file, but not an atlas"):
        FieldAtlas.load(bad)
    with pytest.raises(FileNotFoundError, match=r"none\.atlas"):
        FieldAtlas.load(tmp_path / "none.atlas")


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda facts, tensors: tensors.pop("score"), "score"),
        (lambda facts, tensors: tensors.update(done=torch.ones(2, 2) > 0), "done"),
        (lambda facts, tensors: tensors["values"].fill_(float("nan")), "values is not finite"),
        (lambda facts, tensors: facts.pop("image_size"), "image_size"),
        (lambda facts, tensors: facts["settings"].update(every=3), "every must be"),
        (lambda facts, tensors: facts["settings"].update(colour="red"), "colour"),
        (lambda facts, tensors: facts.update(map_size=[48]), "expected 2, got 1"),
        (lambda facts, tensors: tensors["predicted"].fill_(-1), "predicted"),
    ],
)
def test_content_that_does_not_fit_is_named(atlas, tmp_path, damage, words, monkeypatch):
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)  # as users call it
    good, bad = tmp_path / "good.atlas", tmp_path / "bad.atlas"
    atlas.save(good)
    tensors, facts = load_file(good), metadata_of(good)
    content = json.loads(facts["atlas"])
    damage(content, tensors)
    save_file(tensors, bad, facts | {"atlas": json.dumps(content)})
    with pytest.raises(ValueError, match=rf"bad\.atlas: a damaged atlas .*{words}"):
        FieldAtlas.load(bad)


def test_a_later_version_is_named(atlas, tmp_path):
    path = tmp_path / "later.atlas"
    atlas.save(path)
    tensors, facts = load_file(path), metadata_of(path)
    save_file(tensors, path, facts | {"format": "gcnlab field atlas 2"})
    with pytest.raises(ValueError, match=r"later\.atlas: has the format 'gcnlab field atlas 2'"):
        FieldAtlas.load(path)


def metadata_of(path):
    content = path.read_bytes()
    return json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])["__metadata__"]


# Bad input


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"every": 3}, "every must be 1, 2, 4 or 8 pixels, not 3"),
        ({"every": 2.5}, "every must be a whole number"),
        ({"precision": "int4"}, "unknown precision 'int4'; choose float32, float16, int8"),
        ({"target": 4}, r"target 4 is outside the classes 0 … 3"),
        ({"target": -1}, r"target -1 is outside the classes 0 … 3"),
        ({"target": [0, 4]}, r"target 4 is outside the classes 0 … 3"),
        ({"target": []}, r"one or more different class ids, not \(\)"),
        ({"target": [1, 1]}, r"one or more different class ids, not \(1, 1\)"),
        ({"target": "cat"}, "target must be a whole number, not 'cat'"),
        ({"window": 49}, "window 49×49 is larger than the image, 48×56"),
        ({"window": 8, "stride": 9}, "it skips pixels"),
        ({"window": 0}, "window must be at least 1"),
        ({"fill": True}, "fill must be a number"),
        ({"batch_size": 0}, "batch_size must be at least 1"),
    ],
)
def test_arguments_out_of_range_are_named(net, image, arguments, words, monkeypatch):
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)  # as users call it
    with pytest.raises(ValueError, match=words):
        FieldAtlas(net, image, **arguments)


def test_bad_images_and_pixels_are_named(net, image, atlas, monkeypatch):
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)  # as users call it
    with pytest.raises(ValueError, match=r"use image\[0\]"):
        FieldAtlas(net, image[None])
    with pytest.raises(TypeError, match="model must be a torch"):
        FieldAtlas("mini", image)
    with pytest.raises(ValueError, match="not all finite"):
        FieldAtlas(net, torch.full_like(image, float("nan")))
    with pytest.raises(ValueError, match=r"pixel \(row, column\) = \(48, 0\) is outside the 48×56"):
        atlas.field((48, 0))
    with pytest.raises(ValueError, match="pixel"):
        atlas.field((1.5, 0))


def test_a_window_with_infinite_logits_is_named():
    class Dividing(nn.Module):
        def forward(self, x):
            return x / F.avg_pool2d(x.abs(), 4, 4).sum((1, 2, 3), keepdim=True)

    with pytest.raises(ValueError, match=r"rows 0 … 7, columns 0 … 7 filled with 0\.0"):
        FieldAtlas(Dividing(), torch.ones(3, 8, 8), 8, 8).build()
