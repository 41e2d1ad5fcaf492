"""One run on several processes: PyTorch's DistributedDataParallel, started by torchrun or from a notebook.

Every step's images are shared among the processes, and each divides its loss by the labelled pixels of all. So
the gradients are those of one process with all the images, however the void pixels are spread. Batch norm that
learns sees a process's own images on CPUs, and those of all on GPUs (SyncBatchNorm, which knows no CPU).
"""

import os
import re
import signal
import sys
import threading
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

import torch
from torch import distributed, nn
from torch.nn.parallel import DistributedDataParallel

from gcnlab.evaluation.processes import OWN_STORE, process

LOST_LOADER = re.compile(r"DataLoader worker (\(pid|was lost)")


class RunStopped(RuntimeError):
    """A run cannot go on, for a reason outside of it; the last checkpoint stays."""


def launch(processes: int, restarts: int, function: Callable[..., None], *arguments: Any) -> None:
    """Call `function(*arguments)` in that many new processes, as torchrun would; all end together.

    The processes are spawned: `function` and its arguments are pickled, and a function of a notebook has to
    come from a module.

    Args:
        restarts: how often all are started again after one has died.

    Raises:
        RunStopped: with the first error of a process.
    """
    from torch.distributed.elastic.multiprocessing.api import SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.launcher.api import LaunchConfig, elastic_launch

    config = LaunchConfig(
        min_nodes=1,
        max_nodes=1,
        nproc_per_node=processes,
        max_restarts=restarts,
        run_id=uuid.uuid4().hex,
        rdzv_backend="c10d",
        rdzv_endpoint="localhost:0",
    )
    threads = str(max(1, (os.cpu_count() or 1) // processes))  # else each would take all cores
    threads = os.environ.get("OMP_NUM_THREADS", threads)
    try:
        with _environment(OMP_NUM_THREADS=threads, **{OWN_STORE: "1"}), _signal_handlers_kept():
            elastic_launch(config, function)(*arguments)
    except SignalException as error:
        if error.sigval == signal.SIGINT:
            raise KeyboardInterrupt from error
        sys.exit(128 + error.sigval)
    except ChildFailedError as error:
        rank, failure = error.get_first_failure()
        words = failure.message
        if isinstance(words, dict):
            words = words.get("message", words)
        raise RunStopped(f"process {rank} of {processes}: {str(words).splitlines()[0]}") from error


@contextmanager
def _signal_handlers_kept() -> Iterator[None]:
    """The handlers after the block are those before it: torchrun's code sets its own and leaves them."""
    if threading.current_thread() is not threading.main_thread():
        yield  # no other thread may set any
        return
    before = {number: signal.getsignal(number) for number in signal.valid_signals()}
    try:
        yield
    finally:
        for number, handler in before.items():
            if handler is not None and signal.getsignal(number) is not handler:
                signal.signal(number, handler)


@contextmanager
def _environment(**variables: str) -> Iterator[None]:
    """Environment variables inside the block; as they were after it."""
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def launched() -> bool:
    """Whether this process is one of several that torchrun or `launch` started."""
    return process()[1] > 1 or int(os.environ.get("WORLD_SIZE", "1")) > 1


def check_world(wanted: int) -> None:
    """Raise unless there are as many processes as were started, and as `wanted`, if that is more than one.

    Raises:
        RunStopped, ValueError: the numbers.
    """
    world = process()[1]
    started = int(os.environ.get("WORLD_SIZE", world))
    if world != started:
        raise RunStopped(f"{started} processes were started, {world} have joined")
    if wanted not in (1, world):
        raise ValueError(f"execution.processes is {wanted}, but {world} were started")


def across_processes(model: nn.Module, device: torch.device) -> nn.Module:
    """`model`, whose gradients are the means of all processes' after a backward pass; itself with one process."""
    if process()[1] == 1:
        return model
    return DistributedDataParallel(
        model,
        device_ids=[device.index] if device.type == "cuda" else None,
        gradient_as_bucket_view=True,
    )


def with_synchronized_norm(model: nn.Module, device: torch.device) -> nn.Module:
    """`model` with batch norm over the images of all processes, on GPUs; else itself."""
    if process()[1] == 1 or device.type != "cuda":
        return model
    return nn.SyncBatchNorm.convert_sync_batchnorm(model)


def without_exchange(network: nn.Module):
    """A block whose backward passes leave the gradients in this process."""
    return network.no_sync() if process()[1] > 1 else nullcontext()


def total(value: torch.Tensor) -> torch.Tensor:
    """The sum of all processes' `value`, in each; changes `value`."""
    if process()[1] > 1:
        distributed.all_reduce(value)
    return value


def share_buffers(model: nn.Module) -> None:
    """Every process gets the first one's buffers: running statistics, which are each one's own on CPUs."""
    if process()[1] > 1:
        for buffer in model.buffers():
            distributed.broadcast(buffer, 0)


def check_agreement(start: int, place: str) -> None:
    """Raise RunStopped unless all processes start from the same step: they have to see the same folder."""
    world = process()[1]
    starts = [start]
    if world > 1:
        starts = [0] * world
        distributed.all_gather_object(starts, start)
    if len(set(starts)) > 1:
        raise RunStopped(
            f"{place}: the processes find checkpoints of different steps ({min(starts)} and "
            f"{max(starts)}): the folder has to be one that all machines share"
        )


@contextmanager
def named_losses() -> Iterator[None]:
    """Say in words which process was lost: one that loads images, or another one of the run.

    Raises:
        RunStopped: in place of PyTorch's error.
    """
    try:
        yield
    except RuntimeError as error:
        first = str(error).strip().splitlines()[0] if str(error).strip() else ""
        lost = lost_loader(error)
        if lost is not None and "before its first batch" in lost:
            raise RunStopped(
                "a process that loads images died at its start; what it wrote above this line says why. Often the script "
                'has no `if __name__ == "__main__":` around its work, or defines the data set below it; or memory is '
                f"short. With 0 workers none is started. ({lost})"
            ) from error
        if lost is not None:
            raise RunStopped(
                "a process that loads images died; often memory is short: try fewer workers. "
                f"The last checkpoint stays. ({lost})"
            ) from error
        if process()[1] > 1 and (
            isinstance(error, distributed.DistError) or "gloo" in first or "closed by peer" in first
        ):
            raise RunStopped(
                "another process of this run was lost; with execution.restarts, or torchrun's "
                f"--max-restarts (and {OWN_STORE}=1), it goes on by itself. The last checkpoint stays. ({first})"
            ) from error
        raise


def lost_loader(error: BaseException) -> str | None:
    """What PyTorch says of a process that loads images and died, if that is where `error` comes from.

    It raises from a signal's handler, wherever the main process happens to be, so that another error may come of it.
    """
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, RuntimeError) and LOST_LOADER.match(str(cause)):
            return str(cause).strip()
        cause = cause.__cause__ or cause.__context__
    return None
