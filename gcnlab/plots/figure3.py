"""Figure 3: an object at several sizes, bright where a network sees it."""

from collections.abc import Sequence

from matplotlib.figure import Figure

from gcnlab.experiments.figure3 import SizedField
from gcnlab.plots.pictures import draw_region
from gcnlab.plots.style import figure_style
from gcnlab.receptive.regions import region_text


def plot_fields_at_scales(rows: Sequence[Sequence[SizedField]]) -> Figure:
    """Plot a row per network and a column per size, as in Figure 3.

    The region that holds 80 % of the field's mass is bright on the darkened image, the unit is a
    red dot, and the title gives the share of the object that the region covers.

    Args:
        rows: see `gcnlab.experiments.fields_at_scales`.

    Raises:
        ValueError: there is no field.
    """
    if not rows or not rows[0]:
        raise ValueError("there is no field to plot")
    height, width = rows[0][0].placed.image.shape[-2:]
    with figure_style():
        shape = height / width
        figure = Figure(figsize=(2.7 * len(rows[0]), (2.7 * shape + 0.3) * len(rows)))
        axes = figure.subplots(len(rows), len(rows[0]), squeeze=False)
        for row, line in zip(rows, axes):
            for found, axis in zip(row, line):
                placed, title = found.placed, f"{found.coverage:.0%} covered"
                draw_region(axis, placed.image / 255, found.field.region(), placed.pixel, title)
            line[0].axis("on")
            line[0].set(xticks=[], yticks=[], ylabel=row[0].network)
            line[0].spines[:].set_visible(False)
        for found, axis in zip(rows[0], axes[0]):
            axis.set_title(f"× {found.placed.scale:g}: {axis.get_title()}")
        figure.supxlabel(f"bright: {region_text()}", fontsize=8)
    return figure
