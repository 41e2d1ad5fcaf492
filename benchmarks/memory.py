"""How much memory a process, or one call in it, takes."""

import ctypes
import gc
import resource
import sys
from collections.abc import Callable
from pathlib import Path

import torch


def peak_mb() -> float:
    """Peak resident memory of this process so far, in MB."""
    status = Path("/proc/self/status")
    if status.is_file():  # on Linux, a child process inherits ru_maxrss from its parent
        (line,) = (line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
        return int(line.split()[1]) / 1024
    unit = 1 if sys.platform == "darwin" else 1024  # macOS counts bytes, others kilobytes
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1024**2


def current_mb() -> float:
    """Resident memory of this process now, in MB (Linux only)."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() / 1024**2


def peak_mb_of(work: Callable[[], object], device: torch.device) -> float:
    """Peak memory of the first call of `work`, in MB, above what was in use before it.

    On a CPU this is the resident memory of the whole process (Linux only).
    """
    if device.type == "cuda":
        torch.cuda.synchronize(device)
        before = torch.cuda.memory_allocated(device)
        torch.cuda.reset_peak_memory_stats(device)
        work()
        torch.cuda.synchronize(device)
        return (torch.cuda.max_memory_allocated(device) - before) / 1024**2
    gc.collect()
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:  # give freed memory back to the system; otherwise the call would reuse it
        trim(0)
    before = current_mb()
    Path("/proc/self/clear_refs").write_text("5")  # reset the peak
    work()
    return peak_mb() - before
