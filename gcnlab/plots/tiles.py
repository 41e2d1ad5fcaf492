"""Plot the tiles of a large image along one axis, and the weights of their logits."""

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure

from gcnlab.annotations import Float, Tensor
from gcnlab.plots.style import STYLES, figure_style


def plot_tile_weights(
    length: int, offsets: Sequence[int], weights: Float[Tensor, "tiles tile"]
) -> Figure:
    """Plot one line per tile: its weight at each pixel of the axis, with its extent above.

    Args:
        length: length of the axis, in pixels.
        offsets: first pixel of each tile.
        weights: weights of each tile (see `gcnlab.evaluation.inference.tile_weights`).
    """
    with figure_style():
        figure = Figure(figsize=(6, 2.6))
        axis = figure.subplots()
        for number, (offset, weight) in enumerate(zip(offsets, weights)):
            (line,) = axis.plot(
                offset + np.arange(len(weight)), weight.numpy(), STYLES[number % len(STYLES)],
                label=f"tile {number + 1}, from {offset}",
            )  # fmt: skip
            height = 1.08 + 0.06 * number
            axis.plot(
                (offset, offset + len(weight)),
                (height,) * 2,
                line.get_linestyle(),
                color=line.get_color(),
            )
        axis.set(xlim=(0, length), xlabel="column (px)", ylabel="weight", yticks=(0, 0.5, 1))
        axis.legend(loc="center left", bbox_to_anchor=(1, 0.5))
    return figure
