"""Choose the device to compute on, check that it is available, and set its precision."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

from gcnlab.arguments import first_line, nearest, shown

DEVICE_TYPES = ("cpu", "cuda", "mps", "xpu")
"""The types that an error suggests for a misspelt one."""


def default_device(device: str | torch.device | None = None) -> torch.device:
    """Return `device`; if it is None, the GPU, or the CPU if there is no GPU.

    Raises:
        ValueError: the device is not available.
    """
    if device is None:
        device = "cuda" if torch.cuda.is_available() else "cpu"
    check_device(device)
    try:
        return torch.empty(0, device=device).device
    except (AssertionError, RuntimeError) as error:
        raise ValueError(f"device {str(device)!r} is not available: {first_line(error)}") from error


def check_device(device: Any) -> None:
    """Raise ValueError if this machine lacks `device`. None is valid. CUDA is not started."""
    if device is None:
        return
    try:
        found = torch.device(device)
    except (RuntimeError, TypeError):
        name = str(device).split(":")[0]
        meant = "; did you mean cuda?" if name.lower() == "gpu" else nearest(name, DEVICE_TYPES)
        raise ValueError(
            f"unknown device {shown(device)}; choose cpu, cuda or cuda:NUMBER{meant}"
        ) from None
    if found.type == "meta":
        raise ValueError("device 'meta' holds no values; choose cpu or cuda")
    if found.type == "cuda":
        count = torch.cuda.device_count() if torch.cuda.is_available() else 0
        if not count:
            raise ValueError(
                f"device {str(device)!r} is not available: PyTorch finds no GPU; choose cpu"
            )
        if found.index is not None and found.index >= count:
            there = "cuda:0" if count == 1 else f"cuda:0 … cuda:{count - 1}"
            raise ValueError(f"device {str(device)!r} is not available: choose {there}")


@contextmanager
def without_tf32() -> Iterator[None]:
    """Compute float32 on a GPU in full precision inside the block; the switches are set back at the
    end.

    By default PyTorch allows TF32, with ten bits of mantissa, for convolutions. Blocks may be nested
    and may be open in several threads at once; the last one to end sets the switches back.
    """
    switches = torch.backends.cuda.matmul, torch.backends.cudnn
    with _lock:
        if not _before:
            _before.append([switch.allow_tf32 for switch in switches])
            for switch in switches:
                switch.allow_tf32 = False
        else:
            _before.append(_before[0])
    try:
        yield
    finally:
        with _lock:
            values = _before.pop()
            if not _before:
                for switch, value in zip(switches, values):
                    switch.allow_tf32 = value


_lock = threading.Lock()
_before: list[list[bool]] = []
"""For each open block of `without_tf32`, the switches before the first one."""
