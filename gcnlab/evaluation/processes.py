"""One evaluation shared among processes: each takes a part of the images, and the counts are summed.

Counts are whole numbers and every image is in exactly one part, so the scores are those of one process, to the
last digit. (`DistributedSampler` would score some images twice, to make the parts equally long.)
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

import torch
from torch import distributed
from torch.utils.data import Dataset, Subset

from gcnlab.annotations import Int, Tensor

OWN_STORE = "TORCH_DISABLE_SHARE_RDZV_TCP_STORE"
"""torchrun's environment variable: 1 has the processes of each try meet in a store of their own. Its other store still
knows those that died, and the new ones would wait for them (https://github.com/pytorch/pytorch/issues/135712)."""


@contextmanager
def joined_processes(
    device: str | None = None, timeout: timedelta = timedelta(minutes=10)
) -> Iterator[str | None]:
    """torch.distributed inside the block, if torchrun started this process; gives the device to use.

    Args:
        device: the wanted one; None or "cuda" becomes this process's own GPU where there is one.
        timeout: how long to wait for the others.

    Raises:
        ConnectionError: they did not all come.
        ValueError: torchrun is to start them again when one dies, and `OWN_STORE` is not set; or there is no GPU for
            each of this machine's processes.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) == 1 or distributed.is_initialized():
        yield device
        return
    restarts = int(os.environ.get("TORCHELASTIC_MAX_RESTARTS", "0"))
    if restarts and os.environ.get("TORCHELASTIC_USE_AGENT_STORE") == "True":
        raise ValueError(
            f"torchrun --max-restarts {restarts} needs {OWN_STORE}=1 in its environment: after a restart the "
            "processes would wait for those that died"
        )
    if device in (None, "cuda") and torch.cuda.is_available():
        local, gpus = int(os.environ["LOCAL_RANK"]), torch.cuda.device_count()
        if local >= gpus:
            raise ValueError(
                f"process {local} of this machine has no GPU of its own: there are {gpus}"
            )
        device = f"cuda:{local}"
        torch.cuda.set_device(device)
    elif str(device).startswith("cuda:"):
        raise ValueError(f"device {device}: several processes take a GPU each; say cuda")
    try:
        distributed.init_process_group(
            "nccl" if str(device).startswith("cuda") else "gloo", timeout=timeout
        )
    except RuntimeError as error:
        raise ConnectionError(
            f"the {os.environ['WORLD_SIZE']} processes of this run have not all come: "
            f"{str(error).splitlines()[0]}"
        ) from error
    try:
        yield device
    finally:
        distributed.destroy_process_group()


def process() -> tuple[int, int]:
    """Number of this process and of all processes of torch.distributed; (0, 1) without it."""
    if distributed.is_available() and distributed.is_initialized():
        return distributed.get_rank(), distributed.get_world_size()
    return 0, 1


def own_share(dataset: Dataset) -> Dataset:
    """The images rank, rank + world size, … of `dataset`; all of them if there is one process."""
    rank, world = process()
    return dataset if world == 1 else Subset(dataset, range(rank, len(dataset), world))


def sum_over_processes(
    counts: Int[Tensor, "..."], device: torch.device | str
) -> Int[Tensor, "..."]:
    """The sum of all processes' `counts`, in each of them; on the CPU.

    Args:
        device: the model's, through which NCCL sends.
    """
    if process()[1] == 1:
        return counts
    nccl = distributed.get_backend() == "nccl"
    total = counts.to(device if nccl else "cpu", copy=True)
    distributed.all_reduce(total)
    return total.cpu()
