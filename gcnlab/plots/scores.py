"""Plot scores of networks: the paper's beside ours, against cost, and against the learning rate."""

from collections.abc import Sequence
from itertools import chain

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter, NullLocator, StrMethodFormatter

from gcnlab.plots.style import OKABE_ITO, figure_style, marker


def plot_paper_and_ours(
    paper: dict[str, float],
    ours: dict[str, Sequence[float]],
    score: str = "mean IoU (%)",
    images: str = "Shapes",
) -> Figure:
    """Plot a table in two panels: the paper's scores, and ours with a marker per seed and their
    mean.

    The panels have separate axes, because data and networks differ: compare the rankings, not the
    absolute scores.

    Args:
        paper: network → published score.
        ours: the same networks → score of each seed; may be empty.
        score: label of the vertical axes.
        images: the data set of our networks.
    """
    with figure_style():
        figure = Figure(figsize=(max(6.0, 0.8 * len(paper) + 3.5), 2.8))
        left, right = figure.subplots(1, 2)
        left.plot(range(len(paper)), list(paper.values()), "o", color=OKABE_ITO[6])
        for place, values in enumerate(ours[name] for name in paper):
            _seeds(right, place, values)
        for axis, title in ((left, "paper (VOC)"), (right, f"ours ({images})")):
            axis.set_xticks(range(len(paper)), list(paper), rotation=35, ha="right")
            axis.set(title=title, ylabel=score, xlim=(-0.6, len(paper) - 0.4))
            axis.grid(axis="y", color="0.92", linewidth=0.6)
    return figure


def plot_cost_and_score(
    costs: dict[str, dict[str, float]],
    scores: dict[str, Sequence[float]],
    ylabel: str = "mean IoU (%)",
) -> Figure:
    """Plot scores against cost, with one panel per kind of cost.

    Each network has a marker at the mean of its seeds and a bar of one standard deviation.

    Args:
        costs: label of the horizontal axis (multiply-adds, weights, seconds, a loss …) → network →
            value, on a logarithmic axis.
        scores: the same networks → score of each seed; networks without scores are omitted.
        ylabel: label of the vertical axis.
    """
    with figure_style():
        figure = Figure(figsize=(3.1 * len(costs) + 2.3, 3.2))
        axes = figure.subplots(1, len(costs), squeeze=False, sharey=True)[0]
        for axis, (xlabel, cost) in zip(axes, costs.items()):
            shown = [name for name in cost if len(scores[name])]
            for number, name in enumerate(shown):
                values = np.asarray(scores[name], dtype=float)
                spread = values.std(ddof=1) if len(values) > 1 else None
                axis.errorbar(
                    cost[name], values.mean(), spread,
                    fmt=marker(number), capsize=2, elinewidth=0.8, label=name,
                )  # fmt: skip
            axis.set(xscale="log", xlabel=xlabel)
            axis.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
            axis.xaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
            axis.xaxis.set_minor_formatter(NullFormatter())
        axes[0].set(ylabel=ylabel)
        axes[-1].legend(loc="center left", bbox_to_anchor=(1, 0.5))
    return figure


def plot_score_against_learning_rate(
    panels: Sequence[dict[str, dict[float, Sequence[float]]]], score: str = "mean IoU (%)"
) -> Figure:
    """Plot scores against the learning rate, with one line per network.

    A line is the mean of the seeds, with a band from the lowest to the highest. A network has the
    same colour and marker in all panels.

    Args:
        panels: for each panel, network → learning rate → score of each seed, at least one.
        score: label of the vertical axis.
    """
    numbers = {name: number for number, name in enumerate(dict.fromkeys(chain(*panels)))}
    with figure_style():
        figure = Figure(figsize=(3.4 * len(panels), 3.2))
        axes = figure.subplots(1, len(panels), squeeze=False, sharey=True)[0]
        for axis, networks in zip(axes, panels):
            for name, by_rate in networks.items():
                color, mark = OKABE_ITO[numbers[name] % len(OKABE_ITO)], marker(numbers[name])
                rates, seeds = zip(*sorted(by_rate.items()))
                axis.plot(rates, [np.mean(s) for s in seeds], marker=mark, color=color, label=name)
                low, high = [min(s) for s in seeds], [max(s) for s in seeds]
                axis.fill_between(rates, low, high, color=color, alpha=0.15, linewidth=0)
            every = sorted({rate for by_rate in networks.values() for rate in by_rate})
            axis.set(xscale="log", xlabel="learning rate")
            axis.set_xticks(every, [f"{rate:g}" for rate in every])
            axis.xaxis.set_minor_locator(NullLocator())
            axis.legend(loc="lower right")
        axes[0].set(ylabel=score, ylim=(0, None))  # shared by all panels, after all lines are drawn
    return figure


def _seeds(axis: Axes, place: int, values: Sequence[float]) -> None:
    if not len(values):
        axis.text(place, 0.5, "not run", rotation=90, ha="center", va="center", fontsize=8,
                  transform=axis.get_xaxis_transform())  # fmt: skip
        return
    offsets = np.linspace(-0.12, 0.12, len(values)) if len(values) > 1 else [0.0]
    axis.plot(place + np.asarray(offsets), values, "o", color=OKABE_ITO[0], markersize=3.5)
    mean = float(np.mean(values))
    axis.plot([place - 0.28, place + 0.28], [mean, mean], color=OKABE_ITO[5], linewidth=1.6)
