"""Cost against k: a GCN beside a dense k×k convolution."""

from typing import Any

import numpy as np
from matplotlib.figure import Figure

from gcnlab.plots.style import figure_style

TITLES = {"gcn": ("GCN", 1, "o"), "conv": ("k×k convolution", 2, "s")}
"""Head → name, the power of k that its cost should grow with, marker."""


def plot_cost(result: dict[str, Any]) -> Figure:
    """Time and peak memory against k, marks per head; dashed, for the time, is a + b·k for GCN and a + b·k² for k×k.

    Args:
        result: what `gcnlab bench cost` measured.
    """
    with figure_style():
        figure = Figure(figsize=(8, 3.2))
        axes = figure.subplots(1, 2)
        panels = {"seconds": "time, forward and backward (s)", "memory_mb": "peak memory (MB)"}
        for axis, (key, label) in zip(axes, panels.items()):
            for kind, (title, power, marker) in TITLES.items():
                rows = [row for row in result["rows"] if row["kind"] == kind]
                k = np.array([row["k"] for row in rows], dtype=float)
                values = np.array([row[key] for row in rows])
                (line,) = axis.plot(k, values, marker=marker, linestyle="none", label=title)
                if key == "seconds" and len(k) > 2:
                    fine = np.linspace(k.min(), k.max(), 100)
                    fit = np.polyval(np.polyfit(k**power, values, 1), fine**power)
                    axis.plot(fine, fit, linestyle="--", linewidth=1, color=line.get_color())
            axis.set(xlabel="k (pixels of each level's map)", ylabel=label, ylim=(0, None))
        axes[0].legend()
    return figure
