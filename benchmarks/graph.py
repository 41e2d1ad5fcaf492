"""Time of recording a network as a graph: in one pass, and by an export, in turns in one run.

    python -m benchmarks.graph --out data/results/bench/graph.json

The exact valid field and the theoretical field need the network's operations. Per network, in
processor time on one thread:

- *graph*: from the network to the graph with the geometry of its operations, median of the rounds;
  *other size*: the same for another size of the image, which needs another graph.
- *cold*: in a new process, from the end of the imports and of the construction of the network to
  the graph, and to the first exact field (windows of 32 px every 16, with its self-check). The
  first export of a process also imports PyTorch's compiler.
- *difference*: the largest difference of the two fields, as a share of the largest value.

Weights are random, except for the network for photographs. It takes about a quarter of an hour on
one core.
"""

import multiprocessing
import statistics
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from unittest import mock

import torch
from torch import nn

import gcnlab.receptive.graph
from benchmarks.record import write_record
from benchmarks.timing import alternate, seconds, single_threaded
from benchmarks.vrf import fcn_resnet50, gcn
from gcnlab import load
from gcnlab.annotations import Float, Tensor
from gcnlab.experiments.command import run_command
from gcnlab.models.modes import evaluation_mode
from gcnlab.receptive import Occlusion, OcclusionSettings
from gcnlab.receptive.graph import Graph

CPU = torch.device("cpu")

OTHER = 32
"""Pixels that the other size has more, in height."""

WAYS = ("export", "one pass")


@dataclass(frozen=True)
class Case:
    """One row of the benchmark.

    Attributes:
        name: name of the network.
        build: makes the network, in evaluation mode.
        size: side of the square image, in pixels.
    """

    name: str
    build: Callable[[], nn.Module]
    size: int = 256


def photographs() -> nn.Module:
    """The network for photographs with k = 11, whose backbone is one of timm."""
    return load("photos-gcn11").model.eval()


CASES = (
    Case("mini, GCN k=15, BR", partial(gcn, "mini")),
    Case("ResNet-18, GCN k=15, BR", partial(gcn, "resnet18")),
    Case("ResNet-50, GCN k=15, BR", partial(gcn, "resnet50")),
    Case("photos-gcn11 (EfficientNet-Lite0)", photographs),
    Case("torchvision fcn_resnet50", fcn_resnet50),
)


def recording(way: str) -> AbstractContextManager:
    """Inside the block, graphs are recorded in this way, one of `WAYS`."""
    if way == "one pass":
        return mock.patch.object(gcnlab.receptive.graph, "_exported", _refuse)
    return mock.patch.object(gcnlab.receptive.graph, "_captured", return_value=None)


def _refuse(model: nn.Module, image: Tensor) -> None:
    raise RuntimeError(f"one pass is not enough for {type(model).__name__}")


def graph(model: nn.Module, image: Float[Tensor, "1 channels height width"], way: str) -> Graph:
    """The graph, recorded in one of `WAYS`."""
    with recording(way):
        return Graph(model, image)


def measure(case: Case, rounds: int, cold_rounds: int) -> dict:
    """One row of the result."""
    model = case.build()
    image = torch.zeros(1, 3, case.size, case.size)
    other = torch.zeros(1, 3, case.size + OTHER, case.size)
    with single_threaded(CPU):
        works = {
            (way, name): partial(graph, model, shown, way)
            for name, shown in (("graph", image), ("other_size", other))
            for way in WAYS
        }
        times = alternate(works, CPU, rounds, 1)
        with evaluation_mode(model), torch.no_grad():
            model(image)
            passes = [seconds(lambda: model(image), CPU) for _ in range(rounds)]
    cold, fields = {way: [] for way in WAYS}, {}
    for _ in range(cold_rounds):
        for way in WAYS:
            with multiprocessing.get_context("spawn").Pool(1) as pool:
                until, fields[way] = pool.apply(_cold, (case, way))
            cold[way].append(until)
    median = statistics.median
    rows = {
        name: {way: median(times[way, name]) for way in WAYS} for name in ("graph", "other_size")
    } | {
        f"cold_{name}": {way: median(until[i] for until in cold[way]) for way in WAYS}
        for i, name in enumerate(("graph", "field"))
    }
    largest = fields["export"].abs().max()
    return {
        "network": case.name,
        "size": case.size,
        "operations": len(graph(model, image, "one pass").operations),
        "pass_seconds": median(passes),
        "seconds": rows,
        "times_as_fast": {name: row["export"] / row["one pass"] for name, row in rows.items()},
        "all_seconds": {
            name: {way: times[way, name] for way in WAYS} for name in ("graph", "other_size")
        },
        "all_cold_seconds": cold,
        "difference": ((fields["export"] - fields["one pass"]).abs().max() / largest).item(),
    }


def _cold(case: Case, way: str) -> tuple[tuple[float, float], Float[Tensor, "height width"]]:
    """Processor time from here to the graph and to the first exact field, and the field."""
    torch.set_num_threads(1)
    model = case.build()
    image = torch.rand(3, case.size, case.size, generator=torch.Generator().manual_seed(0))
    began = time.process_time()
    recorded = graph(model, image[None], way)
    middle = time.process_time()
    pixel, settings = (case.size // 2, case.size // 2), OcclusionSettings(32, 16)
    field = Occlusion(model, image, graph=recorded).field(pixel, 0, settings).discrepancy
    return (middle - began, time.process_time() - began), field


@dataclass(frozen=True)
class GraphBenchmark:
    """Measure how long it takes to record a network as a graph."""

    out: Path | None = None
    """Write figures and provenance to this JSON file, after each row."""
    rounds: int = 3
    """Number of times that each graph is recorded."""
    cold_rounds: int = 3
    """Number of new processes for each network and way."""
    only: int | None = None
    """Measure only the case of this number, from 1 on."""

    def __post_init__(self):
        for name in ("rounds", "cold_rounds"):
            if getattr(self, name) < 1:
                raise ValueError(f"--{name.replace('_', '-')} must be at least 1")
        if self.only is not None and not 1 <= self.only <= len(CASES):
            raise ValueError(f"--only must be a case, 1 … {len(CASES)}, not {self.only}")

    def __call__(self) -> None:
        start, rows = time.perf_counter(), []
        for case in CASES if self.only is None else CASES[self.only - 1 : self.only]:
            rows.append(measure(case, self.rounds, self.cold_rounds))
            print_row(rows[-1])
            write_record({"rows": rows}, self.out, start, "noise", "one field")


def print_row(row: dict) -> None:
    """Print one row of the result."""
    print(
        f"{row['network']}, {row['size']} px, {row['operations']} operations, "
        f"pass {row['pass_seconds']:.3f} s, difference {row['difference']:.1e}"
    )
    for name, times in row["seconds"].items():
        print(
            f"  {name:<12}export {times['export']:6.3f} s  one pass {times['one pass']:6.3f} s  "
            f"× {row['times_as_fast'][name]:.1f}",
            flush=True,
        )


if __name__ == "__main__":
    run_command(GraphBenchmark, "benchmarks.graph")
