"""Peak memory of evaluating a Cityscapes image at three scales, against the documented bound.

    python -m benchmarks.inference_memory --out data/results/bench/inference-memory.json

Each evaluation of one 1024×2048 image with 19 classes runs in a separate process, whose peak
resident memory is read at the end: one pass over one tile, one scale on tiles, three scales on
tiles, and three scales with flips on tiles. The memory that the process holds before, with the
network and the image, is subtracted. The bound of `gcnlab.evaluation.inference` is `map_bytes` plus
one pass over one tile; that pass is measured.

It takes about five minutes on one core. Expected: each peak is at most its bound, except for the
few per cent by which resident memory differs from memory in use. The weights are random, since
memory does not depend on them. It runs on the CPU; a GPU holds the same maps, plus its workspace
for convolutions.
"""

import multiprocessing
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import torch

from benchmarks.memory import peak_mb
from gcnlab.evaluation import Inference, score_map
from gcnlab.evaluation.inference import map_bytes
from gcnlab.experiments.command import run_command
from gcnlab.models import SegmentationNet
from gcnlab.provenance import provenance, write_json

SIZE = 1024, 2048
CLASSES = 19
MB = 1024**2


@dataclass(frozen=True)
class InferenceMemoryBenchmark:
    """Measure the peak memory of evaluating a 1024×2048 image with 19 classes."""

    out: Path | None = None
    """Write figures and provenance to this JSON file."""
    backbone: str = "mini"
    """mini, resnet18, …"""
    kernel_size: int = 25
    """Kernel size k of the heads; the paper uses 25 on Cityscapes."""
    tile: tuple[int, int] = (512, 512)
    """Height and width of the tiles."""
    scales: tuple[float, ...] = (0.75, 1.0, 1.25)
    """Scales of the multi-scale evaluations."""

    def __call__(self) -> None:
        start = time.perf_counter()
        tiled = Inference(tile=self.tile, overlap=1 / 3)
        cases = {
            "one scale, tiled": tiled,
            "scales, tiled": replace(tiled, scales=self.scales),
            "scales and flip, tiled": replace(tiled, scales=self.scales, flip=True),
        }
        tile = self.peak(self.tile, None) - self.peak(self.tile, None, idle=True)
        flipped = self.peak(self.tile, Inference(flip=True)) - self.peak(self.tile, None, idle=True)
        idle = self.peak(SIZE, None, idle=True)
        rows = []
        for name, inference in cases.items():
            wall = time.perf_counter()
            used = self.peak(SIZE, inference) - idle
            one = flipped if inference.flip else tile
            rows.append(
                {
                    "what": name,
                    "inference": asdict(inference),
                    "peak_mb": used,
                    "maps_mb": map_bytes(CLASSES, SIZE, inference) / MB,
                    "tile_mb": one,
                    "bound_mb": map_bytes(CLASSES, SIZE, inference) / MB + one,
                    "ratio": used / (map_bytes(CLASSES, SIZE, inference) / MB + one),
                    "seconds": round(time.perf_counter() - wall, 1),
                }
            )
            row = rows[-1]
            print(
                f"{name:24} {row['peak_mb']:6.0f} MB; bound {row['bound_mb']:.0f} MB "
                f"(maps {row['maps_mb']:.0f}, one tile {row['tile_mb']:.0f})",
                flush=True,
            )
        if self.out is not None:
            record = provenance(
                seeds=[0],
                dataset=f"one random image of {SIZE[0]}×{SIZE[1]}, {CLASSES} classes",
                split="none",
                device="cpu",
                seconds=time.perf_counter() - start,
            )
            network = f"{self.backbone}, GCN k={self.kernel_size}, BR, random weights"
            settings = {"network": network, "classes": CLASSES, "size": SIZE, "tile": self.tile}
            write_json(
                settings | {"process_mb": idle, "rows": rows, "provenance": record}, self.out
            )

    def peak(self, size: tuple[int, int], inference: Inference | None, idle: bool = False) -> float:
        """Peak resident memory, in MB, of a new process that computes the score map of one
        image."""
        with multiprocessing.get_context("spawn").Pool(1) as pool:
            return pool.apply(_peak, (self.backbone, self.kernel_size, size, inference, idle))


def _peak(
    backbone: str,
    kernel_size: int,
    size: tuple[int, int],
    inference: Inference | None,
    idle: bool,
) -> float:
    torch.manual_seed(0)
    model = SegmentationNet(backbone, CLASSES, kernel_size=kernel_size).eval()
    score_map(model, torch.randn(1, 3, 32, 32))  # let the libraries load what they need
    image = torch.randn(1, 3, *size)
    if not idle:
        score_map(model, image, inference)
    return peak_mb()


if __name__ == "__main__":
    run_command(InferenceMemoryBenchmark, "benchmarks.inference_memory")
