"""Images per second of the network of Figure 2, ours and the plain one side by side.

The network has a ResNet-50, GCN k = 7, boundary refinement and 21 classes, on images of 512×512.
"Plain" is `benchmarks.plain.PlainNet` in fp32 and contiguous layout. "gcnlab" runs as `gcnlab
train` runs it by default: channels-last layout, the device's precision, and on a GPU the fastest
cuDNN algorithms; "gcnlab, compiled" is the same with torch.compile.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from benchmarks.timing import alternate, breakdown, compare, matrix_peak, single_threaded
from gcnlab.devices import default_device
from gcnlab.experiments.network_cost import count_operations
from gcnlab.models import SegmentationNet
from gcnlab.provenance import provenance, write_json
from gcnlab.training.optimization import compute_dtype

CLASSES, K = 21, 7

Variants = dict[str, Callable[[], object]]
"""Name → one training step, or the inference of one batch."""


@dataclass(frozen=True)
class Throughput:
    """Settings of both benchmarks, `benchmarks.train` and `benchmarks.infer`."""

    out: Path | None = None
    """Write figures and provenance to this JSON file."""
    device: str | None = None
    """cpu, cuda, …; default: the GPU if there is one."""
    compiled: bool = True
    """Measure torch.compile, too; compiling takes a minute or more."""
    size: int = 512
    """Height and width of the images, in pixels."""
    batch_size: int | None = None
    """Images per batch; default: 16 on a GPU, 1 on a CPU."""
    rounds: int = 5
    """Measured rounds; the variants take turns, and the medians count."""
    backbone: str = "resnet50"
    """resnet18 … resnet152."""

    def __post_init__(self):
        if self.rounds < 1:
            raise ValueError(f"--rounds must be at least 1, not {self.rounds}")


def measure(
    settings: Throughput,
    what: str,
    variants: Callable[[torch.Tensor, torch.Tensor, str, bool], Variants],
    backward: bool,
) -> dict:
    """Measure the variants, print a line for each, and write `settings.out`.

    Args:
        what: name of the work in the result.
        variants: (images, labels, backbone, compiled) → the variants; the data is on the device.
        backward: the work includes the backward pass.
    """
    start, device = time.perf_counter(), default_device(settings.device)
    torch.manual_seed(0)
    on_cpu, size = device.type == "cpu", settings.size
    batch_size = settings.batch_size or (1 if on_cpu else 16)
    images = torch.randn(batch_size, 3, size, size, device=device)
    labels = torch.randint(0, CLASSES, (batch_size, size, size), device=device)
    labels[:, :8] = 255
    with single_threaded(device):
        works, first_calls = {}, {}
        for name, work in variants(images, labels, settings.backbone, settings.compiled).items():
            begun = time.perf_counter()
            work()
            works[name], first_calls[name] = work, time.perf_counter() - begun
        times = alternate(works, device, settings.rounds, repeats=1 if on_cpu else 20)
        table = compare(times, batch_size)
        dtype = compute_dtype("auto", device)
        peaks = {
            str(d).removeprefix("torch."): matrix_peak(device, d) for d in (dtype, torch.float32)
        }
        operations = count_operations(
            lambda: our_network(settings.backbone),
            lambda: torch.empty(batch_size, 3, size, size),
            backward,
        )
        peak = peaks[str(dtype).removeprefix("torch.")]
        for name, row in table.items():
            speed = operations * row["images_per_second"] / batch_size
            row["share_of_peak"] = speed / (peaks["float32"] if name == "plain" else peak)
            row["time_in"] = breakdown(works[name], device)
            row["first_call_seconds"] = first_calls[name]
            print(
                f"{name:<18}{row['images_per_second']:9.3f} images/s   × {row['times_plain']:.2f}   "
                f"{100 * row['share_of_peak']:.0f} % of the matrix peak   "
                + ", ".join(f"{100 * v:.0f} % {p}" for p, v in row["time_in"].items() if v > 0.005),
                flush=True,
            )
    record = provenance(
        seeds=[0],
        dataset="random images",
        split="none",
        device=device,
        seconds=time.perf_counter() - start,
    )
    values = {
        "what": f"{what}, {settings.backbone}, GCN k={K}, BR",
        "size": size,
        "batch_size": batch_size,
        "clock": "processor time, one thread" if on_cpu else "wall",
        "precision": str(dtype).removeprefix("torch."),
        "operations_per_image": operations / batch_size,
        "matrix_peak": peaks,
        "variants": table,
        "seconds_all_rounds": times,
        "provenance": record,
    }
    if settings.out is not None:
        write_json(values, settings.out)
    return values


def our_network(backbone: str) -> nn.Module:
    """The network of Figure 2."""
    return SegmentationNet(backbone, CLASSES, kernel_size=K)
