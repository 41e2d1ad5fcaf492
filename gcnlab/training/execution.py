"""How a run is executed: on how many processes, by which means, what is kept and shown of it.

None of this is part of a run's settings: but for rounding the weights come out the same, and a run may go on with
other values.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch

from gcnlab.settings import check, settle


@dataclass(frozen=True)
class Execution:
    """How a run is executed."""

    processes: int = 1
    """Processes on this machine, each with its share of every step's images; on GPUs, one for each. (For
    several machines start the command with torchrun.)"""
    restarts: int = 0
    """How often all are started again, from the last checkpoint, after one of them died."""
    compile: bool = False
    """torch.compile: a minute or more of waiting at the start. Whether steps are quicker then depends on the device (on a CPU in
    fp32 they were not): `gcnlab bench train` tells."""
    recompute: bool = False
    """Activation checkpointing: each residual block is computed again in the backward pass rather than kept.
    About a third more time, for a fraction of the memory: for large crops."""
    deterministic: bool = False
    """Only algorithms that give the same bits each time. A CPU's do anyway."""
    keep: int = 1
    """Checkpoints that are kept, the newest among them."""
    checkpoint_minutes: float | None = None
    """A checkpoint also after this many minutes without one."""
    validate_every: int | None = None
    """Epochs between scores on the val split (mIoU or top-1); the best so far is kept as best.pt."""
    samples: int = 0
    """Images of the val split whose predictions are shown with each checkpoint, in samples/."""
    tensorboard: bool = False
    """Write loss, rate, images per second, scores and predictions for TensorBoard (extra `log`)."""

    def __post_init__(self):
        settle(self, "execution.")
        check("execution.processes", self.processes >= 1, "at least 1")
        check("execution.restarts", self.restarts >= 0, "0 or more")
        check("execution.keep", self.keep >= 1, "at least 1")
        minutes, every = self.checkpoint_minutes, self.validate_every
        check("execution.checkpoint_minutes", minutes is None or minutes > 0, "positive")
        check("execution.validate_every", every is None or every >= 1, "at least 1 epoch")
        check("execution.samples", self.samples >= 0, "0 or more")


@contextmanager
def algorithms(deterministic: bool) -> Iterator[None]:
    """PyTorch's choice of algorithms inside the block: those that repeat every bit, or the quickest."""
    before = torch.are_deterministic_algorithms_enabled(), torch.backends.cudnn.benchmark
    if deterministic:  # read when CUDA starts; cuBLAS repeats its bits only with it
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.use_deterministic_algorithms(deterministic or before[0])
    torch.backends.cudnn.benchmark = not deterministic
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before[0])
        torch.backends.cudnn.benchmark = before[1]
