"""The training loop: one, and all of it here.

Everything random is a function of (seed, epoch, image): the start of the weights, the order of the
images, and how each is varied. So a run that was killed and goes on from its last checkpoint ends with the
weights of a run that was not, bit for bit on a CPU.
"""

import contextlib
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, Dataset
from tqdm.auto import tqdm

from gcnlab.annotations import Float, Shaped, Tensor
from gcnlab.datasets.labels import IGNORE, check_labels
from gcnlab.training.checkpoint import load_checkpoint, load_model_state, save_checkpoint
from gcnlab.training.config import RunConfig, TrainingConfig
from gcnlab.training.shipped import WEIGHTS, load_shipped

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
    """

    model: nn.Module
    config: RunConfig
    losses: list[float]
    seconds: float


def train(
    config: RunConfig,
    out: str | Path | None = None,
    resume: bool = True,
    device: str | torch.device | None = None,
    dataset: Dataset | None = None,
    num_workers: int = 0,
    progress: bool = True,
    on_step: Callable[[int, int, float], None] | None = None,
) -> TrainedRun:
    """Train the network that `config` describes.

    Args:
        config: the settings.
        out: folder for `checkpoint.pt`; None keeps nothing.
        resume: go on from the checkpoint in `out`, if there is one. False: start anew and replace it.
        device: "cuda", "cpu", …; None takes the GPU if there is one.
        dataset: trained on in place of `config.training_set()`: (image, labels) pairs, already
            transformed, of one size.
        num_workers: processes that load images; 0 loads in this one.
        progress: show a progress bar with loss and time left.
        on_step: called with (step, steps, loss) after every step, for plots.

    Raises:
        TrainingDiverged: the loss is NaN or infinite.
        ValueError: the checkpoint in `out` is damaged or of another run; a label out of range.
    """
    settings = config.training
    device = default_device(device)
    torch.manual_seed(settings.seed)
    model = config.build_model().to(device, memory_format=torch.channels_last)
    optimizer = make_optimizer(model, settings)
    dtype = compute_dtype(settings.precision, device)
    scaler = torch.amp.GradScaler(device.type, enabled=dtype == torch.float16)
    data = TrainingSet(
        config.training_set() if dataset is None else dataset,
        config.data.labels.num_classes,
        settings.seed,
    )
    per_epoch = max(1, len(data) // settings.batch_size)
    steps = per_epoch * settings.epochs

    path = None if out is None else Path(out) / CHECKPOINT
    start, losses, earlier = 0, [], 0.0
    if path is not None and resume and path.exists():
        state = load_checkpoint(path)
        check_same_run(state, config, path)
        load_model_state(model, state, path)
        optimizer.load_state_dict(state["optimizer"])
        scaler.load_state_dict(state["scaler"])
        torch.set_rng_state(state["random"])
        start, losses, earlier = state["step"], state["losses"].tolist(), state["seconds"]

    def save(step: int) -> None:
        if path is not None:
            state = {
                "config": config.to_dict(),
                "model": model.state_dict(),
                "optimizer": optimizer.state_dict(),
                "scaler": scaler.state_dict(),
                "step": step,
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
        for step, (images, labels) in enumerate(loader, start=start):
            images = images.to(device, memory_format=torch.channels_last, non_blocking=True)
            labels = labels.to(device, non_blocking=True)
            for group in optimizer.param_groups:
                group["lr"] = learning_rate(settings, step, steps)

            with torch.autocast(device.type, dtype, enabled=dtype != torch.float32):
                loss = segmentation_loss(model(images), labels)
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
            if done == steps or done % (per_epoch * settings.checkpoint_every) == 0:
                save(done)
    model.eval()
    return TrainedRun(model, config, losses, earlier + time.perf_counter() - began)


def load_run(path: str | Path, device: str | torch.device | None = None) -> TrainedRun:
    """The network of a checkpoint, ready to predict.

    Args:
        path: a checkpoint, the folder that `train` wrote it to, or one that `ship` wrote.
        device: where to put it; None takes the GPU if there is one.

    Raises:
        FileNotFoundError, ValueError: see `load_checkpoint`.
    """
    path = Path(path)
    if (path / WEIGHTS).is_file():
        path, state = path / WEIGHTS, load_shipped(path)
    else:
        path = path / CHECKPOINT if path.is_dir() else path
        state = load_checkpoint(path)
    try:
        config = RunConfig.from_dict(state["config"])
    except (TypeError, ValueError) as error:
        raise ValueError(f"{path}: settings that this version does not know ({error})") from error
    # The weights are all in the checkpoint: a backbone's own need not be there any more.
    model = replace(config.model, weights=None).build(config.data.labels.num_classes)
    load_model_state(model, state, path)
    model.to(default_device(device), memory_format=torch.channels_last).eval()
    return TrainedRun(model, config, state["losses"].tolist(), state["seconds"])


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


def segmentation_loss(
    logits: Float[Tensor, "batch classes height width"],
    labels: Shaped[Tensor, "batch height width"],
) -> Float[Tensor, ""]:
    """Cross-entropy, averaged over the labelled pixels of the batch; 0 if all are void."""
    labels = labels.long()
    total = F.cross_entropy(logits.float(), labels, ignore_index=IGNORE, reduction="sum")
    return total / (labels != IGNORE).sum().clamp(min=1)


def learning_rate(settings: TrainingConfig, step: int, steps: int) -> float:
    """Rate of step 0 … steps − 1: linear warm-up, then the schedule."""
    warmup = round(settings.warmup * steps)
    if step < warmup:
        return settings.learning_rate * (step + 1) / warmup
    if settings.schedule == "constant":
        return settings.learning_rate
    return settings.learning_rate * (1 - (step - warmup) / (steps - warmup)) ** settings.power


def make_optimizer(model: nn.Module, settings: TrainingConfig) -> torch.optim.Optimizer:
    """SGD or AdamW over two groups: weights are decayed, normalisation parameters and biases not."""
    trained = [p for p in model.parameters() if p.requires_grad]
    groups = [
        {"params": [p for p in trained if p.ndim > 1], "weight_decay": settings.weight_decay},
        {"params": [p for p in trained if p.ndim <= 1], "weight_decay": 0.0},
    ]
    if settings.optimizer == "sgd":
        return torch.optim.SGD(groups, settings.learning_rate, settings.momentum)
    return torch.optim.AdamW(groups, settings.learning_rate, (settings.momentum, 0.999))


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


def check_same_run(state: dict[str, Any], config: RunConfig, path: Path) -> None:
    """Raise ValueError, naming the settings, if a checkpoint belongs to a run with others."""
    old, new = _flat(state["config"]), _flat(config.to_dict())
    changed = [k for k in sorted(old.keys() | new.keys()) if old.get(k) != new.get(k)]
    if changed:
        details = "; ".join(f"{k}: {old.get(k)!r} there, {new.get(k)!r} now" for k in changed[:4])
        raise ValueError(
            f"{path}: checkpoint of a run with other settings ({details}). "
            "Choose another folder, or start anew without resuming."
        )


def mean_of_last(losses: list[float], count: int = 50) -> float:
    """Mean of the last `count` losses."""
    recent = losses[-count:]
    return sum(recent) / len(recent)


class TrainingSet(Dataset):
    """A data set whose random transforms depend on (seed, epoch, index) alone.

    Indexed by (epoch, index). Checks that every label is a class or void: in the loss a wrong id
    would be an index out of range, on a GPU without a name.
    """

    def __init__(self, dataset: Dataset, num_classes: int, seed: int):
        self.dataset = dataset
        self.num_classes = num_classes
        self.seed = seed
        if len(dataset) == 0:
            raise ValueError(f"{type(dataset).__name__}: the training split is empty")

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, key: tuple[int, int]) -> tuple[Tensor, Tensor]:
        epoch, index = key
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(mix(self.seed, epoch, index))
            image, labels = self.dataset[index]
        name = getattr(self.dataset, "name", str)(index)
        if image.shape[-2:] != labels.shape[-2:]:
            raise ValueError(
                f"{name}: image {tuple(image.shape[-2:])} and labels {tuple(labels.shape[-2:])} differ"
            )
        check_labels(labels, self.num_classes, name)
        return image.as_subclass(Tensor), labels.as_subclass(Tensor)


class Batches:
    """Batch sampler: a new order each epoch, the last incomplete batch left out, from step `start`."""

    def __init__(self, length: int, settings: TrainingConfig, start: int, steps: int):
        self.length, self.batch_size, self.seed = length, settings.batch_size, settings.seed
        self.start, self.steps = start, steps

    def __len__(self) -> int:
        return self.steps - self.start

    def __iter__(self) -> Iterator[list[tuple[int, int]]]:
        per_epoch = max(1, self.length // self.batch_size)
        for step in range(self.start, self.steps):
            epoch, batch = divmod(step, per_epoch)
            generator = torch.Generator().manual_seed(mix(self.seed, epoch))
            order = torch.randperm(self.length, generator=generator).tolist()
            first = batch * self.batch_size
            yield [(epoch, index) for index in order[first : first + self.batch_size]]


def mix(*numbers: int) -> int:
    """One seed out of several whole numbers."""
    seed = 0
    for number in numbers:
        seed = (seed * 6364136223846793005 + number + 1442695040888963407) % 2**63
    return seed


def _cpu_has_bf16() -> bool:
    with contextlib.suppress(OSError):
        flags = Path("/proc/cpuinfo").read_text()
        return "avx512_bf16" in flags or "amx_bf16" in flags
    return False


def _flat(values: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    flat = {}
    for key, value in values.items():
        if isinstance(value, dict):
            flat |= _flat(value, f"{prefix}{key}.")
        else:
            flat[prefix + key] = value
    return flat


def _diverged(step: int, loss: float, norm: float, settings: TrainingConfig, path) -> str:
    kept = f" The last checkpoint, {path}, is from before." if path and path.exists() else ""
    return (
        f"training diverged at step {step + 1}: loss {loss}, gradient norm {norm}. Try a lower "
        f"training.learning_rate ({settings.learning_rate}), a longer training.warmup "
        f"({settings.warmup}) or a smaller training.clip_norm ({settings.clip_norm}).{kept}"
    )
