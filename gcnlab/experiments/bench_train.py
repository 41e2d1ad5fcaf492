"""Images per second of a training step and of inference, side by side with the network written the plain way.

The network of Figure 2: ResNet-50, GCN k = 7, boundary refinement, 21 classes, 512×512. Ours is what `gcnlab train`
does by itself: channels-last, the device's own precision, fused optimiser, on a GPU cuDNN's quickest algorithms; and
the same compiled. Plain is `PlainNet` in fp32 and contiguous, with PyTorch's default SGD and cross-entropy.
"""

import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import nn

from gcnlab.devices import default_device
from gcnlab.experiments.plain import PlainNet
from gcnlab.experiments.speed import (
    alternate,
    breakdown,
    compare,
    matrix_peak,
    measured_alone,
    operations,
)
from gcnlab.models import SegmentationNet
from gcnlab.provenance import provenance, write_json
from gcnlab.training import DataConfig, ModelConfig, RunConfig, TrainingConfig
from gcnlab.training.loop import backward
from gcnlab.training.optimization import algorithms, compute_dtype, make_optimizer
from gcnlab.training.tasks import task_of

CLASSES, K = 21, 7
BACKBONE = "resnet50"


def bench(
    what: str,
    out: Path | None = None,
    device: str | None = None,
    compiled: bool = True,
    size: int = 512,
    batch_size: int | None = None,
    rounds: int = 5,
    backbone: str = BACKBONE,
) -> dict:
    """Run the benchmark, print it, and write it to `out` (JSON).

    Args:
        what: "train" or "infer".
        device: "cuda", "cpu"; None takes the GPU if there is one.
        compiled: measure torch.compile too.
        size: height and width of the images, in pixels.
        batch_size: images at once; None: 16 on a GPU, 1 on a CPU.
        rounds: of each variant, in turn; the medians count.
    """
    start, device = time.perf_counter(), default_device(device)
    torch.manual_seed(0)
    on_cpu = device.type == "cpu"
    batch_size = batch_size or (1 if on_cpu else 16)
    images = torch.randn(batch_size, 3, size, size, device=device)
    labels = torch.randint(0, CLASSES, (batch_size, size, size), device=device)
    labels[:, :8] = 255
    variants = training_steps if what == "train" else inferences
    with measured_alone(device):
        works, waits = {}, {}
        for name, work in variants(images, labels, backbone, compiled).items():
            begun = time.perf_counter()
            work()
            works[name], waits[name] = work, time.perf_counter() - begun
        times = alternate(works, device, rounds, repeats=1 if on_cpu else 20)
        table = compare(times, batch_size)
        dtype = compute_dtype("auto", device)
        peaks = {
            str(d).removeprefix("torch."): matrix_peak(device, d) for d in (dtype, torch.float32)
        }
        work_done = operations(
            lambda: ours(backbone),
            lambda: torch.empty(batch_size, 3, size, size),
            backward=what == "train",
        )
        peak = peaks[str(dtype).removeprefix("torch.")]
        for name, row in table.items():
            speed = work_done * row["images_per_second"] / batch_size
            row["share_of_peak"] = speed / (peaks["float32"] if name == "plain" else peak)
            row["time_in"] = breakdown(works[name], device)
            row["first_call_seconds"] = waits[name]
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
        "what": f"{'training step' if what == 'train' else 'inference'}, {backbone}, GCN k={K}, BR",
        "size": size,
        "batch_size": batch_size,
        "clock": "processor time, one thread" if on_cpu else "wall",
        "precision": str(dtype).removeprefix("torch."),
        "operations_per_image": work_done / batch_size,
        "matrix_peak": peaks,
        "variants": table,
        "seconds_all_rounds": times,
        "provenance": record,
    }
    if out is not None:
        write_json(values, out)
    return values


def ours(backbone: str) -> nn.Module:
    """The network of Figure 2."""
    return SegmentationNet(backbone, CLASSES, kernel_size=K)


def training_steps(
    images: torch.Tensor, labels: torch.Tensor, backbone: str, compiled: bool
) -> dict[str, Callable[[], object]]:
    """One step each, data on the device already: forward, backward, optimiser."""
    device = images.device
    model, loss = PlainNet(CLASSES, K, backbone).to(device), nn.CrossEntropyLoss(ignore_index=255)
    optimizer = torch.optim.SGD(model.parameters(), 1e-4, momentum=0.99, weight_decay=0.0005)

    def plain() -> None:
        optimizer.zero_grad()
        loss(model(images), labels).backward()
        optimizer.step()

    steps = {"plain": plain, "gcnlab": _our_step(images, labels, backbone, False)}
    if compiled:
        steps["gcnlab, compiled"] = _our_step(images, labels, backbone, True)
    return steps


def _our_step(
    images: torch.Tensor, labels: torch.Tensor, backbone: str, compiled: bool
) -> Callable[[], object]:
    settings = TrainingConfig(
        optimizer="sgd",
        learning_rate=1e-4,
        momentum=0.99,
        weight_decay=0.0005,
        batch_size=len(images),
    )
    config = RunConfig(ModelConfig(backbone, kernel_size=K), DataConfig("voc"), settings)
    device, dtype = images.device, compute_dtype("auto", images.device)
    model = ours(backbone).to(device, memory_format=torch.channels_last)
    optimizer = make_optimizer(model, settings)
    scaler = torch.amp.GradScaler(device.type, enabled=dtype == torch.float16)
    network = torch.compile(model) if compiled else model
    images = images.to(memory_format=torch.channels_last)

    @algorithms(deterministic=False)
    def step() -> None:
        optimizer.zero_grad(set_to_none=True)
        backward(network, task_of(config), images, labels, dtype, scaler)
        scaler.unscale_(optimizer)
        nn.utils.clip_grad_norm_(model.parameters(), 5.0)
        scaler.step(optimizer)
        scaler.update()

    return step


def inferences(
    images: torch.Tensor, labels: torch.Tensor, backbone: str, compiled: bool
) -> dict[str, Callable[[], object]]:
    """One batch each to class ids, data on the device already."""
    device, dtype = images.device, compute_dtype("auto", images.device)

    def inference(model: nn.Module, images: torch.Tensor, mixed: bool) -> Callable[[], object]:
        @torch.inference_mode()
        def work() -> torch.Tensor:
            with torch.autocast(device.type, dtype, enabled=mixed and dtype != torch.float32):
                return model(images).argmax(1)

        return work

    model = ours(backbone).eval().to(device, memory_format=torch.channels_last)
    laid = images.to(memory_format=torch.channels_last)
    works = {
        "plain": inference(PlainNet(CLASSES, K, backbone).eval().to(device), images, False),
        "gcnlab": inference(model, laid, True),
    }
    if compiled:
        works["gcnlab, compiled"] = inference(torch.compile(model), laid, True)
    return works
