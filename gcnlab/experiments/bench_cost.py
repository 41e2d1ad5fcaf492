"""Cost against k: a GCN's grows with k, a k×k convolution's with k². Time and memory, measured.

The four heads of the network on the feature maps of a ResNet-50 at 512×512, 21 classes, forward and backward.
Memory is what a pass takes at its peak above the weights and the maps. On a CPU the maps are contiguous: in the
channels-last layout, which is the quicker one for the k that networks have, oneDNN takes a hundred times as long for
the gradients of kernels from some 15 pixels on.
"""

import math
import time
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import nn

from gcnlab.devices import default_device
from gcnlab.experiments.process import peak_mb_of
from gcnlab.experiments.speed import measured_alone, operations, seconds
from gcnlab.models import make_head
from gcnlab.provenance import provenance, write_json

SIZES = (3, 5, 7, 9, 11, 15, 19, 25)
CHANNELS = (256, 512, 1024, 2048)
STRIDES = (4, 8, 16, 32)
CLASSES = 21
KINDS = {"gcn": 1, "conv": 2}
"""Head → power of k that its cost grows with."""


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


def bench_cost(
    out: Path | None = None,
    device: str | None = None,
    sizes: tuple[int, ...] = SIZES,
    size: int = 512,
    channels: tuple[int, ...] = CHANNELS,
    rounds: int = 2,
) -> dict:
    """Run the benchmark, print it, and write it to `out` (JSON).

    Args:
        device: "cuda", "cpu"; None takes the GPU if there is one.
        sizes: every k.
        size: height and width of the image, in pixels.
        channels: of the four feature maps.
        rounds: of all; the quickest counts, as the least disturbed.
    """
    start, device = time.perf_counter(), default_device(device)
    torch.manual_seed(0)
    on_cpu = device.type == "cpu"
    batch, repeats = (1, 1) if on_cpu else (8, 10)
    layout = torch.contiguous_format if on_cpu else torch.channels_last
    shapes = [(batch, c, size // s, size // s) for c, s in zip(channels, STRIDES)]
    rows = {(kind, k): {"kind": kind, "k": k} for kind in KINDS for k in sizes}
    with measured_alone(device):
        features = [
            torch.randn(s, device=device).to(memory_format=layout).requires_grad_() for s in shapes
        ]
        for _ in range(rounds):
            for (kind, k), row in rows.items():
                heads = Heads(kind, k, channels).to(device, memory_format=layout)
                memory, taken = _pass(heads, features, device, repeats)
                row["memory_mb"] = row.get("memory_mb", memory)
                row["seconds"] = min(taken, row.get("seconds", math.inf))
        for (kind, k), row in rows.items():
            row["operations"] = operations(
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
    if out is not None:
        write_json(values, out)
    return values


def _pass(
    heads: Heads, features: list[torch.Tensor], device: torch.device, repeats: int
) -> tuple[float, float]:
    """Memory in MB and seconds of one pass, forward and backward."""
    wanted, taken = [*features, *heads.parameters()], []

    def work() -> None:
        torch.autograd.grad([scores.mean() for scores in heads(features)], wanted)

    memory = peak_mb_of(lambda: taken.append(seconds(work, device, repeats)), device)
    return memory, taken[0]


def _explained(x: np.ndarray, y: np.ndarray) -> float:
    """Share of the variance of y that a + b·x explains."""
    rest = y - np.polyval(np.polyfit(x, y, 1), x)
    return float(1 - rest.var() / y.var())
