"""Several processes that share one run: ranks, sums over ranks, DistributedDataParallel.

torchrun starts the processes and sets their environment variables; each process then calls the same
function. Without torchrun there is one process, with rank 0. The words are those of
`torch.distributed`.
"""

import atexit
import os
import re
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from datetime import timedelta

import torch
from torch import distributed, nn
from torch.nn.parallel import DistributedDataParallel
from torch.utils.data import Dataset, Subset

from gcnlab.annotations import Shaped, Tensor

OWN_STORE = "TORCH_DISABLE_SHARE_RDZV_TCP_STORE"
"""Environment variable of torchrun. With the value 1 the processes of each attempt use a new store.
The default store still lists the processes that died, and the new ones would wait for them
(https://github.com/pytorch/pytorch/issues/135712)."""

_LOST_WORKER = re.compile(r"DataLoader worker (\(pid|was lost)")


class RunStopped(RuntimeError):
    """A run was stopped by something outside of it. The last checkpoint stays."""


# --- Ranks


def rank() -> int:
    """The number of this process, from 0."""
    return distributed.get_rank() if _initialized() else 0


def world_size() -> int:
    """The number of processes that share the run."""
    return distributed.get_world_size() if _initialized() else 1


def is_primary() -> bool:
    """Whether this is rank 0, the process that writes files and prints."""
    return rank() == 0


def _initialized() -> bool:
    return distributed.is_available() and distributed.is_initialized()


@contextmanager
def process_group(
    device: str | None = None, timeout: timedelta = timedelta(minutes=10)
) -> Iterator[str | None]:
    """Join the processes that torchrun started; without torchrun this does nothing.

    They stay joined after the block, until the program ends, so that a script can train, score and
    train again: joining twice could reach the first group's store. After an error in the block this
    process leaves the group, so that the others notice.

    Args:
        device: "cpu", "cuda" or None, which chooses a GPU if there is one.
        timeout: how long to wait for the other processes.

    Returns:
        The device of this process. With several processes on GPUs each has its own, such as
        "cuda:1".

    Raises:
        ConnectionError: not all processes joined.
        ValueError: torchrun is to restart lost processes and `OWN_STORE` is not set, or this
            machine has fewer GPUs than processes.
    """
    started = int(os.environ.get("WORLD_SIZE", "1"))
    if started == 1:
        yield device
        return
    if _initialized():
        yield _own_device(device) if device in (None, "cuda") else device
        return
    restarts = int(os.environ.get("TORCHELASTIC_MAX_RESTARTS", "0"))
    if restarts and os.environ.get("TORCHELASTIC_USE_AGENT_STORE") == "True":
        raise ValueError(
            f"torchrun --max-restarts {restarts} needs the environment variable {OWN_STORE}=1: "
            "otherwise the restarted processes wait for the lost ones"
        )
    device = _own_device(device)
    backend = "nccl" if str(device).startswith("cuda") else "gloo"
    try:
        distributed.init_process_group(backend, timeout=timeout)
    except RuntimeError as error:
        first_line = str(error).splitlines()[0]
        raise ConnectionError(f"not all of the {started} processes joined: {first_line}") from error
    atexit.register(_leave)
    try:
        yield device
    except BaseException:
        _leave()
        raise


def _leave() -> None:
    if _initialized():
        distributed.destroy_process_group()


def _own_device(device: str | None) -> str | None:
    """The device of this process: on GPUs the one with its local rank."""
    if device in (None, "cuda") and torch.cuda.is_available():
        local, gpus = int(os.environ["LOCAL_RANK"]), torch.cuda.device_count()
        if local >= gpus:
            raise ValueError(
                f"local rank {local} has no GPU: this machine has {gpus}; start one process per GPU"
            )
        device = f"cuda:{local}"
        torch.cuda.set_device(device)
    elif str(device).startswith("cuda:"):
        raise ValueError(f"device {device}: with several processes, give cuda; each takes one GPU")
    return device


def restarted() -> bool:
    """Whether torchrun has restarted the processes after one was lost."""
    return int(os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")) > 0


# --- Data over ranks


def own_share(dataset: Dataset) -> Dataset:
    """The images rank, rank + world_size, … of `dataset`.

    Every image is in exactly one share, so that counts summed over the ranks are those of one
    process. (`DistributedSampler` would repeat some images to make all shares equally long.)
    """
    if world_size() == 1:
        return dataset
    return Subset(dataset, range(rank(), len(dataset), world_size()))


def all_reduce_sum(value: Shaped[Tensor, "..."]) -> Shaped[Tensor, "..."]:
    """Return the sum of `value` over all ranks, on the device of `value`."""
    if world_size() == 1:
        return value
    through_gpu = distributed.get_backend() == "nccl" and not value.is_cuda
    total = value.to("cuda" if through_gpu else value.device, copy=True)
    distributed.all_reduce(total)
    return total.to(value.device)


def broadcast_buffers(model: nn.Module) -> None:
    """Copy the buffers of rank 0 to all ranks. On CPUs each rank has its own running statistics."""
    if world_size() > 1:
        for buffer in model.buffers():
            distributed.broadcast(buffer, 0)


def check_same_step(step: int, folder: str) -> None:
    """Raise RunStopped unless all ranks start at the same step, which they do if they see the same
    folder."""
    if world_size() == 1:
        return
    steps = [0] * world_size()
    distributed.all_gather_object(steps, step)
    if len(set(steps)) > 1:
        raise RunStopped(
            f"{folder}: the processes found checkpoints of different steps ({min(steps)} and "
            f"{max(steps)}); all machines need to see the same folder"
        )


# --- The network over ranks


def data_parallel(model: nn.Module, device: torch.device) -> nn.Module:
    """Wrap `model` in DistributedDataParallel, which averages the gradients over the ranks.

    Returns `model` itself if there is one process.
    """
    if world_size() == 1:
        return model
    return DistributedDataParallel(
        model,
        device_ids=[device.index] if device.type == "cuda" else None,
        gradient_as_bucket_view=True,
    )


def synchronize_batch_norm(model: nn.Module, device: torch.device) -> nn.Module:
    """Convert batch norm to SyncBatchNorm if several processes train on GPUs.

    On CPUs, which SyncBatchNorm does not support, each rank normalises with its own images.
    """
    if world_size() == 1 or device.type != "cuda":
        return model
    if any(isinstance(m, nn.BatchNorm2d) and _of_timm(m) for m in model.modules()):
        from timm.layers import convert_sync_batchnorm  # PyTorch's drops the activations in them

        return convert_sync_batchnorm(model)
    return nn.SyncBatchNorm.convert_sync_batchnorm(model)


def _of_timm(module: nn.Module) -> bool:
    return type(module).__module__.startswith("timm.")


def no_sync(network: nn.Module) -> AbstractContextManager:
    """A context in which backward passes do not average the gradients over the ranks."""
    return network.no_sync() if world_size() > 1 else nullcontext()


# --- Lost processes


@contextmanager
def report_lost_processes() -> Iterator[None]:
    """Replace PyTorch's error about a lost process by one that says which process it was.

    Raises:
        RunStopped: a data-loading worker or another rank was lost.
    """
    try:
        yield
    except RuntimeError as error:
        lines = str(error).strip().splitlines()
        first = lines[0] if lines else ""
        lost = lost_worker(error)
        if lost is not None and "before its first batch" in lost:
            raise RunStopped(
                "a data-loading worker died at its start; the lines above say why. Often the script has "
                'no `if __name__ == "__main__":` around its work, or defines the data set below it, or '
                f"memory is short. With 0 workers no process is started. ({lost})"
            ) from error
        if lost is not None:
            raise RunStopped(
                "a data-loading worker died. Often memory is short: try fewer workers. "
                f"The last checkpoint stays. ({lost})"
            ) from error
        if world_size() > 1 and (
            isinstance(error, distributed.DistError) or "gloo" in first or "closed by peer" in first
        ):
            raise RunStopped(
                "another process of this run was lost. The last checkpoint stays; torchrun "
                f"--max-restarts (with {OWN_STORE}=1) resumes from it automatically. ({first})"
            ) from error
        raise


def lost_worker(error: BaseException) -> str | None:
    """PyTorch's message about a lost data-loading worker, if that caused `error`.

    PyTorch raises it from a signal handler, at any place in the main process, so that another error
    may follow from it.
    """
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, RuntimeError) and _LOST_WORKER.match(str(cause)):
            return str(cause).strip()
        cause = cause.__cause__ or cause.__context__
    return None
