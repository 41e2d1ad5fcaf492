"""The training loop: one, and all of it here, for segmentation and classification alike.

Everything random is a function of (seed, epoch, image): the start of the weights, the order of the
images, and how each is varied. So a run that was killed and goes on from its last checkpoint ends with the
weights of a run that was not, bit for bit on a CPU.
"""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset
from tqdm.auto import tqdm

from gcnlab.annotations import Tensor
from gcnlab.training.batches import Batches, TrainingSet
from gcnlab.training.checkpoint import (
    fingerprint,
    load_checkpoint,
    load_model_state,
    save_checkpoint,
)
from gcnlab.training.config import RunConfig
from gcnlab.training.optimization import (
    TrainingConfig,
    compute_dtype,
    learning_rate,
    make_optimizer,
)
from gcnlab.training.shipped import WEIGHTS, load_shipped
from gcnlab.training.task import Task

CHECKPOINT = "checkpoint.pt"


class TrainingDiverged(RuntimeError):
    """The loss or its gradient became NaN or infinite. The last checkpoint is from before."""


@dataclass
class TrainedRun:
    """What `train` returns.

    Attributes:
        model: the trained network, on its device, in evaluation mode.
        config: the settings.
        losses: training loss of every step.
        seconds: wall time of all steps, those before a resume included.
        initial: where the weights came from that it started with, if from another run: "path" (None
            for weights out of memory) and their "sha256", see `fingerprint`.
    """

    model: nn.Module
    config: Task
    losses: list[float]
    seconds: float
    initial: dict[str, str | None] | None = None


def train(
    config: Task,
    out: str | Path | None = None,
    resume: bool = True,
    device: str | torch.device | None = None,
    dataset: Dataset | None = None,
    num_workers: int = 0,
    progress: bool = True,
    on_step: Callable[[int, int, float], None] | None = None,
    initial: TrainedRun | str | Path | dict[str, Tensor] | None = None,
) -> TrainedRun:
    """Train the network that `config` describes.

    Args:
        config: the settings: a `RunConfig` (segmentation) or `PretrainConfig` (classification).
        out: folder for `checkpoint.pt`; None keeps nothing.
        resume: go on from the checkpoint in `out`, if there is one. False: start anew and replace it.
        device: "cuda", "cpu", …; None takes the GPU if there is one.
        dataset: trained on in place of `config.training_set()`: (image, target) pairs, already
            transformed, of one size.
        num_workers: processes that load images; 0 loads in this one.
        progress: show a progress bar with loss and time left.
        on_step: called with (step, steps, loss) after every step, for plots.
        initial: weights of the whole network to start from, in place of a random or pretrained start:
            a trained run, its folder or checkpoint, or a state dict. The optimiser and its schedule
            begin anew. The checkpoint records which weights they were.

    Raises:
        TrainingDiverged: the loss is NaN or infinite.
        ValueError: the checkpoint in `out` is damaged or of another run; `initial` is of another
            architecture; a label out of range.
    """
    settings = config.training
    device = default_device(device)
    torch.manual_seed(settings.seed)
    model = config.build_model()
    started_from = None if initial is None else load_initial(model, initial)
    model = model.to(device, memory_format=torch.channels_last)
    optimizer = make_optimizer(model, settings)
    dtype = compute_dtype(settings.precision, device)
    scaler = torch.amp.GradScaler(device.type, enabled=dtype == torch.float16)
    data = TrainingSet(
        config.training_set() if dataset is None else dataset,
        config.check_item,
        settings.seed,
    )
    per_epoch = max(1, len(data) // settings.batch_size)
    steps = per_epoch * settings.epochs
    save_every = settings.checkpoint_steps or per_epoch * settings.checkpoint_every

    path = None if out is None else Path(out) / CHECKPOINT
    start, losses, earlier = 0, [], 0.0
    if path is not None and resume and path.exists():
        state = load_checkpoint(path)
        check_same_run(state, config, path, started_from)
        check_same_steps(state, steps, path)
        load_model_state(model, state, path)
        optimizer.load_state_dict(state["optimizer"])
        scaler.load_state_dict(state["scaler"])
        torch.set_rng_state(state["random"])
        start, losses, earlier = state["step"], state["losses"].tolist(), state["seconds"]

    def save(step: int) -> None:
        if path is not None:
            state = {
                "task": config.task,
                "config": config.to_dict(),
                "initial": started_from,
                "model": model.state_dict(),
                "optimizer": optimizer.state_dict(),
                "scaler": scaler.state_dict(),
                "step": step,
                "steps": steps,
                "random": torch.get_rng_state(),
                "losses": torch.tensor(losses),
                "seconds": earlier + time.perf_counter() - began,
            }
            save_checkpoint(state, path)

    began = time.perf_counter()
    model.train()
    loader = DataLoader(
        data,
        batch_sampler=Batches(len(data), settings, start, steps),
        num_workers=num_workers,
        pin_memory=device.type == "cuda",
        multiprocessing_context="spawn" if num_workers else None,
    )
    bar = tqdm(total=steps, initial=start, desc="train", unit="step", disable=not progress)
    with bar:
        for step, (images, targets) in enumerate(loader, start=start):
            images = images.to(device, memory_format=torch.channels_last, non_blocking=True)
            targets = targets.to(device, non_blocking=True)
            for group in optimizer.param_groups:
                group["lr"] = learning_rate(settings, step, steps)

            with torch.autocast(device.type, dtype, enabled=dtype != torch.float32):
                loss = config.loss(model(images), targets)
            optimizer.zero_grad(set_to_none=True)
            scaler.scale(loss).backward()
            scaler.unscale_(optimizer)
            clip = math.inf if settings.clip_norm is None else settings.clip_norm
            norm = nn.utils.clip_grad_norm_(model.parameters(), clip)
            losses.append(loss.item())
            # fp16's loss scaling skips a step whose gradient overflows; that is no divergence.
            if not math.isfinite(losses[-1]) or (not norm.isfinite() and not scaler.is_enabled()):
                raise TrainingDiverged(_diverged(step, losses[-1], norm.item(), settings, path))
            scaler.step(optimizer)
            scaler.update()

            bar.update()
            bar.set_postfix(loss=f"{mean_of_last(losses):.3f}", refresh=False)
            if on_step is not None:
                on_step(step + 1, steps, losses[-1])
            done = step + 1
            if done == steps or done % save_every == 0:
                save(done)
    model.eval()
    seconds = earlier + time.perf_counter() - began
    return TrainedRun(model, config, losses, seconds, started_from)


def load_run(path: str | Path, device: str | torch.device | None = None) -> TrainedRun:
    """The segmentation network of a checkpoint, ready to predict.

    Args:
        path: a checkpoint, the folder that `train` wrote it to, or one that `ship` wrote.
        device: where to put it; None takes the GPU if there is one.

    Raises:
        FileNotFoundError, ValueError: see `load_checkpoint`; or it is a classifier's.
    """
    path, state = read_run(Path(path))
    config = config_of(state, RunConfig, path)
    # The weights are all in the checkpoint: a backbone's own need not be there any more.
    model = replace(config.model, weights=None).build(config.data.labels.num_classes)
    load_model_state(model, state, path)
    model.to(default_device(device), memory_format=torch.channels_last).eval()
    return TrainedRun(
        model, config, state["losses"].tolist(), state["seconds"], state.get("initial")
    )


def read_run(path: Path) -> tuple[Path, dict[str, Any]]:
    """The file with a run's weights, and its state: of a checkpoint, a run's folder or a shipped one.

    Raises:
        FileNotFoundError, ValueError: see `load_checkpoint`.
    """
    if not (path / CHECKPOINT).is_file() and (path / WEIGHTS).is_file():
        return path / WEIGHTS, load_shipped(path)
    path = path / CHECKPOINT if path.is_dir() else path
    return path, load_checkpoint(path)


def config_of(state: dict[str, Any], kind: type[Task], path: Path) -> Task:
    """The settings in a run's state. Settings that are newer than the run have their defaults.

    Raises:
        ValueError: naming the file: of another task, or with settings that are not known.
    """
    task = state.get("task", "segmentation")  # older checkpoints are all of segmentation
    if task != kind.task:
        advice = ""
        if task == "classification":
            advice = f"; as a backbone, give model.weights = {path.with_name(WEIGHTS)}"
        raise ValueError(f"{path}: a run of {task}, not of {kind.task}{advice}")
    try:
        return kind.from_dict(state["config"])
    except (TypeError, ValueError) as error:
        raise ValueError(f"{path}: settings that this version does not know ({error})") from error


def load_initial(
    model: nn.Module, initial: TrainedRun | str | Path | dict[str, Tensor]
) -> dict[str, str | None]:
    """Put the weights of another run into `model`; which they were: "path" and "sha256".

    Raises:
        FileNotFoundError, ValueError: naming the file, if it cannot be read or is of another
            architecture.
    """
    if isinstance(initial, str | Path):
        path, state = read_run(Path(initial))
        weights = state["model"]
    else:
        path = None
        weights = initial.model.state_dict() if isinstance(initial, TrainedRun) else initial
    load_model_state(model, {"model": weights}, path or "the initial weights")
    return {"path": None if path is None else str(path), "sha256": fingerprint(weights)}


def default_device(device: str | torch.device | None = None) -> torch.device:
    """`device`, or if that is None the GPU, or without one the CPU.

    Raises:
        ValueError: there is no such device.
    """
    device = device or ("cuda" if torch.cuda.is_available() else "cpu")
    try:
        return torch.empty(0, device=device).device
    except (AssertionError, RuntimeError) as error:
        raise ValueError(f"device {str(device)!r} is not to be had: {error}") from error


def check_same_run(
    state: dict[str, Any], config: Task, path: Path, started_from: dict[str, str | None] | None
) -> None:
    """Raise ValueError, naming the settings, if a checkpoint belongs to a run with others, or to one that
    started from other weights."""
    old = _flat(config_of(state, type(config), path).to_dict())
    new = _flat(config.to_dict())
    changed = [f"{k}: {old[k]!r} there, {new[k]!r} now" for k in sorted(new) if old[k] != new[k]]
    if changed:
        raise ValueError(
            f"{path}: checkpoint of a run with other settings ({'; '.join(changed[:4])}). "
            "Choose another folder, or start anew without resuming."
        )
    before = state.get("initial")
    if (before or {}).get("sha256") != (started_from or {}).get("sha256"):
        raise ValueError(
            f"{path}: this run started from {_start(before)}, it is now to start from "
            f"{_start(started_from)}. Choose another folder, or start anew without resuming."
        )


def check_same_steps(state: dict[str, Any], steps: int, path: Path) -> None:
    """Raise ValueError if a checkpoint's run has another number of steps: its data set has changed."""
    if state.get("steps", steps) != steps:
        raise ValueError(
            f"{path}: its run has {state['steps']} steps, now they are {steps}: the data set has "
            "another number of images. Choose another folder, or start anew without resuming."
        )


def mean_of_last(losses: list[float], count: int = 50) -> float:
    """Mean of the last `count` losses."""
    recent = losses[-count:]
    return sum(recent) / len(recent)


def _flat(values: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    flat = {}
    for key, value in values.items():
        if isinstance(value, dict):
            flat |= _flat(value, f"{prefix}{key}.")
        else:
            flat[prefix + key] = value
    return flat


def _start(initial: dict[str, str | None] | None) -> str:
    if initial is None:
        return "the start in its settings"
    return f"{initial['path'] or 'weights out of memory'} (sha256 {initial['sha256'][:12]}…)"


def _diverged(step: int, loss: float, norm: float, settings: TrainingConfig, path) -> str:
    kept = f" The last checkpoint, {path}, is from before." if path and path.exists() else ""
    return (
        f"training diverged at step {step + 1}: loss {loss}, gradient norm {norm}. Try a lower "
        f"training.learning_rate ({settings.learning_rate}), a longer training.warmup "
        f"({settings.warmup}) or a smaller training.clip_norm ({settings.clip_norm}).{kept}"
    )
