"""The training loop: the whole life of a run, for segmentation and classification.

Everything random depends only on (seed, epoch, image): the initial weights, the order of the images
and their augmentation. A run that was killed and resumes from its last checkpoint therefore ends
with the same weights as a run that was not; on a CPU they are the same bit for bit.
"""

import math
from contextlib import nullcontext
from pathlib import Path

import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset

from gcnlab.allocator import keep_freed_memory
from gcnlab.annotations import Float, Shaped, Tensor
from gcnlab.arguments import Whole, whole
from gcnlab.devices import check_device, default_device
from gcnlab.distributed import (
    all_reduce_sum,
    broadcast_buffers,
    check_same_step,
    data_parallel,
    is_primary,
    no_sync,
    process_group,
    rank,
    report_lost_processes,
    restarted,
    world_size,
)
from gcnlab.loading import collate, iterate_batches
from gcnlab.models.recompute import recomputed
from gcnlab.training.batches import Batches, TrainingSet
from gcnlab.training.checkpoint import CHECKPOINT, Checkpoints, only_writer, save_checkpoint
from gcnlab.training.monitor import Diverged, Monitor, OnSamples, OnStep
from gcnlab.training.optimization import algorithms, compute_dtype, learning_rate
from gcnlab.training.runs import TrainedRun
from gcnlab.training.settings import Execution, Settings
from gcnlab.training.state import RunState, start_run
from gcnlab.training.tasks import Task, task_of


class TrainingDiverged(RuntimeError):
    """The loss or its gradient became NaN or infinite. The last checkpoint is older and intact."""


def train(
    config: Settings | Task,
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
    """Train a network.

    Under torchrun, every process calls this with the same arguments, and they share each batch.

    Args:
        config: a `RunConfig` (segmentation), a `PretrainConfig` (classification), or your own
            `Task`.
        out: folder for `checkpoint.pt`; None: nothing is kept.
        resume: resume from the checkpoint in `out`, if there is one. False: train from scratch and
            replace it.
        device: "cuda", "cpu", …; None: the GPU if there is one.
        dataset: train on this instead of the data set in `config`: (image, target) pairs, already
            transformed, of one size.
        num_workers: data-loading workers; 0 loads in this process.
        progress: show a progress bar with loss, images per second and time left.
        on_step: called with (step, number of steps, loss) after every step, for plots; on a GPU up
            to 20 steps late. With several processes, on rank 0 only.
        initial: weights of the whole network to start from: a trained run, its folder or
            checkpoint, the name of a pretrained network, or a state dict. The optimizer and the
            learning rate schedule start from the beginning. The checkpoint records the weights'
            source.
        execution: how the run is executed; apart from rounding, the weights do not depend on it.
        on_samples: called on rank 0 with (step, picture of the predictions), if
            `execution.samples` is set.

    Raises:
        TrainingDiverged: the loss is NaN or infinite. `out` then holds diverged.pt, a checkpoint
            from just before this step, with the batch's "names", "images" and "targets".
        RunStopped: a rank or a data-loading worker was lost.
        ValueError: the checkpoint in `out` is damaged or belongs to another run; `initial` belongs
            to another architecture; a label is out of range; the images of a batch differ in size;
            the device is not available; the data set cannot be sent to workers.
        OSError: `out` cannot be written (`FolderTaken`: another process trains there), or the disk
            is full. The last checkpoint stays.
    """
    task, execution = task_of(config), execution or Execution()
    out = None if out is None else Path(out)
    num_workers = whole("num_workers", num_workers, 0)
    check_device(device)
    with (
        process_group(None if device is None else str(device)) as device,
        report_lost_processes(),
        algorithms(execution.deterministic),
    ):
        keep_freed_memory()
        data = task.training_set() if dataset is None else dataset
        run = start_run(task, default_device(device), len(data), initial)
        with only_writer(out if is_primary() else None):
            checkpoints = _open_checkpoints(run, out, execution, resume or restarted())
            network, data = task.training_network(run.model, data, num_workers)
            check = getattr(data, "check_item", task.check_item)
            data = TrainingSet(data, check, task.config.training.seed)
            with Monitor(run, out, execution.tensorboard, progress, on_step, on_samples) as monitor:
                _train_steps(run, network, data, execution, num_workers, monitor, checkpoints)
        broadcast_buffers(run.model)
        run.model.eval()
        return TrainedRun(
            run.model, task.config, run.losses, run.elapsed, run.initial, run.cpu_began
        )


def _train_steps(
    run: RunState,
    network: nn.Module,
    data: TrainingSet,
    execution: Execution,
    num_workers: int,
    monitor: Monitor,
    checkpoints: Checkpoints | None,
) -> None:
    """Run all remaining steps. Only `monitor.read`, every few steps, waits for the GPU."""
    settings, device = run.config.training, run.device
    optimizer, scaler = run.optimizer, run.scaler
    dtype = compute_dtype(settings.precision, device)
    clip = math.inf if settings.clip_norm is None else settings.clip_norm
    batches = Batches(len(data), settings, run.step, run.steps, rank(), world_size())
    loader = DataLoader(
        data,
        batch_sampler=batches,
        num_workers=num_workers,
        collate_fn=collate,
        pin_memory=device.type == "cuda",
        multiprocessing_context="spawn" if num_workers else None,
    )
    # The same number on every rank, because each part synchronises the statistics of batch norm.
    parts = min(settings.accumulation, batches.smallest_share)
    broken = torch.zeros((), device=device)  # becomes 1 at the first NaN
    run.model.train()
    with recomputed(run.model) if execution.recompute else nullcontext():
        network = data_parallel(network, device)
        network = torch.compile(network) if execution.compile else network
        for images, targets in iterate_batches(loader):
            images = images.to(device, memory_format=torch.channels_last, non_blocking=True)
            targets = targets.to(device, non_blocking=True)
            for group in optimizer.param_groups:
                rate = learning_rate(settings, run.step, run.steps)
                group["lr"] = rate * group["factor"]

            optimizer.zero_grad(set_to_none=True)
            loss = backward(network, run.task, images, targets, dtype, scaler, parts)
            scaler.unscale_(optimizer)
            norm = nn.utils.clip_grad_norm_(run.model.parameters(), clip)
            if not scaler.is_enabled():
                # With found_inf set, the optimizer does not change the weights after a NaN. It is
                # checked on the device, as a scaler does it.
                broken = torch.maximum(broken, 1.0 - norm.isfinite().float())
                optimizer.found_inf = broken
            scaler.step(optimizer)
            scaler.update()
            run.step += 1

            monitor.add(loss, norm)
            score_due = run.score_due(execution.validate_every)
            if monitor.due or run.checkpoint_due or score_due:
                try:
                    monitor.read()  # before anything is saved: no weights after a NaN are kept
                except Diverged as error:
                    raise _diverged(error, run, batches, data, checkpoints) from None
                if score_due:
                    _score(run, num_workers, monitor, checkpoints)
                _save(run, execution, monitor, checkpoints)
                monitor.restart_clock()


def backward(
    network: nn.Module,
    task: Task,
    images: Float[Tensor, "batch channels height width"],
    targets: Shaped[Tensor, "batch ..."],
    dtype: torch.dtype,
    scaler: torch.amp.GradScaler,
    parts: int = 1,
) -> Float[Tensor, ""]:
    """Compute the gradient of the batch's mean loss; return this rank's share of that loss.

    The mean is over the labelled pixels of all parts on all ranks, so the gradient is that of the
    whole batch at once.

    Args:
        network: the network, in `data_parallel`, which averages gradients over the ranks.
        images, targets: this rank's share of the batch.
        parts: number of parts that the share is split into (gradient accumulation); at most the
            number of its images.
    """
    count = all_reduce_sum(task.count(targets)) / world_size()  # DDP divides by the world size
    losses = []
    pieces = zip(images.tensor_split(parts), targets.tensor_split(parts))
    for number, (some_images, some_targets) in enumerate(pieces, start=1):
        with nullcontext() if number == parts else no_sync(network):
            with torch.autocast(images.device.type, dtype, enabled=dtype != torch.float32):
                loss = task.loss(network(some_images), some_targets, count)
            scaler.scale(loss).backward()
        losses.append(loss.detach())
    return sum(losses) / world_size()


def _open_checkpoints(
    run: RunState, out: Path | None, execution: Execution, resume: bool
) -> Checkpoints | None:
    """Resume from the checkpoint in `out`, if any; on rank 0, open the folder for new ones."""
    found = out is not None and resume and (out / CHECKPOINT).exists()
    if found:
        run.resume(out / CHECKPOINT)
    check_same_step(run.step, str(out))
    if out is None or not is_primary():
        return None
    return Checkpoints(out, execution.keep, run.step if found else None)


def _score(
    run: RunState, num_workers: int, monitor: Monitor, checkpoints: Checkpoints | None
) -> None:
    """Score the network on the val split, on all ranks, and keep it if it is the best."""
    broadcast_buffers(run.model)
    with torch.random.fork_rng(devices=[]):  # a DataLoader draws from the random generator
        scores = run.task.score(run.model, num_workers, progress=False)
    score = getattr(scores, run.task.main_score)
    monitor.show_score(score)
    if run.is_best(score) and checkpoints is not None:
        checkpoints.save_best(run.to_dict())


def _save(
    run: RunState, execution: Execution, monitor: Monitor, checkpoints: Checkpoints | None
) -> None:
    """Write a checkpoint and draw predictions if they are due, on rank 0."""
    if not is_primary():
        return
    minutes = execution.checkpoint_minutes or math.inf
    if checkpoints is not None and (run.checkpoint_due or checkpoints.minutes_since_save > minutes):
        checkpoints.save(run.to_dict())
    if run.checkpoint_due and execution.samples:
        picture = run.task.samples(run.model, execution.samples)
        if picture is not None:
            monitor.show_samples(picture)


def _diverged(
    error: Diverged,
    run: RunState,
    batches: Batches,
    data: TrainingSet,
    checkpoints: Checkpoints | None,
) -> TrainingDiverged:
    """Write the state before the NaN and the batch to diverged.pt; return the exception."""
    keys = batches.images(error.step)
    names = [data.name(index) for _, index in keys]
    settings, kept = run.config.training, ""
    if checkpoints is not None:
        images, targets = zip(*(data[key] for key in keys))
        run.step = error.step
        batch = {"names": names, "images": torch.stack(images), "targets": torch.stack(targets)}
        path = checkpoints.folder / "diverged.pt"
        save_checkpoint(run.to_dict() | batch, path)
        kept = f" {path} holds the weights from just before this step, and the batch."
        if checkpoints.path.exists():
            kept += f" The last checkpoint, {checkpoints.path}, is older."
    more = f" and {len(names) - 8} more" if len(names) > 8 else ""
    return TrainingDiverged(
        f"training diverged at {error}, images {', '.join(names[:8])}{more}. Try a lower "
        f"training.learning_rate ({settings.learning_rate}), a longer training.warmup "
        f"({settings.warmup}) or a smaller training.clip_norm ({settings.clip_norm}).{kept}"
    )
