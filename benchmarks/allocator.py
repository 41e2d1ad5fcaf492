"""Training steps on a CPU, with and without freed memory staying with the process.

    python -m benchmarks.allocator --out data/results/bench/allocator.json

`gcnlab.allocator` keeps freed memory. The mini network with GCN k = 7 trains on batches of 8 images
with one thread. Each process measures one kind, and the two kinds take turns. The clock is
processor time, with the system's part shown separately. Both compute the same numbers, bit for bit;
what is saved is the system's time for providing pages.
"""

import multiprocessing
import resource
import statistics
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from benchmarks.memory import peak_mb
from benchmarks.network_cost import training_step
from gcnlab.allocator import keep_freed_memory
from gcnlab.experiments.command import run_command
from gcnlab.experiments.network_cost import table_networks
from gcnlab.provenance import provenance, write_json

BATCH = 8
WARM_UP = 3
"""Training steps before the measured ones."""


@dataclass(frozen=True)
class AllocatorBenchmark:
    """Measure training steps on a CPU with and without freed memory staying with the process."""

    out: Path | None = None
    """Write figures and provenance to this JSON file."""
    sizes: tuple[int, ...] = (256, 512)
    """Sides of the square images, in pixels."""
    rounds: int = 5
    """Processes of each kind."""
    steps: int = 5
    """Measured training steps per process."""

    def __post_init__(self):
        if self.rounds < 1:
            raise ValueError(f"--rounds must be at least 1, not {self.rounds}")

    def __call__(self) -> dict[str, Any]:
        result = measure(self.sizes, self.rounds, self.steps)
        if self.out is not None:
            write_json(result, self.out)
        return result


def measure(sizes: tuple[int, ...], rounds: int, steps: int) -> dict[str, Any]:
    """Time, page faults and peak memory of both kinds of process, printed line by line."""
    began, rows = time.perf_counter(), []
    for size in sizes:
        found: dict[bool, list[dict[str, float]]] = {False: [], True: []}
        for _ in range(rounds):
            for keep, measured in found.items():
                with multiprocessing.get_context("spawn").Pool(1) as pool:
                    measured.append(pool.apply(_steps, (size, keep, steps)))
        ratios = [there["seconds"] / kept["seconds"] for there, kept in zip(*found.values())]
        row: dict[str, Any] = {"image_size": size, "times_as_fast": statistics.median(ratios)}
        for keep, name in ((False, "given_back"), (True, "kept")):
            keys = found[keep][0]
            row[name] = {key: statistics.median(m[key] for m in found[keep]) for key in keys}
        rows.append(row)
        print(_sentence(row), flush=True)
    record = provenance(
        seeds=[0],
        dataset="random images",
        split="none",
        device="cpu",
        seconds=time.perf_counter() - began,
    )
    settings = {"network": "mini, GCN k=7", "batch_size": BATCH, "rounds": rounds, "steps": steps}
    return settings | {"rows": rows, "provenance": record}


def _steps(size: int, keep: bool, steps: int) -> dict[str, float]:
    """Processor time, the system's part of it (seconds), page faults: each per training step. Also
    the peak memory of the process."""
    torch.set_num_threads(1)
    if keep and not keep_freed_memory():
        raise ValueError(
            "the C library of this system is not glibc, so freed memory cannot be kept"
        )
    config = table_networks()["gcn7"]
    step = training_step(replace(config, data=replace(config.data, image_size=size)), BATCH)
    for _ in range(WARM_UP):
        step()
    before = resource.getrusage(resource.RUSAGE_SELF)
    for _ in range(steps):
        step()
    after = resource.getrusage(resource.RUSAGE_SELF)
    system = after.ru_stime - before.ru_stime
    return {
        "seconds": (after.ru_utime - before.ru_utime + system) / steps,
        "system_seconds": system / steps,
        "page_faults": (after.ru_minflt - before.ru_minflt) / steps,
        "peak_mb": peak_mb(),
    }


def _sentence(row: dict[str, Any]) -> str:
    def figures(name: str) -> str:
        m = row[name]
        return f"{m['seconds']:.2f} s (system {m['system_seconds']:.2f} s), {m['peak_mb']:.0f} MB"

    size = row["image_size"]
    return (
        f"{size}×{size}: a step takes {figures('given_back')} if freed memory is given back, "
        f"{figures('kept')} if it is kept: {row['times_as_fast']:.2f} times as fast"
    )


if __name__ == "__main__":
    run_command(AllocatorBenchmark, "benchmarks.allocator")
