"""Plot the coverage of objects against their internal accuracy."""

from collections.abc import Sequence

from matplotlib.figure import Figure

from gcnlab.experiments.coverage import GROUPS, ObjectCoverage
from gcnlab.plots.style import MARKERS, figure_style


def plot_coverage(
    objects: dict[str, Sequence[ObjectCoverage]], region: str = "≥ 20 % of the maximum"
) -> Figure:
    """Plot one panel per network and one marker per object, by groups of object size.

    Args:
        objects: network → its objects.
        region: the region in words, for the label (`gcnlab.receptive.regions.region_text`); the
            default is that of the committed results.

    Raises:
        ValueError: `objects` is empty.
    """
    if not objects:
        raise ValueError("there are no results to plot")
    with figure_style():
        figure = Figure(figsize=(2.9 * len(objects) + 0.6, 3.1))
        axes = figure.subplots(1, len(objects), squeeze=False, sharey=True)[0]
        for axis, (title, found) in zip(axes, objects.items()):
            for (low, high), marker in zip(GROUPS, MARKERS):
                group = [o for o in found if low < o.size <= high]
                axis.plot(
                    [o.coverage for o in group],
                    [o.internal_accuracy for o in group],
                    marker,
                    markersize=3.5,
                    alpha=0.6,
                    label=f"{low}–{high} px",
                )
            axis.set(
                title=title, xlabel=f"coverage (%)\nby {region}", xlim=(-3, 103), ylim=(-3, 103)
            )
        axes[0].set(ylabel="internal accuracy (%)")
        handles, labels = axes[0].get_legend_handles_labels()
        figure.legend(handles, labels, title="object size", title_fontsize=8,
                      loc="outside right upper")  # fmt: skip
    return figure
