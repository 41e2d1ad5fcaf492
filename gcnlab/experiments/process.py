"""What experiments share as processes: how much memory one took, how one is called from the shell, where it writes."""

import ctypes
import gc
import resource
import sys
from collections.abc import Callable, Iterable
from pathlib import Path

import torch
import tyro


def peak_mb() -> float:
    """Peak resident memory of this process so far, in MB."""
    status = Path("/proc/self/status")
    if status.is_file():  # Linux hands a parent's ru_maxrss on to its children
        (line,) = (line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
        return int(line.split()[1]) / 1024
    unit = 1 if sys.platform == "darwin" else 1024  # macOS counts bytes, others kilobytes
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1024**2


def current_mb() -> float:
    """Resident memory of this process now, in MB. Linux alone says that."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() / 1024**2


def peak_mb_of(work: Callable[[], object], device: torch.device) -> float:
    """Memory, in MB, that a call takes at its peak above what was taken before it; the first call, mind.

    On a CPU Linux alone tells, of the whole process.
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
    if trim is not None:  # what was freed goes back to the system, or the work would find it there
        trim(0)
    before = current_mb()
    Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew
    work()
    return peak_mb() - before


def result_files(runs: Iterable[Path], out: Path) -> dict[Path, Path]:
    """The file under `out` that each run's result goes to.

    Raises:
        ValueError: two of them would go to one.
    """
    files = {path: out / f"{path.name}.json" for path in runs}
    if len(set(files.values())) < len(files):
        raise ValueError("two of the runs have one name: rename one")
    return files


def run_command(command: type, module: str) -> None:
    """Run `python -m gcnlab.experiments.MODULE`: a dataclass of its settings that is called; an error is a line."""
    try:
        tyro.cli(command, prog=f"python -m gcnlab.experiments.{module}")()
    except (ValueError, OSError) as error:
        print(f"{module}: {error}", file=sys.stderr)
        sys.exit(1)
