"""All that a run is after some step: what a checkpoint holds, and what going on from one takes."""

import time
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Any

import torch
from torch import nn

from gcnlab.annotations import Tensor
from gcnlab.evaluation.processes import process
from gcnlab.training.checkpoint import load_checkpoint, load_model_state
from gcnlab.training.optimization import compute_dtype, make_optimizer
from gcnlab.training.parallel import with_synchronized_norm
from gcnlab.training.runs import TrainedRun, check_same_run, check_same_steps, load_initial
from gcnlab.training.task import Task


@dataclass
class RunState:
    """A run under way.

    The order of the images and their variation are functions of the seed and the step, so that `step` is the
    sampler's position, and the rate's.

    Attributes:
        config: the settings.
        model: the network, on its device.
        optimizer, scaler: with what they remember.
        per_epoch, steps: steps of an epoch, and of the whole run.
        initial: where its weights came from, see `TrainedRun`.
        step: steps that are done.
        losses: of each of them.
        best: "step" and "score" of the best score on the val split so far.
        seconds: that it took before this process.
    """

    config: Task
    model: nn.Module
    optimizer: torch.optim.Optimizer
    scaler: torch.amp.GradScaler
    per_epoch: int
    steps: int
    initial: dict[str, str | None] | None
    step: int = 0
    losses: list[float] = field(default_factory=list)
    best: dict[str, Any] | None = None
    seconds: float = 0.0
    began: float = field(default_factory=time.perf_counter)

    @property
    def device(self) -> torch.device:
        """Where the network is."""
        return next(self.model.parameters()).device

    @property
    def elapsed(self) -> float:
        """Seconds of all steps, those before a resume included."""
        return self.seconds + time.perf_counter() - self.began

    def to_dict(self) -> dict[str, Any]:
        """Plain values and tensors, for `save_checkpoint`."""
        versions = {name: metadata.version(name) for name in ("torch", "torchvision")}
        return {
            "task": self.config.task,
            "config": self.config.to_dict(),
            "initial": self.initial,
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "scaler": self.scaler.state_dict(),
            "step": self.step,
            "steps": self.steps,
            "best": self.best,
            "random": torch.get_rng_state(),
            "random_cuda": torch.cuda.get_rng_state_all(),
            "losses": torch.tensor(self.losses),
            "seconds": self.elapsed,
            "processes": process()[1],
            "versions": versions,
        }

    def load(self, path: Path) -> None:
        """Go on from a checkpoint.

        Raises:
            ValueError: it is damaged or of another run.
        """
        state = load_checkpoint(path)
        check_same_run(state, self.config, path, self.initial)
        check_same_steps(state, self.steps, path)
        load_model_state(self.model, state, path)
        self.optimizer.load_state_dict(state["optimizer"])
        for group in self.optimizer.param_groups:  # how it computes is not the checkpoint's to say
            group["fused"] = True
        if state["scaler"]:  # empty if it was computed without one, in bf16 or fp32
            self.scaler.load_state_dict(state["scaler"])
        torch.set_rng_state(state["random"])
        cuda = state.get("random_cuda", [])
        if len(cuda) == torch.cuda.device_count():
            torch.cuda.set_rng_state_all(cuda)
        self.step, self.losses = state["step"], state["losses"].tolist()
        self.best, self.seconds = state.get("best"), state["seconds"]


def start_run(
    config: Task,
    device: torch.device,
    images: int,
    initial: TrainedRun | str | Path | dict[str, Tensor] | None = None,
) -> RunState:
    """A run before its first step.

    Args:
        images: of the training set.
        initial: weights to start from, see `train`.

    Raises:
        FileNotFoundError, ValueError: see `load_initial`.
    """
    settings = config.training
    torch.manual_seed(settings.seed)
    model = config.build_model()
    started_from = None if initial is None else load_initial(model, initial)
    model = with_synchronized_norm(model, device).to(device, memory_format=torch.channels_last)
    scaled = compute_dtype(settings.precision, device) == torch.float16
    per_epoch = max(1, images // settings.batch_size)
    return RunState(
        config,
        model,
        make_optimizer(model, settings),
        torch.amp.GradScaler(device.type, enabled=scaled),
        per_epoch,
        per_epoch * settings.epochs,
        started_from,
    )
