"""One style for all figures: quiet axes, a colour-blind-safe palette (Okabe and Ito)."""

from collections.abc import Iterator
from contextlib import contextmanager

import matplotlib as mpl
import seaborn as sns

HEAD_COLORS = {
    "conv1x1": "#7f7f7f",
    "gcn": "#0072b2",
    "conv": "#e69f00",
    "stack": "#009e73",
}
"""Each head's colour, in every figure."""


@contextmanager
def figure_style() -> Iterator[None]:
    """Figures made inside the block have the project's style; the user's own stays as it was."""
    style = sns.axes_style("ticks") | {
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
    with mpl.rc_context(style):
        yield
