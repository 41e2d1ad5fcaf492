"""Time and memory of the heads against k: a GCN's cost grows with k, a k×k convolution's with k².

    python -m benchmarks.head_cost --out data/results/bench/cost.json

Measured are the four heads of the network on the feature maps of a ResNet-50 at 512×512 with 21
classes, forward and backward. Memory is the peak of a pass above the weights and the feature maps.
On a CPU the maps are contiguous: the channels-last layout is faster for the k of actual networks,
but in it oneDNN takes a hundred times as long for the gradients of kernels of about 15 pixels and
more.
"""

import math
import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from matplotlib.figure import Figure
from torch import nn

from benchmarks.memory import peak_mb_of
from benchmarks.timing import seconds, single_threaded
from gcnlab.devices import default_device
from gcnlab.experiments.command import run_command
from gcnlab.experiments.network_cost import count_operations
from gcnlab.models import make_head
from gcnlab.plots.style import figure_style
from gcnlab.provenance import provenance, write_json

SIZES = (3, 5, 7, 9, 11, 15, 19, 25)
CHANNELS = (256, 512, 1024, 2048)
STRIDES = (4, 8, 16, 32)
CLASSES = 21
KINDS = {"gcn": 1, "conv": 2}
"""Head → the power of k with which its cost grows."""


class Heads(nn.Module):
    """One head per level.

    Args:
        kind: "gcn" or "conv".
        k: kernel size.
    """

    def __init__(self, kind: str, k: int, channels: tuple[int, ...] = CHANNELS):
        super().__init__()
        self.heads = nn.ModuleList(make_head(kind, c, CLASSES, k) for c in channels)

    def forward(self, features: list[torch.Tensor]) -> list[torch.Tensor]:
        return [head(feature) for head, feature in zip(self.heads, features)]


@dataclass(frozen=True)
class HeadCostBenchmark:
    """Measure time and memory of the heads against k, and fit time to k and k²."""

    out: Path | None = None
    """Write figures and provenance to this JSON file, and draw them beside it (.png)."""
    device: str | None = None
    """cpu, cuda, …; default: the GPU if there is one."""
    sizes: tuple[int, ...] = SIZES
    """Every k."""
    size: int = 512
    """Height and width of the image, in pixels."""
    channels: tuple[int, int, int, int] = CHANNELS
    """Channels of the four feature maps."""
    rounds: int = 2
    """Rounds over all heads; the fastest counts, as the least disturbed."""

    def __call__(self) -> dict:
        result = measure(self)
        if self.out is not None:
            write_json(result, self.out)
            plot_head_cost(result).savefig(self.out.with_suffix(".png"), dpi=100)
        return result


def measure(settings: HeadCostBenchmark) -> dict:
    """Time, memory and operations of each head and k, printed line by line."""
    start, device = time.perf_counter(), default_device(settings.device)
    sizes, size, channels = settings.sizes, settings.size, settings.channels
    torch.manual_seed(0)
    on_cpu = device.type == "cpu"
    batch, repeats = (1, 1) if on_cpu else (8, 10)
    layout = torch.contiguous_format if on_cpu else torch.channels_last
    shapes = [(batch, c, size // s, size // s) for c, s in zip(channels, STRIDES)]
    rows = {(kind, k): {"kind": kind, "k": k} for kind in KINDS for k in sizes}
    with single_threaded(device):
        features = [
            torch.randn(s, device=device).to(memory_format=layout).requires_grad_() for s in shapes
        ]
        for _ in range(settings.rounds):
            for (kind, k), row in rows.items():
                heads = Heads(kind, k, channels).to(device, memory_format=layout)
                memory, taken = _pass(heads, features, device, repeats)
                row["memory_mb"] = row.get("memory_mb", memory)
                row["seconds"] = min(taken, row.get("seconds", math.inf))
        for (kind, k), row in rows.items():
            row["operations"] = count_operations(
                partial(Heads, kind, k, channels),
                lambda: [torch.empty(shape, requires_grad=True) for shape in shapes],
                backward=True,
            )
            print(
                f"{kind:<5} k={k:<3}{1000 * row['seconds']:9.1f} ms {row['memory_mb']:8.0f} MB "
                f"{row['operations'] / 1e9:8.1f} G",
                flush=True,
            )
    fits = {}
    for kind, power in KINDS.items():
        mine = [row for row in rows.values() if row["kind"] == kind]
        ks = np.array([row["k"] for row in mine], float)
        times = np.array([row["seconds"] for row in mine])
        fits[kind] = {f"k^{p}": _explained(ks**p, times) for p in (1, 2)}
        print(
            f"{kind}: a + b·k^{power} explains {100 * fits[kind][f'k^{power}']:.1f} % of its variance"
        )
    values = {
        "what": f"four heads, forward and backward, maps of a ResNet-50 at {size}×{size}, {CLASSES} classes",
        "batch_size": batch,
        "clock": "processor time, one thread" if device.type == "cpu" else "wall",
        "rows": list(rows.values()),
        "variance_explained": fits,
        "provenance": provenance(
            seeds=[0],
            dataset="random maps",
            split="none",
            device=device,
            seconds=time.perf_counter() - start,
        ),
    }
    return values


def _pass(
    heads: Heads, features: list[torch.Tensor], device: torch.device, repeats: int
) -> tuple[float, float]:
    """Peak memory in MB and duration in seconds of one pass, forward and backward."""
    wanted, taken = [*features, *heads.parameters()], []

    def work() -> None:
        torch.autograd.grad([logits.mean() for logits in heads(features)], wanted)

    memory = peak_mb_of(lambda: taken.append(seconds(work, device, repeats)), device)
    return memory, taken[0]


def _explained(x: np.ndarray, y: np.ndarray) -> float:
    """Share of the variance of y that a + b·x explains."""
    residual = y - np.polyval(np.polyfit(x, y, 1), x)
    return float(1 - residual.var() / y.var())


TITLES = {"gcn": ("GCN", 1, "o"), "conv": ("k×k convolution", 2, "s")}
"""Head → its name, the power of k with which its cost should grow, and its marker."""


def plot_head_cost(result: dict) -> Figure:
    """Time and peak memory against k, a marker per head.

    The dashed lines are fits of the time: a + b·k for GCN, a + b·k² for the k×k convolution.

    Args:
        result: the return value of `measure`.
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


if __name__ == "__main__":
    run_command(HeadCostBenchmark, "benchmarks.head_cost")
