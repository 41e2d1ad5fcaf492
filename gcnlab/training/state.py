"""The complete state of a run: what a checkpoint holds, and how a run starts or resumes."""

import time
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Any

import torch
from torch import nn

from gcnlab.annotations import Tensor
from gcnlab.distributed import synchronize_batch_norm, world_size
from gcnlab.models.weights import check_is_file, read_content, state_dict_in
from gcnlab.pretrained import resolve
from gcnlab.training.checkpoint import (
    check_checkpoint,
    fingerprint,
    is_checkpoint,
    load_checkpoint,
    load_model_state,
)
from gcnlab.training.optimization import compute_dtype, make_optimizer
from gcnlab.training.runs import TrainedRun, config_of, read_run
from gcnlab.training.settings import Settings
from gcnlab.training.tasks import Task


@dataclass
class RunState:
    """A run in progress.

    The order of the images and their augmentation depend only on the seed and the step, so `step`
    is also the position of the sampler and of the learning rate schedule.

    Attributes:
        task: the task, with the settings.
        model: the network, on its device.
        optimizer, scaler: the optimizer and the gradient scaler, with their state.
        per_epoch, steps: number of steps per epoch, and of the whole run.
        initial: the source of the initial weights, see `TrainedRun`.
        step: number of steps done.
        losses: the loss of each step so far.
        best: "step" and "score" of the best score on the val split so far.
        seconds: time that earlier processes spent on the run.
    """

    task: Task
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
    cpu_began: float = field(default_factory=time.process_time)

    @property
    def config(self) -> Settings:
        """The settings."""
        return self.task.config

    @property
    def device(self) -> torch.device:
        """The device of the network."""
        return next(self.model.parameters()).device

    @property
    def elapsed(self) -> float:
        """Seconds of all steps, including those before a resume."""
        return self.seconds + time.perf_counter() - self.began

    @property
    def checkpoint_due(self) -> bool:
        """Whether the settings ask for a checkpoint after this step."""
        settings = self.config.training
        every = settings.checkpoint_steps or self.per_epoch * settings.checkpoint_every
        return self.step % every == 0 or self.step == self.steps

    def score_due(self, epochs: int | None) -> bool:
        """Whether the val split is scored after this step: every `epochs` epochs and at the end;
        never if `epochs` is None."""
        if epochs is None:
            return False
        return self.step % (self.per_epoch * epochs) == 0 or self.step == self.steps

    def is_best(self, score: float) -> bool:
        """Whether `score` on the val split is the best so far; if so, it is recorded."""
        best = self.best is None or score > self.best["score"]
        if best:
            self.best = {"step": self.step, "score": score}
        return best

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
            "processes": world_size(),
            "versions": versions,
        }

    def resume(self, path: Path) -> None:
        """Continue from a checkpoint.

        Raises:
            ValueError: it is damaged or of another run.
        """
        state = load_checkpoint(path)
        check_same_run(state, self.config, path, self.initial)
        if state.get("steps", self.steps) != self.steps:
            raise ValueError(
                f"{path}: the run of this checkpoint has {state['steps']} steps, this run "
                f"{self.steps}: the data set has another number of images. {_ADVICE}"
            )
        load_model_state(self.model, state, path)
        self.optimizer.load_state_dict(state["optimizer"])
        for group in self.optimizer.param_groups:  # older checkpoints say False, and have no factor
            group["fused"] = True
            group.setdefault("factor", 1.0)
        if state["scaler"]:  # empty if the run had no loss scaling (bf16, fp32)
            self.scaler.load_state_dict(state["scaler"])
        torch.set_rng_state(state["random"])
        cuda = state.get("random_cuda", [])
        if len(cuda) == torch.cuda.device_count():
            torch.cuda.set_rng_state_all(cuda)
        self.step, self.losses = state["step"], state["losses"].tolist()
        self.best, self.seconds = state.get("best"), state["seconds"]


def start_run(
    task: Task,
    device: torch.device,
    images: int,
    initial: TrainedRun | str | Path | dict[str, Tensor] | None = None,
) -> RunState:
    """Build the network and optimizer of a run before its first step.

    Args:
        images: number of training images.
        initial: weights to start from, see `train`.

    Raises:
        FileNotFoundError, ValueError: see `load_initial`.
    """
    settings = task.config.training
    torch.manual_seed(settings.seed)
    model = task.build_model()
    started_from = None if initial is None else load_initial(model, initial)
    model = synchronize_batch_norm(model, device).to(device, memory_format=torch.channels_last)
    scaled = compute_dtype(settings.precision, device) == torch.float16
    per_epoch = max(1, images // settings.batch_size)
    return RunState(
        task,
        model,
        make_optimizer(model, settings),
        torch.amp.GradScaler(device.type, enabled=scaled),
        per_epoch,
        per_epoch * settings.epochs,
        started_from,
    )


def load_initial(
    model: nn.Module, initial: TrainedRun | str | Path | dict[str, Tensor]
) -> dict[str, str | None]:
    """Load the weights of another run, or of a file, into `model`.

    Returns:
        The "path" and "sha256" of the weights.

    Raises:
        FileNotFoundError, ValueError: the file cannot be read or is of another architecture; the
            error names it.
    """
    path, source = None, "the initial weights"
    if isinstance(initial, TrainedRun):
        weights = initial.model.state_dict()
    elif isinstance(initial, str | Path):
        path, weights = _read_weights(resolve(initial))
        source = str(path)
    else:
        weights = state_dict_in(initial, source)
    own = model.state_dict()  # frozen batch norm does not count its batches
    fit = {n: v for n, v in weights.items() if n in own or not n.endswith("num_batches_tracked")}
    load_model_state(model, {"model": fit}, source)
    return {"path": None if path is None else str(path), "sha256": fingerprint(weights)}


def _read_weights(path: Path) -> tuple[Path, dict[str, Tensor]]:
    """Read the weights of a run's folder, of a checkpoint or of another file; also return the
    file."""
    if path.is_dir():
        path, state = read_run(path)
        return path, state["model"]
    check_is_file(path, "run or weights file")
    content = read_content(path)
    if is_checkpoint(content):
        check_checkpoint(content, path)
        return path, content["model"]
    return path, state_dict_in(content, str(path))


_ADVICE = "Choose another folder, or train from scratch (resume=False, --no-resume)."


def check_same_run(
    state: dict[str, Any],
    config: Settings,
    path: Path,
    started_from: dict[str, str | None] | None,
) -> None:
    """Raise ValueError if a checkpoint is from a run with other settings or initial weights.

    The error names the file and the settings.
    """
    old = _flat(config_of(state, type(config), path).to_dict())
    new = _flat(config.to_dict())
    changed = [f"{k}: {old[k]!r} there, {new[k]!r} now" for k in sorted(new) if old[k] != new[k]]
    if changed:
        raise ValueError(
            f"{path}: checkpoint of a run with other settings ({'; '.join(changed[:4])}). {_ADVICE}"
        )
    before = state.get("initial")
    if (before or {}).get("sha256") != (started_from or {}).get("sha256"):
        raise ValueError(
            f"{path}: this run started from {_describe(before)}, but should now start from "
            f"{_describe(started_from)}. {_ADVICE}"
        )


def _flat(values: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    flat = {}
    for key, value in values.items():
        if isinstance(value, dict):
            flat |= _flat(value, f"{prefix}{key}.")
        else:
            flat[prefix + key] = value
    return flat


def _describe(initial: dict[str, str | None] | None) -> str:
    if initial is None:
        return "the initial weights of its settings"
    return f"{initial['path'] or 'weights in memory'} (sha256 {initial['sha256'][:12]}…)"
