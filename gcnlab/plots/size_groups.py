"""Plot what depends on the size of an object: the claims of the paper's Figure 3, counted."""

from collections.abc import Sequence

from matplotlib.figure import Figure

from gcnlab.plots.style import STYLES, draw_seeds, figure_style


def plot_size_groups(
    panels: dict[str, dict[str, Sequence[Sequence[float]]]], groups: Sequence[str]
) -> Figure:
    """Plot means against the size of the object, one panel per measure and one line per network.

    A line is the mean over the seeds, with a band from the lowest to the highest.

    Args:
        panels: label of the vertical axis → network → the mean of each group for each seed
            (`gcnlab.experiments.size_groups.by_size`). A group without a value is NaN.
        groups: names of the groups, from small to large.
    """
    with figure_style():
        figure = Figure(figsize=(3.2 * len(panels), 2.8))
        for axis, (label, networks) in zip(
            figure.subplots(1, len(panels), squeeze=False)[0], panels.items()
        ):
            for number, (name, values) in enumerate(networks.items()):
                draw_seeds(axis, values, STYLES[number % len(STYLES)], name)
            axis.set(ylabel=label, xlabel="size of the object (px)")
            axis.set_xticks(range(1, len(groups) + 1), groups)
        figure.axes[0].legend()
    return figure
