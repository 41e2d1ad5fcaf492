"""Images per second of inference, against the same network written the plain way.

    python -m benchmarks.infer --out data/results/bench/infer.json

What the variants are is described in `benchmarks.throughput`.
"""

from collections.abc import Callable

import torch
from torch import nn

from benchmarks.plain import PlainNet
from benchmarks.throughput import CLASSES, K, Throughput, Variants, measure, our_network
from gcnlab.experiments.command import run_command
from gcnlab.training.optimization import compute_dtype


class InferBenchmark(Throughput):
    """Measure the images per second of inference, against the plain network."""

    def __call__(self) -> dict:
        return measure(self, "inference", inferences, backward=False)


def inferences(
    images: torch.Tensor, labels: torch.Tensor, backbone: str, compiled: bool
) -> Variants:
    """The inference of one batch by each variant, from images to class ids."""
    device, dtype = images.device, compute_dtype("auto", images.device)

    def inference(model: nn.Module, images: torch.Tensor, mixed: bool) -> Callable[[], object]:
        @torch.inference_mode()
        def work() -> torch.Tensor:
            with torch.autocast(device.type, dtype, enabled=mixed and dtype != torch.float32):
                return model(images).argmax(1)

        return work

    model = our_network(backbone).eval().to(device, memory_format=torch.channels_last)
    laid = images.to(memory_format=torch.channels_last)
    works = {
        "plain": inference(PlainNet(CLASSES, K, backbone).eval().to(device), images, False),
        "gcnlab": inference(model, laid, True),
    }
    if compiled:
        works["gcnlab, compiled"] = inference(torch.compile(model), laid, True)
    return works


if __name__ == "__main__":
    run_command(InferBenchmark, "benchmarks.infer")
