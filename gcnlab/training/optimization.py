"""How weights are found: the optimiser, its rate over the steps, the arithmetic.

Segmentation and classification take the same settings; nothing here knows which of them is trained.
"""

import contextlib
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

import torch
from torch import nn

from gcnlab.settings import check, check_choice, settle

Precision = Literal["auto", "fp32", "bf16", "fp16"]
Decay = Literal["poly", "constant", "step", "cosine"]


@dataclass(frozen=True)
class TrainingConfig:
    """How the weights are found. The defaults are the quick recipe of the mini scale; the paper's SGD
    is the preset "paper"."""

    epochs: int = 8
    """Passes over the training images."""
    batch_size: int = 8
    """Images a step, over all processes together."""
    accumulation: int = 1
    """Parts that a step's images are computed in, one after the other, where they do not fit into memory
    together. The loss is still the mean over all labelled pixels of the step, so that with frozen batch
    norm the gradient is that of the whole batch; batch norm that learns sees one part at a time."""
    optimizer: Literal["adamw", "sgd"] = "adamw"
    """sgd, as in the paper; adamw, which at the mini scale and from a random start reaches in a
    thousand steps what SGD does not in several thousand."""
    learning_rate: float = 5e-3
    """Peak learning rate. The paper gives none."""
    momentum: float = 0.9
    """Of SGD; the paper has 0.99 with batches of one image. Momentum m is a running mean over some
    1/(1 − m) steps: 0.99 at batch 1 over 100 images, as 0.9 at batch 10, or none at batch 100. A step moves
    the weights by rate/(1 − m) times that mean, so per image the paper's rate r at 0.99 goes as far as
    100·r at batch 10 and 0.9. Equal on average, not step by step: with few large steps the gradient is
    less often taken anew. (AdamW: its first moment's decay.)"""
    weight_decay: float = 0.01
    """Of convolutions' weights; normalisation parameters are not decayed. SGD adds it to the
    gradient (the paper: 0.0005), AdamW scales it with the rate only."""
    schedule: Decay = "poly"
    """With t, the share of the steps behind the warm-up that are done: poly: peak × (1 − t)^power; constant: peak;
    cosine: peak × (1 + cos(π t)) / 2; step: a tenth after each third of all steps, as ResNets were trained on ImageNet."""
    power: float = 0.9
    """Exponent of the poly schedule."""
    warmup: float = 0.05
    """Share of all steps in which the rate rises linearly from 0 to the peak."""
    clip_norm: float | None = 5.0
    """Longest gradient (2-norm of all); None: no clipping."""
    precision: Precision = "auto"
    """auto: bf16 where the device computes in it (GPUs from Ampere on, CPUs with AVX512-BF16 or
    AMX), fp16 with loss scaling on older GPUs, else fp32."""
    seed: int = 0
    """Of the weights' start, the order of the images and their variation."""
    checkpoint_every: int = 1
    """Epochs between checkpoints."""
    checkpoint_steps: int | None = None
    """Steps between checkpoints, in place of epochs: an epoch of the larger data sets takes hours."""

    def __post_init__(self):
        settle(self, "training.")
        check("training.epochs", self.epochs >= 1, "at least 1")
        check("training.batch_size", self.batch_size >= 1, "at least 1")
        check(
            "training.accumulation",
            1 <= self.accumulation <= self.batch_size,
            "between 1 and training.batch_size",
        )
        check_choice("training.optimizer", self.optimizer, ("adamw", "sgd"))
        check("training.learning_rate", 0 < self.learning_rate < math.inf, "positive")
        check("training.momentum", 0 <= self.momentum < 1, "in [0, 1)")
        check("training.weight_decay", self.weight_decay >= 0, "0 or positive")
        check_choice("training.schedule", self.schedule, get_args(Decay))
        check("training.power", self.power >= 0, "0 or positive")
        check("training.warmup", 0 <= self.warmup < 1, "a share of all steps, in [0, 1)")
        check("training.clip_norm", self.clip_norm is None or self.clip_norm > 0, "positive")
        check_choice("training.precision", self.precision, get_args(Precision))
        check("training.seed", self.seed >= 0, "0 or positive")
        check("training.checkpoint_every", self.checkpoint_every >= 1, "at least 1")
        check(
            "training.checkpoint_steps",
            self.checkpoint_steps is None or self.checkpoint_steps >= 1,
            "at least 1",
        )


def learning_rate(settings: TrainingConfig, step: int, steps: int) -> float:
    """Rate of step 0 … steps − 1: linear warm-up, then the schedule."""
    warmup = round(settings.warmup * steps)
    if step < warmup:
        return settings.learning_rate * (step + 1) / warmup
    if settings.schedule == "constant":
        return settings.learning_rate
    if settings.schedule == "step":
        return settings.learning_rate * 0.1 ** (3 * step // steps)
    share = (step - warmup) / (steps - warmup)
    if settings.schedule == "cosine":
        return settings.learning_rate * (1 + math.cos(math.pi * share)) / 2
    return settings.learning_rate * (1 - share) ** settings.power


def make_optimizer(model: nn.Module, settings: TrainingConfig) -> torch.optim.Optimizer:
    """SGD or AdamW over two groups: weights are decayed, normalisation parameters and biases not."""
    trained = [p for p in model.parameters() if p.requires_grad]
    groups = [
        {"params": [p for p in trained if p.ndim > 1], "weight_decay": settings.weight_decay},
        {"params": [p for p in trained if p.ndim <= 1], "weight_decay": 0.0},
    ]
    if settings.optimizer == "sgd":
        sgd = torch.optim.SGD(groups, settings.learning_rate, settings.momentum, fused=True)
        if settings.momentum > 0:
            # PyTorch makes it in the first step, and fills it only if that step is not skipped for an overflow.
            for weight in trained:
                sgd.state[weight]["momentum_buffer"] = torch.zeros_like(weight)
        return sgd
    betas = (settings.momentum, 0.999)
    return torch.optim.AdamW(groups, settings.learning_rate, betas, fused=True)


def compute_dtype(precision: str, device: torch.device) -> torch.dtype:
    """The type that convolutions are computed in.

    Raises:
        ValueError: fp16 on a CPU, which has no use for it.
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
