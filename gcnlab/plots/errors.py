"""What goes wrong: how many pixels in which way, and which classes are taken for which."""

import numpy as np
from matplotlib.figure import Figure

from gcnlab.annotations import Shaped, Tensor
from gcnlab.datasets.labels import LabelSet
from gcnlab.plots.style import HATCHES, OKABE_ITO, figure_style


def plot_error_kinds(errors: dict[str, dict[str, float]]) -> Figure:
    """Wrong pixels of each network as one stacked bar.

    Args:
        errors: network → kind of error → share of all pixels, in percent.
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
    """Where one of two predictions is right and the other is not, in dark; the true outlines as lines.

    Args:
        before, after: predicted class ids.
        labels: true class ids.
    """
    panels = {
        "right only before": (before == labels) & (after != labels),
        "right only after": (before != labels) & (after == labels),
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
    """Confusion matrices in one row, each row in percent of its true class, with the numbers in the cells.

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
