"""Images per second of one data-loading worker, ours and torchvision's reference.

    python -m benchmarks.data --out data/results/bench/data.json

Both read VOC's JPEGs and palette PNGs, scale by 0.5 … 2, crop to 512×512 (padding with void), flip
and normalise. The reference consists of the transforms of torchvision's segmentation recipe, in its
two forms: on PIL images, and on tensors. A worker is one process with one thread; the pipelines
take turns.
"""

import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torchvision
from torchvision import tv_tensors
from torchvision.transforms import v2

from gcnlab.datasets import IGNORE, Normalization, VOCSegmentation, training_transform
from gcnlab.datasets.miniature import make_voc
from gcnlab.experiments.command import run_command
from gcnlab.provenance import provenance, write_json

CROP = 512
SIZE = (366, 491)
"""Smallest height and width of the generated images; with up to 9 pixels more they are VOC's
375×500."""


def ours(root: Path) -> Callable[[int], Any]:
    """Our VOC data set with our training transform, as a function from index to item."""
    transform = training_transform(Normalization(), (CROP, CROP), (0.5, 2.0))
    data = VOCSegmentation("train", root / "VOCdevkit" / "VOC2012", transform)
    return lambda index: data[index % len(data)]


def reference(root: Path, tensors: bool) -> Callable[[int], Any]:
    """torchvision's VOC data set with the transforms of its segmentation recipe."""
    normal, side = Normalization(), SIZE[0]
    image_type = tv_tensors.Image if tensors else torch.Tensor
    fill = {tv_tensors.Image: 0, tv_tensors.Mask: IGNORE, "others": 0}
    dtype = {image_type: torch.float32, tv_tensors.Mask: torch.int64, "others": None}
    transform = v2.Compose(
        [
            *([v2.ToImage()] if tensors else []),
            v2.RandomResize(round(0.5 * side), 2 * side),
            v2.RandomHorizontalFlip(0.5),
            v2.RandomCrop(CROP, pad_if_needed=True, fill=fill),
            *([] if tensors else [v2.PILToTensor()]),
            v2.ToDtype(dtype, scale=True),
            v2.Normalize(normal.mean, normal.std),
            v2.ToPureTensor(),
        ]
    )
    data = torchvision.datasets.VOCSegmentation(root, "2012", "train")

    def item(index: int) -> Any:
        image, mask = data[index % len(data)]
        return transform(image, tv_tensors.Mask(np.array(mask)))

    return item


@dataclass(frozen=True)
class DataBenchmark:
    """Measure images per second of the VOC pipeline at 512×512, against torchvision's
    transforms."""

    out: Path | None = None
    """Write figures and provenance to this JSON file."""
    images: int = 60
    """Images per round."""
    rounds: int = 5
    """Rounds of each pipeline; the median counts."""

    def __call__(self) -> None:
        measure(self.out, self.images, self.rounds)


def measure(out: Path | None, images: int, rounds: int) -> None:
    """Measure the pipelines, print their rates, and write `out`."""
    start, threads = time.perf_counter(), torch.get_num_threads()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        make_voc(root, SIZE)
        pipelines = {
            "gcnlab": ours(root),
            "torchvision, PIL": reference(root, tensors=False),
            "torchvision, tensors": reference(root, tensors=True),
        }
        rates: dict[str, list[float]] = {name: [] for name in pipelines}
        for turn in range(rounds + 1):  # the first round is a warm-up
            for name, item in pipelines.items():
                torch.manual_seed(turn)
                begun = time.process_time()
                for index in range(images):
                    item(index)
                if turn:
                    rates[name].append(images / (time.process_time() - begun))
    torch.set_num_threads(threads)
    rate = {name: statistics.median(values) for name, values in rates.items()}
    best = max(value for name, value in rate.items() if name != "gcnlab")
    for name, value in rate.items():
        print(f"{name:<22}{value:7.1f} images/s of processor time")
    print(f"ratio to the faster reference: {rate['gcnlab'] / best:.2f}")
    if out is not None:
        record = provenance(
            seeds=list(range(1, rounds + 1)),
            dataset=f"generated images in VOC's formats, about {SIZE[0]}×{SIZE[1]} px",
            split="train",
            device="cpu",
            seconds=time.perf_counter() - start,
        )
        values = {
            "crop": CROP,
            "images_per_second": rate,
            "all_rounds": rates,
            "ratio": rate["gcnlab"] / best,
        }
        write_json(values | {"provenance": record}, out)


if __name__ == "__main__":
    run_command(DataBenchmark, "benchmarks.data")
