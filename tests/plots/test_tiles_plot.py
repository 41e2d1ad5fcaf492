"""The figure of the tiles' weights."""

import pytest

from gcnlab.evaluation.inference import tile_offsets, tile_weights
from gcnlab.plots import plot_tile_weights


def test_every_tile_has_its_line_in_its_place():
    offsets = tile_offsets(2048, 1024, 0.6)
    axis = plot_tile_weights(2048, offsets, tile_weights(2048, 1024, offsets)).axes[0]
    lines = [line for line in axis.lines if len(line.get_xdata()) == 1024]
    assert [line.get_xdata()[0] for line in lines] == offsets == [0, 341, 683, 1024]
    total = sum(line.get_ydata()[700 - line.get_xdata()[0]] for line in lines[:3])
    assert total == pytest.approx(1)
    assert len({line.get_linestyle() for line in lines}) == 4  # not told apart by colour alone
