"""Time of the valid fields of all units, beside one field and beside plain passes for all windows.

    python -m benchmarks.atlas --out data/results/bench/atlas.json

Per case, all in one run and in turns:

- *plain*: the whole network for every window, in the better of batches of 1 and of 8, channels last
  in memory. Its time per window depends neither on the number of windows nor on their size, so it
  is timed on 16 windows and scaled to all of them.
- *one field*: the exact field of one unit, as `valid_field` computes it, with the graph known.
- *atlas*: the fields of all units, with the recording of the network's graph and the check against
  the plain method; *atlas with graph* is given a graph, as for the second image of a size.
- *first picture*: from the creation of the atlas to its first level of windows.
- *look-up*: one field from the complete atlas.
- *bound*: multiply-adds of the plain method, divided by those of the atlas.
- the largest difference to the exact field at 50 random units, as a share of the field's maximum;
  the same for every precision, with the intersection over union of the regions.

Weights are those of trained networks, except for ResNet-50 (--large): time does not depend on
weights. Times are processor times of one thread, since other programs may run at the same time.
"""

import math
import multiprocessing
import statistics
import tempfile
import time
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch
from torch import nn

import gcnlab
from benchmarks.memory import peak_mb
from benchmarks.record import write_record
from benchmarks.timing import seconds, single_threaded
from benchmarks.vrf import WINDOW, Case, examples, gcn
from gcnlab.annotations import Tensor
from gcnlab.experiments.command import run_command
from gcnlab.receptive import FieldAtlas, Occlusion, OcclusionSettings, ValidField
from gcnlab.receptive.graph import Graph
from gcnlab.receptive.grid import OcclusionGrid
from gcnlab.receptive.incremental import IncrementalNet
from gcnlab.receptive.plain import PlainNet
from gcnlab.receptive.settings import PRECISIONS

PLAIN_WINDOWS = 16
"""Windows on which the plain method is timed."""

BATCHES = (1, 8)
"""Batch sizes of the plain method that are tried."""

UNITS = 50
"""Units at which fields are compared."""

CPU = torch.device("cpu")


def pretrained(name: str) -> nn.Module:
    """The network of this name that comes with the package, on the CPU."""
    return gcnlab.load(name, "cpu").model.eval()


CASES = (
    Case("mini, GCN k=7", partial(pretrained, "gcn7-seed0"), 256),
    Case("EfficientNet-Lite0, GCN k=11", partial(pretrained, "photos-gcn11"), 384),
)
LARGE = Case("ResNet-50, GCN k=15, BR", partial(gcn, "resnet50"), 512)


def measure(case: Case, rounds: int) -> dict:
    """One row of the result."""
    model = case.build()
    ((image, pixel),) = examples(case.size, 1)
    windows = FieldAtlas(model, image, WINDOW, case.stride).table.done.numel()
    built: dict[str, FieldAtlas] = {}
    graph: list[Graph] = []

    def record() -> None:
        graph[:] = [Graph(model, image[None])]

    def atlas() -> None:
        built["cold"] = FieldAtlas(model, image, WINDOW, case.stride).build()

    def atlas_with_graph() -> None:
        graph[0].checked = True
        built["warm"] = FieldAtlas(model, image, WINDOW, case.stride, graph=graph[0]).build()

    def one_field() -> None:
        graph[0].checked = True
        Occlusion(model, image, graph=graph[0]).field(
            pixel, 0, OcclusionSettings(WINDOW, case.stride)
        )

    works: dict[str, Callable[[], None]] = {
        "graph": record,
        **{f"plain_{size}": partial(plain_windows, model, image, case, size) for size in BATCHES},
        "one_field": one_field,
        "first_picture": partial(first_picture, model, image, case),
        "atlas": atlas,
        "atlas_with_graph": atlas_with_graph,
    }
    times: dict[str, list[float]] = {name: [] for name in works}
    for number in range(rounds + 1):
        for name, work in works.items():
            spent = seconds(work, CPU)
            if number or rounds == 1:  # the first round warms up
                times[name].append(spent)
        if rounds == 1:
            break
    found = {name: statistics.median(values) for name, values in times.items()}
    # A batch of several costs four more passes: do the images of a batch influence each other?
    passes = {1: PLAIN_WINDOWS, 8: PLAIN_WINDOWS + 5}
    per_window = {size: found.pop(f"plain_{size}") / passes[size] for size in BATCHES}
    found["plain"] = windows * min(per_window.values())
    found["look_up"] = seconds(partial(built["warm"].field, pixel), CPU, 50)
    return {
        "network": case.name,
        "size": case.size,
        "window": WINDOW,
        "stride": case.stride,
        "windows": windows,
        "every": built["warm"].settings.every,
        "units": built["warm"].table.predicted.numel(),
        "rounds": rounds,
        "seconds": found,
        "all_seconds": times,
        "plain_by_atlas": found["plain"] / found["atlas"],
        "plain_by_atlas_with_graph": found["plain"] / found["atlas_with_graph"],
        "atlas_with_graph_by_one_field": found["atlas_with_graph"] / found["one_field"],
        "bound": bound(model, image, built["warm"], graph[0]),
        "note": built["cold"].note,
        "difference": largest_difference(built["warm"], model, image, graph[0]),
        "precisions": {name: stored(built["warm"], name) for name in PRECISIONS},
    }


def plain_windows(model: nn.Module, image: Tensor, case: Case, batch_size: int) -> None:
    """The clean image and some windows by the plain method."""
    net = PlainNet(model, image)
    net.memory_format = torch.channels_last
    grid = OcclusionGrid(tuple(image.shape[-2:]), WINDOW, case.stride)
    windows = grid.windows()[:PLAIN_WINDOWS]
    unit = lambda logits: logits[:, :1, ::4, ::4]  # noqa: E731
    for _ in net.readings(grid, windows, unit, 0.0, batch_size):
        pass


def first_picture(model: nn.Module, image: Tensor, case: Case, more: bool = False) -> FieldAtlas:
    """Build the first level of an atlas, and with `more` also a part of the next."""
    atlas = FieldAtlas(model, image, WINDOW, case.stride)
    first = atlas.table.steps()[0]
    enough = math.prod(map(len, atlas.table.level(first))) + (8 if more else 0)
    for _ in atlas.steps():
        if atlas.table.done.sum() >= enough:
            break
    return atlas


def bound(model: nn.Module, image: Tensor, atlas: FieldAtlas, graph: Graph) -> float:
    """Multiply-adds of the plain method, divided by those of the atlas."""
    net, grid = IncrementalNet(model, image, graph), atlas.table.grid
    plan = net.plan(grid.rows, grid.columns, grid.windows(), None, 8)
    return net.macs * len(grid.windows()) / plan.macs


def random_units(atlas: FieldAtlas, count: int) -> list[tuple[int, int]]:
    """Some of the units that are kept, with the corners; the same on each call."""
    rows, columns = (at.tolist() for at in atlas.units)
    generator = torch.Generator().manual_seed(0)
    picks = torch.rand(count, 2, generator=generator)
    picks[:4] = torch.tensor([[0, 0], [0, 0.9999], [0.9999, 0], [0.9999, 0.9999]])
    return [(rows[int(r * len(rows))], columns[int(c * len(columns))]) for r, c in picks.tolist()]


def difference(ours: ValidField, theirs: ValidField) -> float:
    """The largest difference of two fields, as a share of the maximum of the second."""
    largest = theirs.discrepancy.abs().max().clamp(min=1e-30)
    return ((ours.discrepancy - theirs.discrepancy).abs().max() / largest).item()


def largest_difference(
    atlas: FieldAtlas, model: nn.Module, image: Tensor, graph: Graph, most_seconds: float = 120
) -> dict[str, float]:
    """The largest difference between the atlas and exact fields at random units, the corners
    among them."""
    occlusion = Occlusion(model, image, graph=graph)
    settings = OcclusionSettings(WINDOW, atlas.settings.stride)
    found, begun = [], time.process_time()
    for unit in random_units(atlas, UNITS):
        ours = atlas.field(unit)
        found.append(difference(ours, occlusion.field(unit, ours.target, settings)))
        if time.process_time() - begun > most_seconds:
            break
    return {"units": len(found), "largest": max(found)}


def stored(atlas: FieldAtlas, precision: str) -> dict[str, float]:
    """Size and error of the atlas with one precision."""
    small = FieldAtlas.of_table(atlas.table.stored_as(precision))
    errors, agreements = [], []
    for unit in random_units(atlas, UNITS):
        exact, ours = atlas.field(unit), small.field(unit)
        errors.append(difference(ours, exact))
        one, other = exact.region(), ours.region()
        agreements.append(((one & other).sum() / (one | other).sum()).item())
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "atlas")
        small.save(path)
        content = path.read_bytes()
    return {
        "file_bytes": len(content),
        "deflated_bytes": len(zlib.compress(content, 6)),
        "largest_error": max(errors),
        "smallest_region_iou": min(agreements),
        "mean_region_iou": statistics.fmean(agreements),
    }


def peak_memory(case: Case) -> dict[str, float]:
    """Peak memory in MB, each in a new process: one pass, plain passes in batches of 8, one exact
    field, and an atlas with the first batches of its second level."""
    context, peaks = multiprocessing.get_context("spawn"), {}
    for method in ("model", "plain", "field", "atlas"):
        with context.Pool(1) as pool:
            peaks[method] = pool.apply(_peak, (case, method))
    return peaks


def _peak(case: Case, method: str) -> float:
    torch.set_num_threads(1)
    model = case.build()
    ((image, pixel),) = examples(case.size, 1)
    if method == "model":
        with torch.no_grad():
            model(image[None])
    elif method == "plain":
        plain_windows(model, image, case, 8)
    elif method == "field":
        Occlusion(model, image).field(pixel, 0, OcclusionSettings(WINDOW, case.stride))
    else:
        first_picture(model, image, case, more=True)
    return peak_mb()


@dataclass(frozen=True)
class AtlasBenchmark:
    """Measure the atlas of all valid fields against one field and against plain passes."""

    out: Path | None = None
    """Write figures and provenance to this JSON file, after each row."""
    large: bool = False
    """Add ResNet-50 with k = 15 at 512 px: a quarter of an hour."""
    rounds: int = 3
    """Rounds in turns after one for warming up; the median counts. ResNet-50 runs one round."""

    def __post_init__(self):
        if self.rounds < 1:
            raise ValueError(f"--rounds must be at least 1, not {self.rounds}")

    def __call__(self) -> None:
        start, rows = time.perf_counter(), []
        for case in (*CASES, LARGE) if self.large else CASES:
            with single_threaded(CPU):
                row = measure(case, 1 if case is LARGE else self.rounds)
                rows.append(row | {"memory_mb": peak_memory(case)})
                print_row(rows[-1])
                write_record({"rows": rows}, self.out, start)


def print_row(row: dict) -> None:
    """Print one row of the result."""
    spent, memory = row["seconds"], row["memory_mb"]
    print(f"{row['network']}, {row['size']} px, {row['windows']} windows, {row['units']} units")
    for name, ratio in (
        ("plain", ""),
        ("one_field", ""),
        ("graph", ""),
        ("first_picture", ""),
        ("atlas", f"  plain × {1 / row['plain_by_atlas']:.2f}"),
        (
            "atlas_with_graph",
            f"  plain × {1 / row['plain_by_atlas_with_graph']:.2f}, one field × "
            f"{row['atlas_with_graph_by_one_field']:.1f}; multiply-adds allow plain / "
            f"{row['bound']:.1f}",
        ),
    ):
        print(f"  {name.replace('_', ' '):<21} {spent[name]:8.2f} s{ratio}")
    print(f"  look-up               {1e3 * spent['look_up']:8.2f} ms")
    print("  memory                " + ", ".join(f"{k} {v:.0f} MB" for k, v in memory.items()))
    where = row["difference"]
    print(f"  difference            {where['largest']:.1e} at {where['units']} units")
    for name, facts in row["precisions"].items():
        print(
            f"  {name:<21} {facts['file_bytes'] / 1e6:8.2f} MB ({facts['deflated_bytes'] / 1e6:.2f} "
            f"deflated), error {facts['largest_error']:.1e}, region IoU "
            f"{facts['mean_region_iou']:.3f}, at least {facts['smallest_region_iou']:.3f}"
        )
    print(flush=True)


if __name__ == "__main__":
    run_command(AtlasBenchmark, "benchmarks.atlas")
