import base64
import io
import math
import re

import numpy as np
import pytest
import torch
from PIL import Image

from gcnlab.plots import (
    LiveLoss,
    LivePredictions,
    plot_class_iou,
    plot_epochs,
    plot_learning_rates,
    plot_losses,
)
from gcnlab.plots.notebook import small_png


def test_losses_are_running_means_at_their_last_step():
    figure = plot_losses({"a": [4.0, 2.0, 0.0, 2.0]}, smooth=2)
    (line,) = figure.axes[0].lines
    np.testing.assert_array_equal(line.get_xdata(), [2, 3, 4])
    np.testing.assert_allclose(line.get_ydata(), [3.0, 1.0, 1.0])


def test_class_iou_has_a_bar_per_class_and_network():
    figure = plot_class_iou({"a": {"x": 10.0, "y": 20.0}, "b": {"x": 30.0, "y": float("nan")}})
    heights = [bar.get_height() for bars in figure.axes[0].containers for bar in bars]
    assert heights[:3] == [10.0, 20.0, 30.0]
    assert np.isnan(heights[3])


@pytest.fixture
def shown(monkeypatch):
    """(first or again, text, picture) of what is displayed."""
    found = []

    def keep(when, bundle):
        alt, data = re.fullmatch(
            r'<img alt="(.*)" src="data:.*,(.*)">', bundle["text/html"]
        ).groups()
        picture = Image.open(io.BytesIO(base64.b64decode(data))).convert("RGB")
        found.append((when, alt, np.asarray(picture)))

    class Handle:
        def update(self, bundle, raw):
            keep("again", bundle)

    def display(bundle, raw, display_id):
        keep("first", bundle)
        return Handle()

    monkeypatch.setattr("IPython.display.display", display)
    return found


def test_predictions_are_shown_once_and_then_renewed(shown):
    live = LivePredictions()
    picture = torch.arange(2 * 3 * 3, dtype=torch.uint8).reshape(3, 2, 3)
    live(10, picture)
    live(20, picture + 1)
    assert [when for when, *_ in shown] == ["first", "again"]
    assert "step 20" in shown[1][1]
    assert shown[1][2].shape == (320, 480, 3)
    np.testing.assert_array_equal(shown[1][2][::160, ::160], (picture + 1).permute(1, 2, 0))


def test_a_live_loss_tells_its_course(shown):
    live = LiveLoss("GCN", every=math.inf)
    for step in range(1, 28):
        live(step, 27, 3.0 if step < 26 else 0.5)
    ((when, text, picture),) = shown
    assert when == "first"
    assert text == "Loss of GCN up to step 27 of 27: from 3.00 to 2.80."
    assert (picture != 255).any(), "something is drawn"


def test_a_live_loss_of_a_resumed_run_begins_where_it_was_broken_off(shown, monkeypatch):
    drawn = []

    def kept(figure):
        drawn.append(figure)
        return small_png(figure)

    monkeypatch.setattr("gcnlab.plots.training.small_png", kept)
    live = LiveLoss(every=math.inf)
    for step in range(71, 101):
        live(step, 100, 1.0)
    (line,) = drawn[-1].axes[0].lines
    np.testing.assert_array_equal(line.get_xdata(), range(95, 101))


def test_rates_are_drawn_as_they_are():
    axis = plot_learning_rates({"a": [0.0, 0.5, 1.0], "b": [1.0, 1.0]}).axes[0]
    assert [list(line.get_ydata()) for line in axis.lines] == [[0.0, 0.5, 1.0], [1.0, 1.0]]
    assert len({line.get_linestyle() for line in axis.lines}) == 2


def test_epochs_are_a_mean_of_seeds_in_a_band():
    axis = plot_epochs({"a": [[4.0, 1.0], [2.0, 3.0]], "b": [1.0, 0.5]}).axes[0]
    a, b = axis.lines
    assert list(a.get_xdata()) == [1, 2]
    assert list(a.get_ydata()) == [3.0, 2.0]
    assert list(b.get_ydata()) == [1.0, 0.5]
    (band,) = axis.collections
    points = band.get_paths()[0].vertices
    assert points[points[:, 0] == 1][:, 1].min() == 2.0
    assert points[points[:, 0] == 2][:, 1].max() == 3.0
