"""Accuracy against distance to the boundary: Table 5's one line at 7 pixels, drawn everywhere."""

from collections.abc import Sequence

from matplotlib.figure import Figure

from gcnlab.plots.style import STYLES, draw_seeds, figure_style


def plot_distance_curves(
    accuracy: dict[str, Sequence[float] | Sequence[Sequence[float]]],
    marked: int | float | None = 7,
    ylabel: str = "accuracy within that distance (%)",
) -> Figure:
    """A line per network: of one training, or of several their mean, in a band from the lowest to the highest.

    Args:
        accuracy: network → percent at 1, 2, … pixels (`within` or `at` of a curve of
            `gcnlab.evaluation.evaluate(…, curve=40)`), or a list of these, one for each seed.
        marked: distance with a thin line, as the paper's 7 pixels; None for none.
        ylabel: what is drawn.
    """
    with figure_style():
        figure = Figure(figsize=(5, 2.8))
        axis = figure.subplots()
        for number, (title, values) in enumerate(accuracy.items()):
            draw_seeds(axis, values, STYLES[number % len(STYLES)], title)
        if marked is not None:
            axis.axvline(marked, color="0.6", linewidth=0.8, label="_marked")
        axis.set(xlabel="distance to the boundary (px)", ylabel=ylabel)
        axis.legend()
    return figure
