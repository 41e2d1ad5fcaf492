"""Time of the valid receptive field, ours and Captum's, side by side in one run.

    python -m benchmarks.vrf --out data/results/bench/vrf.json

Captum's Occlusion runs the whole network for every window. Counting multiply-adds bounds the
speed-up that reuse can reach; the bound is printed beside the measurement. Per case:

- *Captum* at its best `perturbations_per_eval`. Its time per window depends neither on the number
  of windows nor on their size, so by default it is timed on 16 windows and scaled to all of them.
- *exact* and *drill-down* on pairs of an image and a pixel, each time with a new `Occlusion`, so
  that the pass over the clean image counts. Exporting the network's graph and checking it against
  running the whole network happen once per network and image size; their times are shown
  separately.
- *agreement*: intersection over union of drill-down's region with the region of all windows.

Weights are random, except with --run: time does not depend on weights, but drill-down's agreement
does. It takes about half an hour on two cores that have nothing else to do.
"""

import multiprocessing
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import NamedTuple

import torch
from torch import nn

from benchmarks.memory import peak_mb
from benchmarks.record import write_record
from gcnlab.annotations import Float, Tensor
from gcnlab.datasets import Shapes
from gcnlab.datasets.normalization import Normalization
from gcnlab.experiments.command import run_command
from gcnlab.models import SegmentationNet
from gcnlab.models.logits import logits_of
from gcnlab.models.modes import evaluation_mode
from gcnlab.receptive import Occlusion, OcclusionSettings, ValidField, valid_field
from gcnlab.receptive.graph import Graph
from gcnlab.receptive.grid import OcclusionGrid
from gcnlab.training import load_run

WINDOW = 32
EXACT_TIMED = 2
"""Pairs for which the exact method is timed from the start; for the others it continues after
drill-down."""

AGREEMENT = 0.95
THRESHOLD = 0.2


class Times(NamedTuple):
    """Wall time, and processor time of all threads, both in seconds. Other programs on the machine
    change the wall time, but not the processor time."""

    wall: float
    cpu: float

    def scaled(self, factor: float) -> "Times":
        return Times(self.wall * factor, self.cpu * factor)


@dataclass(frozen=True)
class Case:
    """One row of the benchmark.

    Attributes:
        name: name of the network.
        build: makes the network, in evaluation mode.
        size: side of the square image, in pixels.
        stride: stride of the windows, in pixels; they are 32 px wide.
        pairs: largest number of pairs of an image and a pixel.
    """

    name: str
    build: Callable[[], nn.Module]
    size: int
    stride: int = 16
    pairs: int = 10


def gcn(backbone: str, kernel_size: int = 15) -> nn.Module:
    """A GCN with boundary refinement and random weights, none of them zero."""
    torch.manual_seed(0)
    net = SegmentationNet(backbone, 21, kernel_size=kernel_size).eval()
    for weight in net.parameters():
        if not weight.any() and weight.ndim == 4:
            nn.init.normal_(weight, std=0.05)
    return net


def fcn_resnet50() -> nn.Module:
    from torchvision.models import segmentation

    torch.manual_seed(0)
    return segmentation.fcn_resnet50(weights=None, weights_backbone=None).eval()


CASES = (
    Case("ResNet-50, GCN k=15, BR", partial(gcn, "resnet50"), 512),
    Case("ResNet-18, GCN k=15, BR", partial(gcn, "resnet18"), 256),
    Case("torchvision fcn_resnet50", fcn_resnet50, 256, pairs=3),
)

GROWTH = (
    *(Case("ResNet-18, GCN k=15, BR", partial(gcn, "resnet18"), size) for size in (128, 256, 384, 512)),
    *(Case("ResNet-18, GCN k=15, BR", partial(gcn, "resnet18"), 256, s) for s in (8, 32)),
    *(Case(f"ResNet-18, GCN k={k}, BR", partial(gcn, "resnet18", k), 256) for k in (3, 7)),
)  # fmt: skip
"""Cases that show how time grows with the image's size, the stride and k."""


def trained(run: Path) -> nn.Module:
    """The network of a trained run, on the CPU."""
    return load_run(run, "cpu").model


def examples(
    size: int, count: int
) -> list[tuple[Float[Tensor, "3 height width"], tuple[int, int]]]:
    """Pairs of a normalised Shapes image and a random pixel inside an object; the same on each
    call."""
    normalize = Normalization()
    pairs = []
    for i, (image, labels) in zip(range(count), Shapes("test", count, size)):
        inside = (labels > 0).nonzero()
        at = torch.randint(len(inside), (1,), generator=torch.Generator().manual_seed(i))
        pairs.append((normalize(image), tuple(inside[at].flatten().tolist())))
    return pairs


def timed(function: Callable, *args, **kwargs) -> tuple[Times, object]:
    """The duration and the result of a call."""
    wall, cpu = time.perf_counter(), time.process_time()
    result = function(*args, **kwargs)
    return Times(time.perf_counter() - wall, time.process_time() - cpu), result


def captum_seconds(
    model: nn.Module,
    image: Tensor,
    pixel: tuple[int, int],
    case: Case,
    batch_sizes: Sequence[int],
    full: bool,
) -> dict:
    """Captum's time for all windows, at its best `perturbations_per_eval`.

    The best value is found with 4 × 4 larger windows: a window's size does not change the time.
    """
    from captum.attr import Occlusion as CaptumOcclusion

    captum = CaptumOcclusion(lambda images: logits_of(model, images))  # also for outputs in a dict

    def per_window(window: int, stride: int, batch_size: int) -> Times:
        times, _ = timed(
            captum.attribute,
            image[None],
            sliding_window_shapes=(3, window, window),
            strides=(3, stride, stride),
            target=(0, *pixel),
            perturbations_per_eval=batch_size,
        )
        run = len(OcclusionGrid((case.size,) * 2, window, stride).windows())
        return times.scaled(1 / (run + 1))  # one more for the clean image

    count = len(OcclusionGrid((case.size,) * 2, WINDOW, case.stride).windows())
    quarter = case.size // 4
    with evaluation_mode(model):
        per_window(case.size, case.size, 1)  # warm up
        tried = {b: per_window(quarter, quarter, b) for b in batch_sizes}
        best = min(tried, key=lambda b: tried[b].cpu)
        once = per_window(WINDOW, case.stride, best) if full else tried[best]
    return {
        "perturbations_per_eval": best,
        "seconds": once.scaled(count + 1)._asdict(),
        "windows_run": count if full else 16,
        "tried": {batch: times._asdict() for batch, times in tried.items()},
    }


def field(
    model: nn.Module,
    image: Tensor,
    pixel: tuple[int, int],
    graph: Graph,
    settings: OcclusionSettings,
) -> tuple[Occlusion, ValidField]:
    """The valid field; nothing but the graph is kept from earlier fields."""
    occlusion = Occlusion(model, image, graph=graph)
    return occlusion, occlusion.field(pixel, 0, settings)


def measure(case: Case, pairs: int, full_captum: bool = False, batch_size: int = 16) -> dict:
    """One row of the result: Captum, exact and drill-down."""
    model = case.build()
    samples = examples(case.size, pairs)
    image, pixel = samples[0]
    export, graph = timed(Graph, model, image[None])
    settings = OcclusionSettings(
        WINDOW,
        case.stride,
        agreement=AGREEMENT,
        threshold=THRESHOLD,
        batch_size=batch_size,
    )
    drilldown = replace(settings, method="drilldown")
    check, _ = timed(Occlusion(model, image, graph=graph).self_check, pixel, settings)
    captum = captum_seconds(model, image, pixel, case, (1, 2, 4, 8), full_captum)
    exact, drill, agreements, shares, bounds = [], [], [], [], []
    for i, (image, pixel) in enumerate(samples):
        if i < EXACT_TIMED:
            times, _ = timed(field, model, image, pixel, graph, settings)
            exact.append(times)
        times, (occlusion, few) = timed(field, model, image, pixel, graph, drilldown)
        drill.append(times)
        shares.append(few.evaluated)
        regions = [f.region(THRESHOLD) for f in (few, occlusion.field(pixel, 0, settings))]
        both, either = regions[0] & regions[1], regions[0] | regions[1]
        agreements.append((both.sum() / either.sum()).item())
        bounds.append(occlusion.savings(pixel, settings))
    mean = statistics.fmean
    return {
        "network": case.name,
        "size": case.size,
        "window": WINDOW,
        "stride": case.stride,
        "windows": len(OcclusionGrid((case.size,) * 2, WINDOW, case.stride).windows()),
        "pairs": pairs,
        "captum": captum,
        "export_seconds": export._asdict(),
        "check_seconds": check._asdict(),
        "exact": against(captum, exact) | {"bound": 1 / mean(1 / bound for bound in bounds)},
        "drilldown": against(captum, drill),
        "drilldown_share_run": mean(shares),
        "drilldown_agreement": mean(agreements),
        "drilldown_agreements": agreements,
    }


def against(captum: dict, times: list[Times]) -> dict:
    """Mean times and the speed-up over Captum, in wall time and in processor time."""
    mean = Times(*(statistics.fmean(column) for column in zip(*times)))
    return {
        "seconds": mean._asdict(),
        "ratio": {name: captum["seconds"][name] / value for name, value in mean._asdict().items()},
        "all_seconds": [one._asdict() for one in times],
    }


def peak_memory(case: Case, batch_size: int) -> dict[str, float]:
    """Peak memory of the plain and the exact method at one batch size, in MB, each in a new
    process."""
    context = multiprocessing.get_context("spawn")
    peaks = {}
    for method in ("plain", "exact"):
        with context.Pool(1) as pool:
            peaks[method] = pool.apply(_peak, (case, method, batch_size))
    return peaks | {"ratio": peaks["exact"] / peaks["plain"], "batch_size": batch_size}


def _peak(case: Case, method: str, batch_size: int) -> float:
    model = case.build()
    ((image, pixel),) = examples(case.size, 1)
    # A few batches suffice: one row of large windows.
    step = case.size // 4
    valid_field(model, image, pixel, 0, step, step, method=method, batch_size=batch_size)
    return peak_mb()


@dataclass(frozen=True)
class VrfBenchmark:
    """Measure the valid receptive field, exact and by drill-down, against Captum's Occlusion."""

    out: Path | None = None
    """Write figures and provenance to this JSON file, after each row."""
    pairs: int = 10
    """Largest number of pairs of an image and a pixel."""
    full_captum: bool = False
    """Run Captum on all windows of the first case, not only on 16 (a quarter of an hour on two
    cores)."""
    growth: bool = False
    """Measure instead how time grows with image size, stride and k."""
    run: Path | None = None
    """Measure instead the trained network in this run's folder, at 512 px."""
    only: int | None = None
    """Measure only the case of this number, from 1 on."""

    def __post_init__(self):
        if self.pairs < 1:
            raise ValueError(f"--pairs must be at least 1, not {self.pairs}")

    def __call__(self) -> None:
        start, rows, cases = time.perf_counter(), [], self.cases()
        for case in cases:
            full_captum = self.full_captum and case is cases[0]
            row = measure(case, min(self.pairs, case.pairs), full_captum)
            rows.append(row | {"memory_mb": peak_memory(case, 16)})
            print_row(rows[-1])
            write_record({"rows": rows}, self.out, start)

    def cases(self) -> tuple[Case, ...]:
        """The cases to measure.

        Raises:
            ValueError: there is no case of the number `only`.
        """
        cases = GROWTH if self.growth else CASES
        if self.run is not None:
            cases = (Case(f"trained network {self.run.name}", partial(trained, self.run), 512),)
        if self.only is None:
            return cases
        if not 1 <= self.only <= len(cases):
            raise ValueError(f"--only must be a case, 1 … {len(cases)}, not {self.only}")
        return (cases[self.only - 1],)


def print_row(row: dict) -> None:
    """Print one row of the result."""
    captum, exact, drill, memory = (row[k] for k in ("captum", "exact", "drilldown", "memory_mb"))

    def line(name: str, seconds: dict, ratio: dict | None = None) -> str:
        clock = f"  {name:<10}  {seconds['wall']:7.1f} s  (processor {seconds['cpu']:7.1f} s)"
        return clock + (f"  × {ratio['wall']:.1f}  (× {ratio['cpu']:.1f})" if ratio else "")

    print(
        f"{row['network']}, {row['size']} px, {row['windows']} windows of 32 px every {row['stride']}\n"
        f"{line('Captum', captum['seconds'])}  {captum['windows_run']} windows run, "
        f"{captum['perturbations_per_eval']} per batch\n"
        f"{line('exact', exact['seconds'], exact['ratio'])}  multiply-adds allow × {exact['bound']:.1f}\n"
        f"{line('drill-down', drill['seconds'], drill['ratio'])}  runs "
        f"{100 * row['drilldown_share_run']:.0f} % of the windows; agreement "
        f"{row['drilldown_agreement']:.3f} over {row['pairs']} pairs\n"
        f"  memory      {memory['exact']:.0f} MB, plain {memory['plain']:.0f} MB: "
        f"× {memory['ratio']:.2f} at a batch of {memory['batch_size']}\n",
        flush=True,
    )


if __name__ == "__main__":
    run_command(VrfBenchmark, "benchmarks.vrf")
