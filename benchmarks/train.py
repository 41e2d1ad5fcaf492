"""Images per second of a training step, against the same network written the plain way.

    python -m benchmarks.train --out data/results/bench/train.json

The plain step uses PyTorch's default SGD and cross-entropy (`benchmarks.throughput`).
"""

from collections.abc import Callable

import torch
from torch import nn

from benchmarks.plain import PlainNet
from benchmarks.throughput import CLASSES, K, Throughput, Variants, measure, our_network
from gcnlab.experiments.command import run_command
from gcnlab.training import DataConfig, ModelConfig, RunConfig, TrainingConfig
from gcnlab.training.loop import backward
from gcnlab.training.optimization import algorithms, compute_dtype, make_optimizer
from gcnlab.training.tasks import task_of


class TrainBenchmark(Throughput):
    """Measure the images per second of a training step, against the plain network."""

    def __call__(self) -> dict:
        return measure(self, "training step", training_steps, backward=True)


def training_steps(
    images: torch.Tensor, labels: torch.Tensor, backbone: str, compiled: bool
) -> Variants:
    """A training step of each variant: forward pass, backward pass, optimiser."""
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
    model = our_network(backbone).to(device, memory_format=torch.channels_last)
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


if __name__ == "__main__":
    run_command(TrainBenchmark, "benchmarks.train")
