"""gcnlab bench."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro


@dataclass(frozen=True)
class Bench:
    """Measure speed, side by side in one run, as a ratio.

        gcnlab bench vrf --out data/results/bench/vrf.json
        gcnlab bench data --out data/results/bench/data.json
        gcnlab bench train --out data/results/bench/train.json
        gcnlab bench infer --out data/results/bench/infer.json
        gcnlab bench cost --out data/results/bench/cost.json
        gcnlab bench allocator --out data/results/bench/allocator.json

    train, infer: images per second of the network of Figure 2 (ResNet-50, k=7, 512×512), against the same network
    written the plain way; the share of the device's matrix peak, and where the time goes.

    cost: time and memory of the heads against k, GCN and k×k; a figure beside --out.

    allocator: a training step of the mini network on a CPU, with and without freed memory staying with the process.

    data: images per second of the VOC pipeline at 512×512, against torchvision's reference transforms on the
    same files.

    vrf: the valid receptive field, with activations reused and by drill-down, against Captum's Occlusion at its
    best setting. Takes about half an hour on two cores; leave the machine to itself.
    """

    what: Annotated[
        Literal["train", "infer", "cost", "allocator", "vrf", "data"], tyro.conf.Positional
    ]
    """What to measure."""
    out: Path | None = None
    """Write figures and provenance to this JSON file."""
    device: str | None = None
    """train, infer, cost: cpu, cuda, …; the GPU if there is one."""
    compiled: bool = True
    """train, infer: measure torch.compile too, which takes a minute or more of waiting."""
    rounds: int = 5
    """train, infer, allocator: of each variant, in turn; the medians count."""
    pairs: int = 10
    """vrf: pairs of an image and a pixel."""
    full_captum: bool = False
    """vrf: run Captum on all windows of the largest case, rather than on 16 of them."""
    growth: bool = False
    """vrf: measure instead how time grows with image size, stride and k."""
    run: Path | None = None
    """vrf: measure instead the trained network of this run, at 512 px."""
    only: int | None = None
    """vrf: measure one case of several, by its number from 1 on."""

    def __call__(self) -> None:
        if self.rounds < 1:
            raise ValueError(f"--rounds must be at least 1, not {self.rounds}")
        if self.what == "allocator":
            from gcnlab.experiments.bench_allocator import bench_allocator

            bench_allocator(self.out, rounds=self.rounds)
            return
        if self.what == "data":
            from gcnlab.experiments.bench_data import bench_data

            bench_data(self.out)
            return
        if self.what == "cost":
            from gcnlab.experiments.bench_cost import bench_cost
            from gcnlab.plots import plot_cost

            figure = plot_cost(bench_cost(self.out, self.device))
            if self.out is not None:
                figure.savefig(self.out.with_suffix(".png"), dpi=100)
            return
        if self.what in ("train", "infer"):
            from gcnlab.experiments.bench_train import bench

            bench(self.what, self.out, self.device, self.compiled, rounds=self.rounds)
            return
        from gcnlab.experiments.bench_vrf import bench_vrf

        if self.pairs < 1:
            raise ValueError(f"--pairs must be at least 1, not {self.pairs}")
        bench_vrf(self.out, self.pairs, self.full_captum, self.growth, self.run, self.only)
