"""Runs that were trained: read back, compared with what is to be trained, started from."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from gcnlab.annotations import Tensor
from gcnlab.models.weights import check_is_file, read_content, state_dict_in
from gcnlab.training.checkpoint import (
    CHECKPOINT,
    check_checkpoint,
    fingerprint,
    is_checkpoint,
    load_checkpoint,
    load_model_state,
)
from gcnlab.training.config import RunConfig
from gcnlab.training.devices import check_device, default_device
from gcnlab.training.shipped import CARD, WEIGHTS, load_shipped
from gcnlab.training.task import Task


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


def load_run(path: str | Path, device: str | torch.device | None = None) -> TrainedRun:
    """The segmentation network of a checkpoint, ready to predict.

    Args:
        path: a checkpoint, the folder that `train` wrote it to, or one that `ship` wrote.
        device: where to put it; None takes the GPU if there is one.

    Raises:
        FileNotFoundError, ValueError: see `load_checkpoint`; or it is a classifier's.
    """
    return load_trained(path, RunConfig, device)


def load_trained(
    path: str | Path, kind: type[Task], device: str | torch.device | None = None
) -> TrainedRun:
    """The network of a run of one task, see `load_run` and `load_classifier`."""
    check_device(device)  # before anything is read
    path, state = read_run(Path(path))
    config = config_of(state, kind, path)
    model = config.build_model(trained=True)
    load_model_state(model, state, path)
    model.to(default_device(device), memory_format=torch.channels_last).eval()
    return TrainedRun(
        model, config, state["losses"].tolist(), state["seconds"], state.get("initial")
    )


def read_run(path: Path) -> tuple[Path, dict[str, Any]]:
    """The file with a run's weights, and its state: of a checkpoint, a run's folder or a shipped one.

    Raises:
        FileNotFoundError, ValueError: see `load_checkpoint`; a folder without either; the weights of a shipped one
            without their card.
    """
    if path.is_dir():
        if not (path / CHECKPOINT).is_file() and (path / WEIGHTS).is_file():
            return path / WEIGHTS, load_shipped(path)
        if not (path / CHECKPOINT).is_file():
            raise FileNotFoundError(f"no checkpoint {path / CHECKPOINT}{_runs_below(path)}")
        path = path / CHECKPOINT
    elif path.name == WEIGHTS and (path.parent / CARD).is_file():
        raise ValueError(f"{path}: weights alone; give their folder, {path.parent}")
    return path, load_checkpoint(path)


def _runs_below(folder: Path) -> str:
    """Advice for a folder whose folders are runs."""
    runs = sorted(p.parent.name for name in (CHECKPOINT, WEIGHTS) for p in folder.glob(f"*/{name}"))
    if not runs:
        return f": {folder} is no run's folder"
    return f"; give one of the runs in {folder}: {', '.join(runs[:4])}{', …' if runs[4:] else ''}"


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
    """Put the weights of another run, or of a file from elsewhere, into `model`; which they were: "path" and "sha256".

    Raises:
        FileNotFoundError, ValueError: naming the file, if it cannot be read or is of another
            architecture.
    """
    path, source = None, "the initial weights"
    if isinstance(initial, TrainedRun):
        weights = initial.model.state_dict()
    elif isinstance(initial, str | Path):
        path, weights = _weights_of(Path(initial))
        source = str(path)
    else:
        weights = state_dict_in(initial, source)
    load_model_state(model, {"model": weights}, source)
    return {"path": None if path is None else str(path), "sha256": fingerprint(weights)}


def _weights_of(path: Path) -> tuple[Path, dict[str, Tensor]]:
    """The file with the weights of a run's folder, a checkpoint or a file from elsewhere, and the weights."""
    if path.is_dir():
        path, state = read_run(path)
        return path, state["model"]
    check_is_file(path, "run or weights file")
    content = read_content(path)
    if is_checkpoint(content):
        check_checkpoint(content, path)
        return path, content["model"]
    return path, state_dict_in(content, str(path))


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
    """Mean of the last `count` losses, of which there is at least one."""
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
