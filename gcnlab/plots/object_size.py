"""Plot scores against object size, a measured version of the paper's Figure 3."""

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure

from gcnlab.experiments.object_size import TRAINED_SIZES, ObjectSizes
from gcnlab.plots.style import figure_style, marker
from gcnlab.receptive.regions import region_text

PANELS = {
    "coverage": "coverage of the object (%)",
    "internal_accuracy": "internal accuracy (%)",
    "iou": "IoU of the object's class (%)",
}


def plot_object_sizes(results: Sequence[ObjectSizes]) -> Figure:
    """Plot coverage, internal accuracy and IoU against object size, with one line per network.

    A line is the mean over the seeds of a network, with a band from the lowest to the highest seed.
    A dashed line of the same colour marks the theoretical field size at the head on res-5 if it is
    in the range; the legend lists all sizes. Object sizes that do not occur in training are shaded.

    Args:
        results: networks measured with the same settings.

    Raises:
        ValueError: `results` is empty, or the settings differ.
    """
    if not results:
        raise ValueError("there are no results to plot")
    if len({result.settings for result in results}) > 1:
        raise ValueError("the results were measured with different settings")
    settings = results[0].settings
    groups: dict[str, list[ObjectSizes]] = {}
    for result in sorted(results, key=_order):
        groups.setdefault(result.title, []).append(result)
    with figure_style():
        figure = Figure(figsize=(10, 3.6))
        axes = figure.subplots(1, len(PANELS))
        for axis, (score, label) in zip(axes, PANELS.items()):
            for number, (title, networks) in enumerate(groups.items()):
                values = np.array(
                    [[getattr(s, score) for s in network.scores] for network in networks],
                    dtype=float,  # None becomes NaN: a gap in the line
                )
                (line,) = axis.plot(
                    settings.sizes,
                    values.mean(0),
                    marker=marker(number),
                    markersize=4,
                    linewidth=1.4,
                    label=f"{title} ({_pixels(networks[0])})",
                )
                axis.fill_between(
                    settings.sizes,
                    values.min(0),
                    values.max(0),
                    color=line.get_color(),
                    alpha=0.15,
                    linewidth=0,
                )
                if networks[0].theoretical is not None:
                    axis.axvline(
                        networks[0].theoretical, color=line.get_color(), linestyle="--", linewidth=1
                    )
            start, stop = min(settings.sizes) - 4, max(settings.sizes) + 4
            smallest, largest = (share * settings.image_size for share in TRAINED_SIZES)
            for left, right in ((start, smallest), (largest, stop)):
                axis.axvspan(left, max(left, right), color="0.5", alpha=0.12, linewidth=0)
            if score == "coverage":
                label += f"\nby {region_text(settings.threshold, settings.rule)}"
            axis.set(xlim=(start, stop), ylim=(0, 102), xlabel="object size (px)", ylabel=label)
        handles, labels = axes[0].get_legend_handles_labels()
        figure.legend(
            handles,
            labels,
            title="head (theoretical field at res-5); grey: sizes not in the training data",
            title_fontsize=8,
            loc="outside lower center",
            ncols=len(groups),
        )
    return figure


def _order(network: ObjectSizes) -> tuple:
    n = network
    return n.backbone != "mini", n.backbone, n.kernel_size, n.head, n.refine, n.seed


def _pixels(network: ObjectSizes) -> str:
    return "unknown" if network.theoretical is None else f"{network.theoretical} px"
