"""Plot errors: wrong pixels by kind of error, changes between predictions, confusion matrices."""

import numpy as np
from matplotlib.figure import Figure

from gcnlab.annotations import Shaped, Tensor
from gcnlab.datasets.labels import LabelSet
from gcnlab.plots.style import HATCHES, OKABE_ITO, figure_style


def plot_error_kinds(errors: dict[str, dict[str, float]]) -> Figure:
    """Plot the wrong pixels of each network as a stacked bar.

    Args:
        errors: network → kind of error → percentage of all pixels.
    """
    with figure_style():
        figure = Figure(figsize=(6, 0.55 * len(errors) + 1.1))
        axis = figure.subplots()
        names = list(errors)
        left = np.zeros(len(names))
        for number, kind in enumerate(next(iter(errors.values()))):
            shares = np.array([errors[name][kind] for name in names])
            hatch = HATCHES[number % len(HATCHES)]
            axis.barh(names, shares, 0.6, left, label=kind, hatch=hatch, edgecolor="white")
            left += shares
        axis.invert_yaxis()
        axis.set(xlabel="wrong pixels (% of all)")
        axis.legend(loc="center left", bbox_to_anchor=(1, 0.5))
    return figure


def plot_changes(
    before: Shaped[Tensor, "height width"],
    after: Shaped[Tensor, "height width"],
    labels: Shaped[Tensor, "height width"],
) -> Figure:
    """Plot where only one of two predictions is correct, in dark, with the true outlines.

    Args:
        before, after: predicted class ids.
        labels: true class ids.
    """
    panels = {
        "correct only before": (before == labels) & (after != labels),
        "correct only after": (before != labels) & (after == labels),
    }
    with figure_style():
        figure = Figure(figsize=(5.2, 2.8))
        edges = [i + 0.5 for i in labels.unique().tolist()[:-1]]
        for axis, (title, mask) in zip(figure.subplots(1, 2), panels.items()):
            axis.imshow(mask.numpy(), cmap="Greys", vmin=0, vmax=1, interpolation="nearest")
            if edges:
                axis.contour(labels.numpy(), levels=edges, colors=OKABE_ITO[0], linewidths=0.6)
            axis.set(title=f"{title}: {int(mask.sum())} px", xticks=(), yticks=())
    return figure


def plot_confusion(counts: dict[str, Shaped[Tensor, "true predicted"]], labels: LabelSet) -> Figure:
    """Plot confusion matrices side by side, with rows in percent of the true class.

    Args:
        counts: network → pixels by true and predicted class (`ConfusionMatrix.counts`).
        labels: names of the classes.
    """
    with figure_style():
        figure = Figure(
            figsize=(0.55 * len(labels.names) * len(counts) + 1.2, 0.5 * len(labels.names) + 1)
        )
        axes = figure.subplots(1, len(counts), squeeze=False)[0]
        for axis, (title, matrix) in zip(axes, counts.items()):
            shares = (100 * matrix.double() / matrix.sum(1, keepdim=True).clamp(min=1)).numpy()
            axis.imshow(shares, cmap="Blues", vmin=0, vmax=100)
            for (row, column), share in np.ndenumerate(shares):
                if share >= 0.5:
                    color = "white" if share > 60 else "black"
                    axis.text(
                        column,
                        row,
                        f"{share:.0f}",
                        ha="center",
                        va="center",
                        color=color,
                        fontsize=7,
                    )
            axis.set_xticks(range(len(labels.names)), labels.names, rotation=45, ha="right")
            axis.set_yticks(range(len(labels.names)), labels.names)
            axis.set(title=title, xlabel="predicted")
        axes[0].set(ylabel="true")
        for axis in axes[1:]:
            axis.set_yticklabels([])
    return figure
