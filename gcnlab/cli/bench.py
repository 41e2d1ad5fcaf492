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

    data: images per second of the VOC pipeline at 512×512, against torchvision's reference transforms on the
    same files.

    vrf: the valid receptive field, with activations reused and by drill-down, against Captum's Occlusion at its
    best setting. Takes about half an hour on two cores; leave the machine to itself.
    """

    what: Annotated[Literal["vrf", "data"], tyro.conf.Positional]
    """What to measure."""
    out: Path | None = None
    """Write figures and provenance to this JSON file."""
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
        if self.what == "data":
            from gcnlab.experiments.bench_data import bench_data

            bench_data(self.out)
            return
        from gcnlab.experiments.bench_vrf import bench_vrf

        if self.pairs < 1:
            raise ValueError(f"--pairs must be at least 1, not {self.pairs}")
        bench_vrf(self.out, self.pairs, self.full_captum, self.growth, self.run, self.only)
