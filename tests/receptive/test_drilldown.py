from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from gcnlab.receptive import Occlusion, OcclusionSettings, region, valid_field
from gcnlab.receptive.drilldown import drill_down
from gcnlab.receptive.grid import OcclusionGrid

DRILLDOWN = OcclusionSettings(8, 4, method="drilldown")


def bump(windows, centre, width):
    """Smooth drops, as from a network whose field is a blob."""
    rows, columns = (np.arange(n) for n in windows.shape)
    far = ((rows[:, None] - centre[0]) ** 2 + (columns[None] - centre[1]) ** 2) / width**2
    return np.exp(-far)


def drill(windows, drops, agreement=0.95, threshold=0.2, rule="maximum"):
    run = []

    def evaluate(some):
        run.extend(some)
        return drops[tuple(np.array(some).T)]

    settings = OcclusionSettings(agreement=agreement, threshold=threshold, rule=rule)
    pictures = list(drill_down(windows, evaluate, settings))
    assert len(run) == len(set(run)), "a window was run twice"
    return pictures, run


@settings(deadline=None, max_examples=40)
@given(
    st.tuples(st.floats(0, 30), st.floats(0, 30)),
    st.floats(3, 10),
    st.sampled_from([0.2, 0.4]),
)
def test_a_smooth_field_takes_few_windows(centre, width, threshold):
    windows = OcclusionGrid((512, 512), 32, 16)
    drops = bump(windows, centre, width)
    pictures, run = drill(windows, drops, threshold=threshold)
    ours, theirs = (
        region(windows.spread(torch.from_numpy(d)), threshold) for d in (pictures[-1][0], drops)
    )
    assert (ours & theirs).sum() / (ours | theirs).sum() >= 0.9
    assert len(run) <= 0.5 * drops.size


@pytest.mark.parametrize("size", [(40, 40), (32, 300), (33, 32)])
def test_an_agreement_of_one_runs_all_windows(size):
    windows = OcclusionGrid(size, 32, 8)
    drops = np.random.default_rng(0).normal(size=windows.shape)
    pictures, run = drill(windows, drops, agreement=1)
    assert len(run) == drops.size
    np.testing.assert_array_equal(pictures[-1][0], drops)
    assert pictures[-1][1] == 1


def test_noise_takes_most_windows():
    """Nothing can be inferred from neighbours: the worst case for a drill-down."""
    windows = OcclusionGrid((512, 512), 32, 16)
    drops = np.random.default_rng(0).normal(size=windows.shape)
    pictures, run = drill(windows, drops)
    ours, theirs = (region(windows.spread(torch.from_numpy(d))) for d in (pictures[-1][0], drops))
    assert (ours & theirs).sum() / (ours | theirs).sum() >= 0.75
    assert len(run) > 0.6 * drops.size


def test_pictures_come_early_and_get_sharper():
    windows = OcclusionGrid((512, 512), 32, 16)
    drops = bump(windows, (12, 17), 6.0)
    pictures, _ = drill(windows, drops)
    assert len(pictures) > 3
    errors = [np.abs(picture - drops).max() for picture, _ in pictures]
    assert errors[-1] < errors[0] / 3


@pytest.fixture
def net():
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 4, 9, padding=4), nn.ReLU(), nn.Conv2d(4, 2, 15, padding=7)
    ).eval()


def test_windows_that_were_run_are_not_run_again(net):
    occlusion = Occlusion(net, torch.randn(3, 64, 64))
    few = occlusion.field((30, 30), 0, replace(DRILLDOWN, agreement=0.8))
    assert few.evaluated < 1
    other = next(iter(occlusion.steps((30, 30), 1, replace(DRILLDOWN, agreement=0.5))))
    assert other.evaluated == few.evaluated, "another class needs no new windows at first"
    all_of_them = occlusion.field((30, 30), 0, OcclusionSettings(8, 4))
    assert all_of_them.evaluated == 1
    again = occlusion.field((30, 30), 0, replace(DRILLDOWN, agreement=0.8))
    assert again.evaluated == 1
    plain = valid_field(net, occlusion.image, (30, 30), 0, 8, 4, method="plain")
    torch.testing.assert_close(all_of_them.discrepancy, plain.discrepancy, atol=1e-5, rtol=1e-4)


def test_it_can_be_cancelled(net):
    occlusion = Occlusion(net, torch.randn(3, 64, 64))
    steps = occlusion.steps((30, 30), 0, replace(DRILLDOWN, agreement=0.99))
    first = next(steps)
    steps.close()
    assert 0 < first.evaluated < 0.2
    assert first.discrepancy.shape == (64, 64)


@pytest.mark.parametrize("agreement", [0, -1, 1.1])
def test_the_agreement_is_a_share(net, agreement):
    with pytest.raises(ValueError, match="agreement"):
        valid_field(
            net, torch.zeros(3, 32, 32), (1, 1), 0, 8, 8, method="drilldown", agreement=agreement
        )
