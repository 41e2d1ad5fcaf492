"""The static figure of an explorer, for web pages and notebooks without a kernel."""

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.patheffects import Normal, Stroke

from gcnlab.annotations import UInt8
from gcnlab.plots.style import figure_style
from gcnlab.widgets.painting import Segment

COLOURS = {"item": "#56b4e9", "region": "white"}
"""The colours of outlines, as in the browser."""


@dataclass(frozen=True)
class Still:
    """What one picture of an explorer shows.

    Attributes:
        title: text above the picture.
        raster: RGB, (height, width, 3), 0 … 255; None for an empty frame.
        segments: outlines of the region ("region") and of the object ("item").
        pixel: (row, column) of the dot; None for no dot.
        facts: pairs (name, value), shown below the picture.
        error: text below the facts; empty for none.
    """

    title: str
    raster: UInt8[np.ndarray, "height width 3"] | None = None
    segments: dict[str, list[Segment]] = field(default_factory=dict)
    pixel: tuple[int, int] | None = None
    facts: Sequence[tuple[str, str]] = ()
    error: str = ""

    @property
    def text(self) -> str:
        """A description of the picture."""
        place = f" at row {self.pixel[0]}, column {self.pixel[1]}" if self.pixel else ""
        facts = "; ".join(f"{name}: {value}" for name, value in self.facts if value)
        return f"{self.title}{place}: {self.error or facts or 'a picture'}."


def plot_stills(rows: list[list[Still]], width: int | float = 2.3) -> Figure:
    """Draw pictures in the layout of the explorer, each with its facts below.

    Args:
        rows: rows of pictures, all of the same length.
        width: width of one picture, in inches.
    """
    with figure_style():
        height = sum(
            max(width * _aspect(s) + 0.16 * len(_lines(s)) + 0.3 for s in row) for row in rows
        )
        figure = Figure(figsize=(width * len(rows[0]), height))
        axes = figure.subplots(len(rows), len(rows[0]), squeeze=False)
        for line, stills in zip(axes, rows):
            for axis, still in zip(line, stills):
                _draw(axis, still)
    return figure


def _aspect(still: Still) -> float:
    if still.raster is None:
        return 1.0
    height, width = still.raster.shape[:2]
    return height / width


def draw_picture(axis: Axes, still: Still) -> None:
    """Draw the picture with its outlines and its dot, without texts."""
    height, width = (1, 1) if still.raster is None else still.raster.shape[:2]
    axis.set(xlim=(0, width), ylim=(height, 0), xticks=[], yticks=[], aspect="equal")
    axis.spines[:].set_visible(False)
    if still.raster is not None:
        axis.imshow(still.raster, extent=(0, width, height, 0))
    for name, colour in COLOURS.items():
        lines = [((x, y), (x2, y2)) for x, y, x2, y2 in still.segments.get(name, ())]
        effects = [Stroke(linewidth=2.2, foreground="black", alpha=0.55), Normal()]
        axis.add_collection(
            LineCollection(lines, colors=colour, linewidths=1.0, path_effects=effects)
        )
    if still.pixel:
        row, column = still.pixel
        axis.plot(column + 0.5, row + 0.5, "o", color="red", markersize=5, markeredgecolor="white")


def _draw(axis: Axes, still: Still) -> None:
    draw_picture(axis, still)
    axis.set_title(still.title, loc="left", fontweight="bold", fontsize=9)
    axis.set_xlabel("\n".join(_lines(still)), loc="left", fontsize=8, linespacing=1.35)


def _lines(still: Still) -> list[str]:
    lines = [f"{name}: {value}" for name, value in still.facts if value]
    if still.error:
        lines += textwrap.wrap(still.error, 44)
    return lines or [""]
