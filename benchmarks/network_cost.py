"""Cost of the tables' networks: weights, multiply-adds, and the time of a training step.

    python -m benchmarks.network_cost --out data/results/cost.json

Weights and multiply-adds are counted (`gcnlab.experiments.network_cost`). The time is the processor
time of a training step on one batch; the networks take turns, and the median over the rounds
counts. It takes about four minutes on one CPU core.
"""

import statistics
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import torch

from benchmarks.timing import alternate, single_threaded
from gcnlab.experiments.command import run_command
from gcnlab.experiments.network_cost import network_cost, table_networks
from gcnlab.provenance import provenance, write_json
from gcnlab.training import RunConfig
from gcnlab.training.optimization import make_optimizer
from gcnlab.training.tasks import task_of


@dataclass(frozen=True)
class NetworkCostBenchmark:
    """Count and time the networks of Tables 1 to 5."""

    out: Path
    """JSON file for the result."""
    rounds: int = 7
    """Measured training steps of each network."""
    batch_size: int = 8
    """Images per step."""

    def __call__(self) -> None:
        if self.rounds < 1 or self.batch_size < 1:
            raise ValueError("rounds and batch_size must be at least 1")
        began = time.perf_counter()
        configs = table_networks()
        seconds = step_seconds(configs, self.rounds, self.batch_size)
        costs = {
            name: asdict(network_cost(c)) | {"step_seconds": seconds[name]}
            for name, c in configs.items()
        }
        for name, cost in costs.items():
            print(
                f"{name:12} {cost['weights']:9,} weights  {cost['multiply_adds'] / 1e6:7.1f} M multiply-adds  "
                f"{1000 * cost['step_seconds']:6.1f} ms per image"
            )
        record = provenance(
            seeds=[0],
            dataset="random images of 256 × 256",
            split="none",
            device="cpu",
            seconds=time.perf_counter() - began,
        )
        settings = {"rounds": self.rounds, "batch_size": self.batch_size}
        write_json({"settings": settings, "networks": costs, "provenance": record}, self.out)


def step_seconds(configs: dict[str, RunConfig], rounds: int, batch_size: int) -> dict[str, float]:
    """Median processor time of a training step per image; the networks take turns.

    Args:
        rounds: measured steps of each network, after one warm-up step.
        batch_size: images per step.
    """
    steps = {name: training_step(config, batch_size) for name, config in configs.items()}
    cpu = torch.device("cpu")
    with single_threaded(cpu):
        taken = alternate(steps, cpu, rounds, repeats=1)
    return {name: statistics.median(values) / batch_size for name, values in taken.items()}


def training_step(config: RunConfig, batch_size: int) -> Callable[[], None]:
    """A training step on random images and labels, on the CPU; the result can be called
    repeatedly."""
    torch.manual_seed(0)
    task = task_of(config)
    model = task.build_model().to(memory_format=torch.channels_last).train()
    optimizer = make_optimizer(model, config.training)
    side = config.data.image_size
    images = torch.randn(batch_size, 3, side, side).to(memory_format=torch.channels_last)
    labels = torch.randint(config.data.labels.num_classes, (batch_size, side, side))

    def step() -> None:
        task.loss(model(images), labels).backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)

    return step


if __name__ == "__main__":
    run_command(NetworkCostBenchmark, "benchmarks.network_cost")
