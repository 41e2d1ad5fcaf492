"""What it is worth that freed memory stays with the process: training steps with and without, in processes of their own.

The mini network with GCN k = 7 on batches of 8 images, one thread, in processor time, the system's part of it told apart; the two kinds
of process take turns. The operations are the same, to the bit: what is saved is the system's time for handing out pages.
"""

import multiprocessing
import resource
import statistics
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from gcnlab.allocator import keep_freed_memory
from gcnlab.experiments.cost import networks, training_step
from gcnlab.experiments.process import peak_mb
from gcnlab.provenance import provenance, write_json

BATCH = 8
WARM = 3
"""Steps before those that are measured."""


def bench_allocator(
    out: Path | None = None, sizes: tuple[int, ...] = (256, 512), rounds: int = 5, steps: int = 5
) -> dict[str, Any]:
    """Measure, print, and write `out`.

    Args:
        out: JSON file for figures and provenance.
        sizes: of the square images, in pixels.
        rounds: processes of each kind.
        steps: that each takes.
    """
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
    result = settings | {"rows": rows, "provenance": record}
    if out is not None:
        write_json(result, out)
    return result


def _steps(size: int, keep: bool, steps: int) -> dict[str, float]:
    """Of one training step: processor time and the system's part, in seconds, and page faults; peak memory of all."""
    torch.set_num_threads(1)
    if keep and not keep_freed_memory():
        raise ValueError("bench allocator: the C library of this system is not glibc")
    config = networks()["gcn7"]
    step = training_step(replace(config, data=replace(config.data, image_size=size)), BATCH)
    for _ in range(WARM):
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
    def words(name: str) -> str:
        m = row[name]
        return f"{m['seconds']:.2f} s, of which the system {m['system_seconds']:.2f}, {m['peak_mb']:.0f} MB"

    size = row["image_size"]
    return (
        f"{size}×{size}: a step with memory given back {words('given_back')}; kept {words('kept')}: "
        f"{row['times_as_fast']:.2f} times as fast"
    )
