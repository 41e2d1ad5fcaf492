"""Plot accuracy against the distance to the boundary; Table 5 has only the distance of 7 pixels."""

from collections.abc import Sequence

from matplotlib.figure import Figure

from gcnlab.plots.style import STYLES, draw_seeds, figure_style


def plot_distance_curves(
    accuracy: dict[str, Sequence[float] | Sequence[Sequence[float]]],
    marked: int | float | None = 7,
    ylabel: str = "accuracy within that distance (%)",
) -> Figure:
    """Plot one line per network: one run, or the mean of several runs with a band from lowest to
    highest.

    Args:
        accuracy: network → percent at 1, 2, … pixels (`within` or `at` of a curve of
            `gcnlab.evaluation.evaluate(…, curve=40)`), or a list of these, one for each seed.
        marked: distance marked by a thin line, such as the paper's 7 pixels; None for no line.
        ylabel: label of the vertical axis.
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
