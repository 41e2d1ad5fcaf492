"""Trained runs: load them, and write the results of a finished one.

A run's folder holds checkpoint.pt, or, for an exported network, weights.safetensors and card.json.
"""

import json
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.utils.data import Dataset

from gcnlab.datasets import LabelSet, Normalization
from gcnlab.devices import check_device, default_device
from gcnlab.distributed import is_primary
from gcnlab.evaluation import CRF, Inference, Predictor, Scores
from gcnlab.evaluation.classification import TopKAccuracy
from gcnlab.models.weights import read_state_dict
from gcnlab.pretrained import WEIGHTS, resolve
from gcnlab.provenance import provenance, write_result
from gcnlab.training.checkpoint import CHECKPOINT, load_checkpoint, load_model_state
from gcnlab.training.optimization import compute_dtype
from gcnlab.training.pretraining import PretrainConfig
from gcnlab.training.settings import RunConfig, Settings
from gcnlab.training.tasks import TASKS, Task, task_of

CARD = "card.json"
RESULT = "result.json"


@dataclass
class TrainedRun:
    """A trained network with its settings, as `train` and `load_run` return it.

    Attributes:
        model: the network, on its device, in evaluation mode.
        config: the settings.
        losses: training loss of every step; empty for an exported network.
        seconds: wall time of all steps, including those before a resume.
        initial: the source of the initial weights, if they came from another run: "path" (None for
            weights in memory) and "sha256", see `fingerprint`.
        cpu_began: `time.process_time()` when this process began or resumed the run.
    """

    model: nn.Module
    config: Settings
    losses: list[float]
    seconds: float
    initial: dict[str, str | None] | None = None
    cpu_began: float = 0.0

    @cached_property
    def task(self) -> Task:
        """The task of the settings: its data sets, loss and score."""
        return task_of(self.config)

    @property
    def normalization(self) -> Normalization:
        """The normalisation of the network's input."""
        return self.task.normalization

    @property
    def labels(self) -> LabelSet | None:
        """Names and colours of the classes; None for a classifier of ImageNet."""
        return self.task.labels

    def predictor(self, inference: Inference | None = None, crf: CRF | None = None) -> Predictor:
        """The network as a `Predictor`. Images are padded as the run's settings say (`data.pad`),
        unless `inference` has its own `pad_to`.

        Args:
            inference: flip, scales, tiles; None is one pass over the whole image.
            crf: refine the class probabilities with a dense CRF.
        """
        inference = inference or Inference()
        inference = replace(inference, pad_to=inference.pad_to or self.task.inference.pad_to)
        return Predictor(self.model, self.normalization, inference, crf)

    def evaluation_set(self, split: str = "val") -> Dataset:
        """A split of the run's data set, normalised."""
        return self.task.evaluation_set(split)


def load(name_or_folder: str | Path, device: str | torch.device | None = None) -> TrainedRun:
    """Load a trained network, ready to use: `.model`, `.normalization`, `.labels`.

        run = gcnlab.load("gcn7-seed0")
        classes = gcnlab.predict(run.model, run.normalization(images))

    Args:
        name_or_folder: a name in `gcnlab.pretrained_networks()`, the folder of a run or of an exported
            network, or a checkpoint; of either task.
        device: where to put the network; None: the GPU if there is one.

    Raises:
        FileNotFoundError, ValueError: there is no such network, or it is damaged; the error lists the
            pretrained networks or names the file.
    """
    check_device(device)  # before anything is read
    file, state = read_run(name_or_folder)
    task = task_name(state)
    if task not in TASKS:
        raise ValueError(f"{file}: a run of {task}; this version knows {' and '.join(TASKS)}")
    kind, _ = TASKS[task]
    return _loaded(file, state, kind, device)


def load_run(path: str | Path, device: str | torch.device | None = None) -> TrainedRun:
    """Load a segmentation network, ready to predict.

    Args:
        path: a checkpoint, the folder of a run or of an exported network, or the name of a network
            that comes with the package ("gcn7-seed0").
        device: where to put it; None: the GPU if there is one.

    Raises:
        FileNotFoundError, ValueError: see `load_checkpoint`; or it is a classifier.
    """
    return load_trained(path, RunConfig, device)


def load_classifier(path: str | Path, device: str | torch.device | None = None) -> TrainedRun:
    """Load a classifier, ready to predict.

    Args:
        path, device: see `load_run`.

    Raises:
        FileNotFoundError, ValueError: see `load_checkpoint`; or it is a segmentation network.
    """
    return load_trained(path, PretrainConfig, device)


def load_trained(
    path: str | Path, kind: type[Settings], device: str | torch.device | None = None
) -> TrainedRun:
    """Load the network of a run with settings of one kind, see `load_run` and `load_classifier`."""
    check_device(device)  # before anything is read
    return _loaded(*read_run(path), kind, device)


def _loaded(
    file: Path, state: dict[str, Any], kind: type[Settings], device: str | torch.device | None
) -> TrainedRun:
    config = config_of(state, kind, file)
    model = task_of(config).build_model(trained=True)
    load_model_state(model, state, file)
    model.to(default_device(device), memory_format=torch.channels_last).eval()
    return TrainedRun(
        model, config, state["losses"].tolist(), state["seconds"], state.get("initial")
    )


def read_run(path: str | Path) -> tuple[Path, dict[str, Any]]:
    """Read a run.

    Args:
        path: see `load_run`.

    Returns:
        The file with the weights, and the state as in a checkpoint.

    Raises:
        FileNotFoundError, ValueError: see `load_checkpoint`; the folder holds no run; or it is a
            file of weights that needs its card.
    """
    path = resolve(path)
    if path.is_dir():
        if (path / CHECKPOINT).is_file():
            path = path / CHECKPOINT
        elif (path / WEIGHTS).is_file():
            return path / WEIGHTS, _read_exported(path)
        else:
            raise FileNotFoundError(f"no checkpoint {path / CHECKPOINT}{_runs_below(path)}")
    elif path.name == WEIGHTS and (path.parent / CARD).is_file():
        raise ValueError(f"{path}: weights without settings; give their folder, {path.parent}")
    return path, load_checkpoint(path)


def _read_exported(folder: Path) -> dict[str, Any]:
    """Read an exported network into the form of a checkpoint, without losses."""
    card = read_json(folder / CARD)
    weights = read_state_dict(folder / WEIGHTS)
    try:
        return {
            "task": task_name(card),
            "config": card["settings"],
            "model": {n: v.float() if v.is_floating_point() else v for n, v in weights.items()},
            "losses": torch.zeros(0),
            "seconds": card["seconds"],
        }
    except KeyError as error:
        raise ValueError(f"{folder / CARD}: not a card, without {error}") from error


def _runs_below(folder: Path) -> str:
    """The end of an error: the runs in a folder that is not a run itself."""
    runs = sorted(p.parent.name for name in (CHECKPOINT, WEIGHTS) for p in folder.glob(f"*/{name}"))
    if not runs:
        return f": {folder} is not the folder of a run"
    return f"; give one of the runs in {folder}: {', '.join(runs[:4])}{', …' if runs[4:] else ''}"


def task_name(state: dict[str, Any]) -> str:
    """The name of the task in a checkpoint or card; the older ones are all of segmentation."""
    return state.get("task", RunConfig.task)


def config_of(state: dict[str, Any], kind: type[Settings], path: Path) -> Settings:
    """The settings in a run's state. A setting that is newer than the run has its default.

    Raises:
        ValueError: the run is of another task, or has unknown settings; the error names the file.
    """
    task = task_name(state)
    if task != kind.task:
        advice = ""
        if task == PretrainConfig.task:
            advice = f"; to use it as a backbone, set model.weights = {path.with_name(WEIGHTS)}"
        raise ValueError(f"{path}: a run of {task}, not of {kind.task}{advice}")
    try:
        return kind.from_dict(state["config"])
    except (TypeError, ValueError) as error:
        raise ValueError(f"{path}: unknown settings ({error})") from error


def read_json(path: Path) -> dict[str, Any]:
    """Read the result of a finished run, or the card of an exported network.

    Raises:
        FileNotFoundError, ValueError: the error names the file.
    """
    if not path.is_file():
        raise FileNotFoundError(
            f"no {path}: the run is not finished, or this is not a run's folder"
        )
    try:
        return json.loads(path.read_text())
    except json.JSONDecodeError as error:
        raise ValueError(f"{path}: not JSON ({error})") from error


def save_classifier(model: nn.Module, path: str | Path) -> Path:
    """Write a classifier's weights for `build_backbone(name, weights=path)`.

    Args:
        model: the classifier.
        path: a file name with the suffix `.safetensors`, or `.pth` if the package safetensors is
            not installed.

    Raises:
        ValueError: the suffix is another one.
    """
    path = Path(path)
    weights = {
        name: value.detach().cpu().contiguous() for name, value in model.state_dict().items()
    }
    if path.suffix not in (".safetensors", ".pth"):
        raise ValueError(f"{path}: a file of weights needs the suffix .safetensors or .pth")
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".safetensors":
        from safetensors.torch import save_file

        save_file(weights, path)
    else:
        torch.save(weights, path)
    return path


# --- Results


def finish(
    run: TrainedRun, out: str | Path, num_workers: int = 0, inference: Inference | None = None
) -> Scores | TopKAccuracy:
    """Score a trained run on the val split and write its results beside its checkpoint.

    Writes result.json (scores, settings, provenance), log.csv (mean loss per epoch) and loss.png;
    for a classifier also weights.safetensors. The ranks share the scoring; rank 0 writes. If
    result.json holds the same result already, it stays as it is.

    Args:
        run: what `train` returned.
        out: the run's folder.
        num_workers: data-loading workers.
        inference: how a segmentation network is scored; None: one pass over the whole image, padded
            if the run's settings say so.
    """
    from gcnlab.plots.training import plot_losses

    out, options = Path(out), {} if inference is None else {"inference": inference}
    scores = run.task.score(run.model, num_workers, **options)
    if not is_primary():
        return scores
    values = run_result(run, scores, "val")
    device = next(run.model.parameters()).device
    dtype = compute_dtype(run.config.training.precision, device)
    values["provenance"]["precision"] = str(dtype).removeprefix("torch.")
    values |= {name: asdict(value) for name, value in options.items()}
    if run.initial is not None:
        values["started_from"] = run.initial
    if isinstance(run.config, PretrainConfig):
        save_classifier(run.model, out / WEIGHTS)
    (out / "log.csv").write_text(loss_log(run))
    write_result(values, out / RESULT)
    plot_losses({describe(run.config): run.losses}).savefig(out / "loss.png", dpi=100)
    return scores


def run_result(run: TrainedRun, scores: Scores | TopKAccuracy, split: str) -> dict[str, Any]:
    """Scores, settings and provenance of a trained network, for a JSON file.

    An exported network has no losses: its final loss and steps are None.
    """
    return {
        "what": f"{describe(run.config)} on {run.config.data.dataset}",
        "scores": asdict(scores),
        "final_loss": mean_of_last(run.losses) if run.losses else None,
        "steps": len(run.losses) or None,
        "settings": run.config.to_dict(),
        "provenance": provenance(
            seeds=[run.config.training.seed],
            dataset=run.config.data.dataset,
            split=split,
            device=next(run.model.parameters()).device,
            seconds=run.seconds,
            cpu_began=run.cpu_began,
        ),
    }


def describe(config: Settings) -> str:
    """A short description of a run: "mini gcn k=7 + BR", "classifier mini_gcn"."""
    if isinstance(config, PretrainConfig):
        return f"classifier {config.backbone}"
    m = config.model
    k = "" if m.head == "conv1x1" else f" k={m.kernel_size}"
    return f"{m.backbone} {m.head}{k}{' + BR' if m.refine else ''}"


def mean_of_last(losses: list[float], count: int = 50) -> float:
    """Mean of the last `count` losses; there must be at least one."""
    recent = losses[-count:]
    return sum(recent) / len(recent)


def loss_log(run: TrainedRun) -> str:
    """The mean loss of each epoch as CSV."""
    per_epoch = max(1, len(run.losses) // run.config.training.epochs)
    rows = ["epoch,steps,mean_loss"]
    for epoch in range(run.config.training.epochs):
        losses = run.losses[epoch * per_epoch : (epoch + 1) * per_epoch]
        rows.append(f"{epoch + 1},{(epoch + 1) * per_epoch},{sum(losses) / len(losses):.5f}")
    return "\n".join(rows) + "\n"
