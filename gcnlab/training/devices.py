"""The device that is asked for, or the one that there is."""

from typing import Any

import torch

from gcnlab.arguments import first_line, nearest, shown

KINDS = ("cpu", "cuda", "mps", "xpu")
"""What a message offers."""


def default_device(device: str | torch.device | None = None) -> torch.device:
    """`device`, or if that is None the GPU, or without one the CPU.

    Raises:
        ValueError: there is no such device.
    """
    if device is None:
        device = "cuda" if torch.cuda.is_available() else "cpu"
    check_device(device)
    try:
        return torch.empty(0, device=device).device
    except (AssertionError, RuntimeError) as error:
        raise ValueError(f"device {str(device)!r} is not to be had: {first_line(error)}") from error


def check_device(device: Any) -> None:
    """Raise ValueError, in one line, if this machine has no such device; None is right. Nothing is started on it."""
    if device is None:
        return
    try:
        found = torch.device(device)
    except (RuntimeError, TypeError):
        name = str(device).split(":")[0]
        meant = "; did you mean cuda?" if name.lower() == "gpu" else nearest(name, KINDS)
        raise ValueError(
            f"unknown device {shown(device)}; choose cpu, cuda or cuda:NUMBER{meant}"
        ) from None
    if found.type == "meta":
        raise ValueError("device 'meta' holds no values; choose cpu or cuda")
    if found.type == "cuda":
        count = torch.cuda.device_count() if torch.cuda.is_available() else 0
        if not count:
            raise ValueError(
                f"device {str(device)!r} is not to be had: PyTorch finds no GPU here; choose cpu"
            )
        if found.index is not None and found.index >= count:
            there = "cuda:0" if count == 1 else f"cuda:0 … cuda:{count - 1}"
            raise ValueError(f"device {str(device)!r} is not to be had: there is {there}")
