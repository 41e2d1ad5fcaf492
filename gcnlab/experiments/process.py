"""What experiments share as processes: how much memory one took, and how one is called from the shell."""

import resource
import sys
from pathlib import Path

import tyro


def peak_mb() -> float:
    """Peak resident memory of this process so far, in MB."""
    status = Path("/proc/self/status")
    if status.is_file():  # Linux hands a parent's ru_maxrss on to its children
        (line,) = (line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
        return int(line.split()[1]) / 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def current_mb() -> float:
    """Resident memory of this process now, in MB. Linux alone says that."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() / 1024**2


def run_command(command: type, module: str) -> None:
    """Run `python -m gcnlab.experiments.MODULE`: a dataclass of its settings that is called; an error is a line."""
    try:
        tyro.cli(command, prog=f"python -m gcnlab.experiments.{module}")()
    except (ValueError, OSError) as error:
        print(f"{module}: {error}", file=sys.stderr)
        sys.exit(1)
