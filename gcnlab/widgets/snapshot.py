"""The static figure of an explorer, for web pages and notebooks without a kernel."""

import textwrap

from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.patheffects import Normal, Stroke

from gcnlab.plots.style import figure_style
from gcnlab.widgets.picture import Picture

COLOURS = {"item": "#56b4e9", "region": "white"}
"""The colours of outlines, as in picture.css."""


def plot_pictures(rows: list[list[Picture]], width: int | float = 2.3) -> Figure:
    """Draw pictures in the layout of the explorer, each with its facts below.

    Args:
        rows: rows of pictures, all of the same length.
        width: width of one picture, in inches.
    """
    with figure_style():
        height = sum(
            max(width * p.size[0] / p.size[1] + 0.16 * len(_lines(p)) + 0.3 for p in row)
            for row in rows
        )
        figure = Figure(figsize=(width * len(rows[0]), height))
        axes = figure.subplots(len(rows), len(rows[0]), squeeze=False)
        for line, pictures in zip(axes, rows):
            for axis, picture in zip(line, pictures):
                _draw(axis, picture)
    return figure


def _draw(axis: Axes, picture: Picture) -> None:
    height, width = picture.size
    axis.set(xlim=(0, width), ylim=(height, 0), xticks=[], yticks=[], aspect="equal")
    axis.spines[:].set_visible(False)
    axis.set_title(picture.title, loc="left", fontweight="bold", fontsize=9)
    axis.set_xlabel("\n".join(_lines(picture)), loc="left", fontsize=8, linespacing=1.35)
    if picture.raster is not None:
        axis.imshow(picture.raster, extent=(0, width, height, 0))
    for name, colour in COLOURS.items():
        lines = [((x, y), (x2, y2)) for x, y, x2, y2 in picture.segments[name]]
        effects = [Stroke(linewidth=2.2, foreground="black", alpha=0.55), Normal()]
        axis.add_collection(
            LineCollection(lines, colors=colour, linewidths=1.0, path_effects=effects)
        )
    if picture.pixel:
        row, column = picture.pixel
        axis.plot(column + 0.5, row + 0.5, "o", color="red", markersize=5, markeredgecolor="white")


def _lines(picture: Picture) -> list[str]:
    lines = [f"{name}: {value}" for name, value in picture.facts if value]
    if picture.error:
        lines += textwrap.wrap(picture.error, 44)
    return lines or [""]
