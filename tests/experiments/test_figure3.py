"""Figure 3 with any object: the fields are those of the single calls."""

import pytest
import torch

from gcnlab import load, valid_field
from gcnlab.datasets import SHAPES, cut_out, plain_ground
from gcnlab.datasets.cutout import paste
from gcnlab.evaluation import predict
from gcnlab.experiments.figure3 import describe, fields_at_scales
from gcnlab.plots import plot_fields_at_scales
from gcnlab.receptive import OcclusionSettings

DISC = SHAPES.names.index("disc")


@pytest.fixture(scope="module")
def disc():
    rows, columns = torch.meshgrid(torch.arange(40), torch.arange(40), indexing="ij")
    mask = (rows - 20) ** 2 + (columns - 20) ** 2 <= 15**2
    image = torch.where(mask, 200, 0).to(torch.uint8).repeat(3, 1, 1)
    return cut_out(image, mask)


@pytest.mark.slow
def test_each_field_is_that_of_a_single_call(disc):
    runs = {name: load(f"{name}-seed0", "cpu") for name in ("conv1x1", "gcn3")}
    ground, settings = plain_ground(64, 96), OcclusionSettings(24, 12)
    rows = fields_at_scales(runs, disc, DISC, ground, (0.5, 1.5), settings, progress=False)
    assert [[(f.network, f.placed.scale) for f in row] for row in rows] == [
        [("conv1x1", 0.5), ("conv1x1", 1.5)],
        [("gcn3", 0.5), ("gcn3", 1.5)],
    ]
    for (name, run), row in zip(runs.items(), rows):
        for found in row:
            image, mask = paste(disc, ground, scale=found.placed.scale)
            x = run.normalization(image)
            single = valid_field(run.model, x, found.placed.pixel, DISC, window=24, stride=12)
            top = single.discrepancy.abs().max()
            torch.testing.assert_close(
                found.field.discrepancy, single.discrepancy, rtol=0, atol=1e-4 * top.item()
            )
            assert found.coverage == pytest.approx(single.coverage(mask), abs=0.02)
            right = (predict(run.model, x[None])[0][mask] == DISC).double().mean().item()
            assert found.right == right
            assert describe(found).startswith(f"{name}, × {found.placed.scale:g}: covers ")
    figure = plot_fields_at_scales(rows)
    titles = [axis.get_title() for axis in figure.axes]
    assert titles[0] == f"× 0.5: {rows[0][0].coverage:.0%} covered"
    assert titles[3] == f"{rows[1][1].coverage:.0%} covered"
    assert [figure.axes[i].get_ylabel() for i in (0, 2)] == ["conv1x1", "gcn3"]


def test_a_figure_without_fields_is_refused():
    with pytest.raises(ValueError, match="no field"):
        plot_fields_at_scales([])
