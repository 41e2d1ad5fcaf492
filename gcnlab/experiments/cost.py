"""What the heads cost: weights, multiply-adds and time of the networks of Tables 1 to 5 (section 3.1, O(2/k)).

    python -m gcnlab.experiments.cost --out data/results/cost.json

Weights and multiply-adds are counted, for one image, without computing anything. Time is measured: a training step on one
batch, in processor time, the networks taking turns; the median over the rounds is kept. About four minutes on one CPU core.
"""

import json
import statistics
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import torch

from gcnlab.experiments.process import run_command
from gcnlab.experiments.scales import Scale
from gcnlab.experiments.speed import alternate, measured_alone, operations
from gcnlab.experiments.tables import paper_table
from gcnlab.models.segmenter import count_weights
from gcnlab.provenance import provenance, write_json
from gcnlab.training import RunConfig
from gcnlab.training.optimization import make_optimizer
from gcnlab.training.tasks import task_of


@dataclass(frozen=True)
class Cost:
    """Of one network.

    Attributes:
        weights: trainable, of the whole network.
        multiply_adds: of one image's way through it, convolutions only.
        step_seconds: processor time of a training step, per image; None if not measured.
    """

    weights: int
    multiply_adds: int
    step_seconds: float | None = None


def networks(scale: Scale = "mini") -> dict[str, RunConfig]:
    """Every network of Tables 1 to 5, once, by the first of its names."""
    names: dict[RunConfig, str] = {}
    for number in (1, 2, 3, 4, 5):
        for cell in paper_table(number, scale).cells:
            names.setdefault(cell.config, cell.name)
    return {name: config for config, name in names.items()}


def count(config: RunConfig) -> Cost:
    """Weights and multiply-adds of a network, at its images' size; nothing is allocated."""
    side = config.data.image_size
    with torch.device("meta"):
        weights = count_weights(task_of(config).build_model())
    # An operation is a multiplication or an addition.
    done = operations(
        task_of(config).build_model, lambda: torch.empty(1, 3, side, side), backward=False
    )
    return Cost(weights, done // 2)


def step_seconds(configs: dict[str, RunConfig], rounds: int, batch_size: int) -> dict[str, float]:
    """Median processor time of a training step, per image; the networks take turns.

    Args:
        rounds: measured steps of each network; one more before them is not counted.
        batch_size: images a step.
    """
    steps = {name: training_step(config, batch_size) for name, config in configs.items()}
    cpu = torch.device("cpu")
    with measured_alone(cpu):
        taken = alternate(steps, cpu, rounds, repeats=1)
    return {name: statistics.median(values) / batch_size for name, values in taken.items()}


def training_step(config: RunConfig, batch_size: int) -> Callable[[], None]:
    """A step on random images and labels, on the CPU, to be called as often as wanted."""
    torch.manual_seed(0)
    model = task_of(config).build_model().to(memory_format=torch.channels_last).train()
    optimizer = make_optimizer(model, config.training)
    side = config.data.image_size
    images = torch.randn(batch_size, 3, side, side).to(memory_format=torch.channels_last)
    labels = torch.randint(config.data.labels.num_classes, (batch_size, side, side))

    def step() -> None:
        config.loss(model(images), labels).backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)

    return step


def read_costs(path: str | Path) -> dict[str, Cost]:
    """What the command wrote: the mini scale's networks, timed."""
    networks = json.loads(Path(path).read_text())["networks"]
    return {name: Cost(**cost) for name, cost in networks.items()}


@dataclass(frozen=True)
class Command:
    """Count and time the networks of Tables 1 to 5."""

    out: Path
    """JSON file for the result."""
    rounds: int = 7
    """Measured training steps of each network."""
    batch_size: int = 8
    """Images a step."""

    def __call__(self) -> None:
        if self.rounds < 1 or self.batch_size < 1:
            raise ValueError("rounds and batch_size must be at least 1")
        began = time.perf_counter()
        configs = networks()
        seconds = step_seconds(configs, self.rounds, self.batch_size)
        costs = {
            name: asdict(count(c)) | {"step_seconds": seconds[name]} for name, c in configs.items()
        }
        for name, cost in costs.items():
            print(
                f"{name:12} {cost['weights']:9,} weights  {cost['multiply_adds'] / 1e6:7.1f} M multiply-adds  "
                f"{1000 * cost['step_seconds']:6.1f} ms an image"
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


def main() -> None:
    """Entry point of `python -m gcnlab.experiments.cost`."""
    run_command(Command, "cost")


if __name__ == "__main__":
    main()
