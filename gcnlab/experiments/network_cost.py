"""The cost of networks: weights and multiply-adds of the networks of Tables 1 to 5 (section 3.1,
O(2/k)).

Both are counted for one image without computing anything. The time of a training step is measured
by a benchmark (`python -m benchmarks.network_cost`), whose result `read_network_costs` reads.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from gcnlab.experiments.scales import Scale
from gcnlab.experiments.tables import paper_table
from gcnlab.models.segmenter import count_weights
from gcnlab.training import RunConfig
from gcnlab.training.tasks import task_of


@dataclass(frozen=True)
class NetworkCost:
    """Cost of one network.

    Attributes:
        weights: trainable weights of the whole network.
        multiply_adds: multiply-adds of the convolutions in the forward pass of one image.
        step_seconds: processor time of a training step per image; None if not measured.
    """

    weights: int
    multiply_adds: int
    step_seconds: float | None = None


def table_networks(scale: Scale = "mini") -> dict[str, RunConfig]:
    """Every network of Tables 1 to 5 once, under the first of its names."""
    names: dict[RunConfig, str] = {}
    for number in (1, 2, 3, 4, 5):
        for cell in paper_table(number, scale).cells:
            names.setdefault(cell.config, cell.name)
    return {name: config for config, name in names.items()}


def network_cost(config: RunConfig) -> NetworkCost:
    """Weights and multiply-adds of a network at the size of its images; allocates no memory."""
    side, build_model = config.data.image_size, task_of(config).build_model
    with torch.device("meta"):
        weights = count_weights(build_model())
    operations = count_operations(build_model, lambda: torch.empty(1, 3, side, side))
    return NetworkCost(weights, operations // 2)  # a multiply-add is two operations


def count_operations(
    build: Callable[[], nn.Module], inputs: Callable[[], object], backward: bool = False
) -> int:
    """Floating-point operations of the convolutions and matrix products in one pass.

    `build` and `inputs` run on the meta device: their tensors have shapes but no values.

    Args:
        build: makes the network.
        inputs: makes its argument.
        backward: count the backward pass, too.
    """
    counter = FlopCounterMode(display=False)
    with torch.device("meta"):
        model, given = build(), inputs()
        with counter:
            outputs = model(given)
            if backward:
                maps = outputs if isinstance(outputs, list) else [outputs]
                torch.autograd.backward([logits.sum() for logits in maps])
    return counter.get_total_flops()


def read_network_costs(path: str | Path) -> dict[str, NetworkCost]:
    """The costs of the mini scale's networks that the benchmark wrote, with their time."""
    networks = json.loads(Path(path).read_text())["networks"]
    return {name: NetworkCost(**cost) for name, cost in networks.items()}
