"""Plot kernels, and quantities against the kernel size k."""

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import LogFormatter

from gcnlab.annotations import Float, Tensor
from gcnlab.plots.style import figure_style, marker


def plot_kernels(
    kernels: dict[str, Float[Tensor, "_ _"]], numbers: bool = False, signed: bool = True
) -> Figure:
    """Plot kernels or maps side by side with one colour scale: purple < 0, white = 0, orange > 0.

    Args:
        kernels: title → values.
        numbers: write each nonzero value into its cell, so that the figure does not depend on
            colour.
        signed: False uses grey for values from 0 on; larger values are brighter.
    """
    reach = max(float(kernel.abs().max()) for kernel in kernels.values()) or 1.0
    scale = (
        {"cmap": "PuOr_r", "vmin": -reach, "vmax": reach}
        if signed
        else {"cmap": "gray", "vmin": 0, "vmax": reach}
    )
    with figure_style():
        figure = Figure(figsize=(2.2 * len(kernels) + 0.6, 2.5))
        axes = figure.subplots(1, len(kernels), squeeze=False)[0]
        for axis, (title, kernel) in zip(axes, kernels.items()):
            values = kernel.detach().numpy()
            picture = axis.imshow(values, **scale)
            axis.set_title(title)
            axis.set(xticks=[], yticks=[])
            axis.spines[:].set(visible=True, color="0.7")
            for row, column in np.argwhere(values) if numbers else ():
                value = values[row, column]
                shade = "white" if abs(value) > 0.7 * reach else "black"
                axis.text(
                    column, row, f"{value:.1f}", ha="center", va="center", color=shade, size=7
                )
        figure.colorbar(picture, ax=list(axes), shrink=0.7, label="value")
    return figure


def plot_against_k(values: dict[str, dict[int, float]], ylabel: str) -> Figure:
    """Plot one line with markers per kind of kernel, against k, with a logarithmic vertical axis.

    Args:
        values: kind → k → positive value.
        ylabel: label of the vertical axis, with the unit.
    """
    with figure_style():
        figure = Figure(figsize=(4.6, 2.8))
        axis = figure.subplots()
        for number, (title, line) in enumerate(values.items()):
            axis.plot(line.keys(), line.values(), marker(number) + "-", label=title)
        sizes = sorted({k for line in values.values() for k in line})
        axis.set(xlabel="k", ylabel=ylabel, xticks=sizes, yscale="log")
        axis.yaxis.set_major_formatter(LogFormatter())
        axis.yaxis.set_minor_formatter(LogFormatter())
        axis.legend()
    return figure
