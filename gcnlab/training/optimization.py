"""The optimization: loss functions, optimizer, learning rate schedule, numerical precision."""

import contextlib
import math
import os
from collections.abc import Iterator
from pathlib import Path

import torch
from torch import nn
from torch.nn import functional as F

from gcnlab.annotations import Float, Int, Shaped, Tensor
from gcnlab.datasets.labels import IGNORE
from gcnlab.training.settings import TrainingConfig


def segmentation_loss(
    logits: Float[Tensor, "batch classes height width"],
    labels: Shaped[Tensor, "batch height width"],
    count: Shaped[Tensor, ""] | None = None,
) -> Float[Tensor, ""]:
    """Cross-entropy, averaged over the labelled pixels of the batch; 0 if all pixels are void.

    Args:
        count: divide the sum by this number instead of the labelled pixels of `labels`. It is
            needed if `labels` is only a part of the batch: in a mean of the parts' means, a pixel
            would weigh more the more void pixels there are around it.
    """
    count = labelled_pixels(labels) if count is None else count
    logits, labels = logits.float(), labels.long()
    if torch.are_deterministic_algorithms_enabled():  # on a GPU, only the loss of a list is
        logits, labels = logits.movedim(1, -1).flatten(0, -2), labels.flatten()
    total = F.cross_entropy(logits, labels, ignore_index=IGNORE, reduction="sum")
    return total / count.clamp(min=1)


def labelled_pixels(labels: Shaped[Tensor, "batch height width"]) -> Int[Tensor, ""]:
    """Number of pixels that are not void."""
    return (labels != IGNORE).sum()


def classification_loss(
    logits: Float[Tensor, "batch classes"],
    labels: Int[Tensor, "batch"],
    smoothing: float = 0.0,
    count: Shaped[Tensor, ""] | None = None,
) -> Float[Tensor, ""]:
    """Cross-entropy, averaged over the images.

    Args:
        smoothing: fraction of each label that is spread evenly over all classes.
        count: divide the sum by this number instead of the number of images, if they are only a
            part of the batch.
    """
    total = F.cross_entropy(logits.float(), labels, label_smoothing=smoothing, reduction="sum")
    return total / (len(labels) if count is None else count)


def learning_rate(settings: TrainingConfig, step: int, steps: int) -> float:
    """Learning rate of step 0 … steps − 1: linear warm-up, then the schedule."""
    warmup = round(settings.warmup * steps)
    if step < warmup:
        return settings.learning_rate * (step + 1) / warmup
    if settings.schedule == "constant":
        return settings.learning_rate
    if settings.schedule == "step":
        return settings.learning_rate * 0.1 ** (3 * step // steps)
    done = (step - warmup) / (steps - warmup)
    if settings.schedule == "cosine":
        return settings.learning_rate * (1 + math.cos(math.pi * done)) / 2
    return settings.learning_rate * (1 - done) ** settings.power


def make_optimizer(model: nn.Module, settings: TrainingConfig) -> torch.optim.Optimizer:
    """SGD or AdamW. Weights are decayed; normalisation parameters and biases are not.

    Each of the two is a parameter group; with a learning rate of its own, the backbone has two
    more. The loop multiplies the learning rate by a group's "factor".

    Raises:
        ValueError: `backbone_rate` is set, and the network has no backbone.
    """
    trained = [p for p in model.parameters() if p.requires_grad]
    parts = [(trained, 1.0)]
    if settings.backbone_rate != 1.0:
        if not hasattr(model, "backbone"):
            raise ValueError("training.backbone_rate: a classifier is trained at one learning rate")
        own = {id(p) for p in model.backbone.parameters()}
        backbone = [p for p in trained if id(p) in own]
        others = [p for p in trained if id(p) not in own]
        parts = [(others, 1.0), (backbone, settings.backbone_rate)]
    groups = [
        {"params": chosen, "weight_decay": decay, "factor": factor}
        for part, factor in parts
        for chosen, decay in (
            ([p for p in part if p.ndim > 1], settings.weight_decay),
            ([p for p in part if p.ndim <= 1], 0.0),
        )
    ]
    if settings.optimizer == "sgd":
        sgd = torch.optim.SGD(groups, settings.learning_rate, settings.momentum, fused=True)
        if settings.momentum > 0:
            # PyTorch creates the buffer in the first step, and leaves it unfilled if that step is
            # skipped because of an overflow.
            for weight in trained:
                sgd.state[weight]["momentum_buffer"] = torch.zeros_like(weight)
        return sgd
    betas = (settings.momentum, 0.999)
    return torch.optim.AdamW(groups, settings.learning_rate, betas, fused=True)


def compute_dtype(precision: str, device: torch.device) -> torch.dtype:
    """The data type in which convolutions are computed.

    Raises:
        ValueError: fp16 on a CPU, which does not support it well.
    """
    if precision == "fp32":
        return torch.float32
    if precision == "fp16":
        if device.type == "cpu":
            raise ValueError("training.precision = fp16 needs a GPU; use bf16 or fp32 on a CPU")
        return torch.float16
    if precision == "bf16":
        return torch.bfloat16
    if device.type == "cuda":
        native = torch.cuda.get_device_capability(device) >= (8, 0)
        return torch.bfloat16 if native else torch.float16
    return torch.bfloat16 if _cpu_has_bf16() else torch.float32


def _cpu_has_bf16() -> bool:
    with contextlib.suppress(OSError):
        flags = Path("/proc/cpuinfo").read_text()
        return "avx512_bf16" in flags or "amx_bf16" in flags
    return False


@contextlib.contextmanager
def algorithms(deterministic: bool) -> Iterator[None]:
    """Inside this context, PyTorch uses deterministic algorithms, or the fastest."""
    before = torch.are_deterministic_algorithms_enabled(), torch.backends.cudnn.benchmark
    if deterministic:  # cuBLAS reads it when CUDA starts, and is deterministic only with it
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.use_deterministic_algorithms(deterministic or before[0])
    torch.backends.cudnn.benchmark = not deterministic
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before[0])
        torch.backends.cudnn.benchmark = before[1]
