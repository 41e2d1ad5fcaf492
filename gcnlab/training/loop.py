"""The training loop: one, and all of it here, for segmentation and classification alike.

Everything random is a function of (seed, epoch, image): the start of the weights, the order of the
images, and how each is varied. So a run that was killed and goes on from its last checkpoint ends with the
weights of a run that was not, bit for bit on a CPU.
"""

import math
import os
import tempfile
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset

from gcnlab.allocator import keep_freed_memory
from gcnlab.annotations import Float, Shaped, Tensor
from gcnlab.arguments import Whole, whole
from gcnlab.evaluation.processes import joined_processes, process
from gcnlab.loading import check_picklable, collate, iterate_batches
from gcnlab.training.batches import Batches, TrainingSet
from gcnlab.training.checkpoint import save_checkpoint
from gcnlab.training.devices import check_device, default_device
from gcnlab.training.execution import Execution, algorithms
from gcnlab.training.lock import only_writer
from gcnlab.training.milestones import Milestones
from gcnlab.training.optimization import compute_dtype, learning_rate
from gcnlab.training.parallel import (
    across_processes,
    check_agreement,
    check_world,
    launch,
    launched,
    named_losses,
    share_buffers,
    total,
    without_exchange,
)
from gcnlab.training.recompute import recomputed
from gcnlab.training.runs import TrainedRun, load_trained
from gcnlab.training.state import RunState, start_run
from gcnlab.training.task import Task
from gcnlab.training.watch import Diverged, OnSamples, OnStep, Watch

DIVERGED = "diverged.pt"


class TrainingDiverged(RuntimeError):
    """The loss or its gradient became NaN or infinite. The last checkpoint is from before."""


def train(
    config: Task,
    out: str | Path | None = None,
    resume: bool = True,
    device: str | torch.device | None = None,
    dataset: Dataset | None = None,
    num_workers: Whole = 0,
    progress: bool = True,
    on_step: OnStep | None = None,
    initial: TrainedRun | str | Path | dict[str, Tensor] | None = None,
    execution: Execution | None = None,
    on_samples: OnSamples | None = None,
) -> TrainedRun:
    """Train the network that `config` describes.

    Under torchrun every process calls this with the same arguments; elsewhere `execution.processes` starts
    processes that do. The images of a step are shared among them.

    Args:
        config: the settings: a `RunConfig` (segmentation) or `PretrainConfig` (classification).
        out: folder for `checkpoint.pt`; None keeps nothing.
        resume: go on from the checkpoint in `out`, if there is one. False: start anew and replace it (and go on from
            the new one if processes are started again).
        device: "cuda", "cpu", …; None takes the GPU if there is one.
        dataset: trained on in place of `config.training_set()`: (image, target) pairs, already
            transformed, of one size.
        num_workers: processes that load images; 0 loads in this one.
        progress: show a progress bar with loss, images per second and time left.
        on_step: called with (step, steps, loss) for every step, for plots; on a GPU some steps later. Of
            several processes, in the first.
        initial: weights of the whole network to start from, in place of a random or pretrained start:
            a trained run, its folder or checkpoint, or a state dict. The optimiser and its schedule
            begin anew. The checkpoint records which weights they were.
        execution: how it is executed; the weights are the same but for rounding.
        on_samples: called with (step, picture) for `execution.samples`, in the first process.

    Raises:
        TrainingDiverged: the loss is NaN or infinite; `out` then holds diverged.pt, a checkpoint from
            just before with the step's "names", "images" and "targets".
        RunStopped: a process was lost, of the run or one that loads images.
        ValueError: the checkpoint in `out` is damaged or of another run; `initial` is of another
            architecture; a label out of range; images of several sizes in a batch; a device that is not there; a
            data set that cannot be sent to the processes that load images.
        OSError: `out` cannot be written (`FolderTaken`: another process trains there), or the disk is full.
            The last checkpoint stays.
    """
    execution = execution or Execution()
    out = None if out is None else Path(out)
    num_workers = whole("num_workers", num_workers, 0)
    check_device(device)
    if execution.processes > 1 and not launched():
        options = {"resume": resume, "device": device, "dataset": dataset, "progress": progress}
        options |= {"num_workers": num_workers, "on_step": on_step, "initial": initial}
        return _in_processes(config, out, execution, options | {"on_samples": on_samples})
    with (
        joined_processes(None if device is None else str(device)) as device,
        named_losses(),
        algorithms(execution.deterministic),
    ):
        keep_freed_memory()
        check_world(execution.processes)
        resume = resume or int(os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")) > 0
        data = config.training_set() if dataset is None else dataset
        data = TrainingSet(data, config.check_item, config.training.seed)
        state = start_run(config, default_device(device), len(data), initial)
        with only_writer(out if process()[0] == 0 else None):
            milestones = Milestones(state, out, execution, resume)
            check_agreement(state.step, str(out))
            with Watch(state, out, execution.tensorboard, progress, on_step, on_samples) as watch:
                _steps(state, data, execution, num_workers, watch, milestones)
        share_buffers(state.model)
        state.model.eval()
        return TrainedRun(state.model, config, state.losses, state.elapsed, state.initial)


def _steps(
    state: RunState,
    data: TrainingSet,
    execution: Execution,
    num_workers: int,
    watch: Watch,
    milestones: Milestones,
) -> None:
    """All steps that are left. Nothing in here waits for a GPU but `watch.read`, every few steps."""
    config, settings, model, device = state.config, state.config.training, state.model, state.device
    optimizer, scaler = state.optimizer, state.scaler
    dtype = compute_dtype(settings.precision, device)
    clip = math.inf if settings.clip_norm is None else settings.clip_norm
    batches = Batches(len(data), settings, state.step, state.steps, *process())
    loader = DataLoader(
        data,
        batch_sampler=batches,
        num_workers=num_workers,
        collate_fn=collate,
        pin_memory=device.type == "cuda",
        multiprocessing_context="spawn" if num_workers else None,
    )
    # As many in every process: each is an exchange of batch norm's statistics.
    parts = min(settings.accumulation, batches.least)
    broken = torch.zeros((), device=device)  # 1 from a NaN on
    model.train()
    with recomputed(model) if execution.recompute else nullcontext():
        network = across_processes(model, device)
        if execution.compile:
            network = torch.compile(network)
        for images, targets in iterate_batches(loader):
            images = images.to(device, memory_format=torch.channels_last, non_blocking=True)
            targets = targets.to(device, non_blocking=True)
            for group in optimizer.param_groups:
                group["lr"] = learning_rate(settings, state.step, state.steps)

            optimizer.zero_grad(set_to_none=True)
            loss = backward(network, config, images, targets, dtype, scaler, parts)
            scaler.unscale_(optimizer)
            norm = nn.utils.clip_grad_norm_(model.parameters(), clip)
            if not scaler.is_enabled():  # after a NaN the optimiser leaves the weights alone, as a
                broken = torch.maximum(broken, 1.0 - norm.isfinite().float())
                optimizer.found_inf = broken  # scaler has it do; it looks on the device
            scaler.step(optimizer)
            scaler.update()
            state.step += 1

            watch.add(loss, norm)
            if watch.due or milestones.due:
                try:
                    watch.read()
                except Diverged as error:
                    raise _diverged(error, state, batches, data, milestones) from None
                milestones.reach(watch)
                watch.go_on()


def backward(
    network: nn.Module,
    config: Task,
    images: Float[Tensor, "batch channels height width"],
    targets: Shaped[Tensor, "batch ..."],
    dtype: torch.dtype,
    scaler: torch.amp.GradScaler,
    parts: int = 1,
) -> Float[Tensor, ""]:
    """Add the gradient of the step's mean loss to the weights; this process's share of that loss.

    The mean is over the labelled pixels of all parts in all processes, so that the gradient is that of the whole
    batch at once.

    Args:
        network: `across_processes`, which averages gradients.
        images, targets: this process's share of the step.
        parts: that the share is computed in, one after the other; at most its images.
    """
    world = process()[1]
    count = total(config.count(targets)) / world  # the gradients' sum is divided by world
    shares = []
    pieces = zip(images.tensor_split(parts), targets.tensor_split(parts))
    for number, (some, wanted) in enumerate(pieces, start=1):
        with nullcontext() if number == parts else without_exchange(network):
            with torch.autocast(images.device.type, dtype, enabled=dtype != torch.float32):
                loss = config.loss(network(some), wanted, count)
            scaler.scale(loss).backward()
        shares.append(loss.detach())
    return sum(shares) / world


def _diverged(
    error: Diverged, state: RunState, batches: Batches, data: TrainingSet, milestones: Milestones
) -> TrainingDiverged:
    """What is raised; writes the state from just before and the step's images, to look into."""
    keys = batches.images(error.step)
    names = [data.name(index) for _, index in keys]
    settings, checkpoints, kept = state.config.training, milestones.checkpoints, ""
    if checkpoints is not None:
        images, targets = zip(*(data[key] for key in keys))
        state.step = error.step
        look = {"names": names, "images": torch.stack(images), "targets": torch.stack(targets)}
        path = checkpoints.folder / DIVERGED
        save_checkpoint(state.to_dict() | look, path)
        kept = f" {path} holds the weights from just before, and the images."
        if checkpoints.path.exists():
            kept += f" The last checkpoint, {checkpoints.path}, is from before."
    more = f" and {len(names) - 8} more" if len(names) > 8 else ""
    return TrainingDiverged(
        f"training diverged at {error}, images {', '.join(names[:8])}{more}. Try a lower "
        f"training.learning_rate ({settings.learning_rate}), a longer training.warmup "
        f"({settings.warmup}) or a smaller training.clip_norm ({settings.clip_norm}).{kept}"
    )


def _in_processes(
    config: Task, out: Path | None, execution: Execution, options: dict[str, Any]
) -> TrainedRun:
    """`train` in new processes; the network comes back as a checkpoint."""
    check_picklable(options["dataset"], "take execution.processes = 1")
    check_picklable([options["on_step"], options["on_samples"]], "take execution.processes = 1")
    with nullcontext(out) if out is not None else tempfile.TemporaryDirectory() as folder:
        arguments = (config, folder, execution, options)
        launch(execution.processes, execution.restarts, _train_here, *arguments)
        return load_trained(folder, type(config), options["device"])


def _train_here(
    config: Task, out: str | Path, execution: Execution, options: dict[str, Any]
) -> None:
    train(config, out, execution=execution, **options)
