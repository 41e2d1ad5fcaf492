"""The style of all figures: plain axes and a palette for colour-blind readers (Okabe and Ito)."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import matplotlib as mpl
import numpy as np
from cycler import cycler
from matplotlib.axes import Axes

from gcnlab.plots.notebook import show_figures_in_notebook

OKABE_ITO = ("#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00", "#333333")
"""Colours of lines and bars, in this order."""
STYLES = ("-", "--", "-.", ":")
"""Line styles, in this order, because colours are not distinguishable in print."""
MARKERS = "osD^vPX"
"""Markers, in this order."""
HATCHES = ("", "///", "...", "xx", "\\\\\\", "++")
"""Hatches of bars, in this order."""


def marker(number: int) -> str:
    """The marker of a line by its number; when the colours repeat, the markers are shifted by one."""
    return MARKERS[(number + number // len(MARKERS)) % len(MARKERS)]


@contextmanager
def figure_style() -> Iterator[None]:
    """Use the project's style for figures inside the block; the user's own style is not changed."""
    import seaborn as sns  # slow to import, and an explorer draws no figure at first

    style = sns.axes_style("ticks") | {
        "axes.prop_cycle": cycler(color=OKABE_ITO),
        "axes.spines.right": False,
        "axes.spines.top": False,
        "axes.titlesize": 10,
        "axes.labelsize": 9,
        "xtick.labelsize": 8,
        "ytick.labelsize": 8,
        "legend.fontsize": 8,
        "legend.frameon": False,
        "figure.dpi": 96,
        "savefig.bbox": "tight",
        "figure.constrained_layout.use": True,
    }
    show_figures_in_notebook()
    with mpl.rc_context(style):
        yield


def draw_seeds(
    axis: Axes, values: Sequence[float] | Sequence[Sequence[float]], style: str, label: str
) -> None:
    """Draw a line over 1, 2, …: one run, or the mean of several runs with a band from lowest to
    highest.
    """
    seeds = np.atleast_2d(np.asarray(values, dtype=float))
    places = np.arange(1, seeds.shape[1] + 1)
    (line,) = axis.plot(places, seeds.mean(0), style, label=label)
    if len(seeds) > 1:
        low, high = seeds.min(0), seeds.max(0)
        axis.fill_between(places, low, high, color=line.get_color(), alpha=0.15, linewidth=0)
