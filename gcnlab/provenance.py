"""Provenance: where a result comes from. It is saved with every result that the project shows."""

import json
import math
import os
import platform
import shlex
import subprocess
import sys
import time
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

import torch


def provenance(
    *,
    seeds: list[int],
    dataset: str,
    split: str,
    device: torch.device | str,
    seconds: float,
    cpu_began: float = 0.0,
) -> dict[str, Any]:
    """Collect the command, commit, seeds, data, device, time and versions of a result.

    Args:
        seeds: seeds of the runs in the result.
        dataset: name of the data set and its settings.
        split: the split that was evaluated.
        device: the device of the computation.
        seconds: wall time of the work.
        cpu_began: `time.process_time()` when this process began the work; the processor time since
            then is recorded too. 0: since the process started.
    """
    return {
        "command": shlex.join([*_program(), *sys.argv[1:]]),
        "commit": COMMIT,
        "seeds": seeds,
        "dataset": dataset,
        "split": split,
        "device": _device_name(torch.device(device)),
        "threads": torch.get_num_threads(),
        "wall_seconds": round(seconds, 1),
        "process_cpu_seconds": round(time.process_time() - cpu_began, 1),
        "finished": datetime.now(UTC).isoformat(timespec="seconds"),
        "versions": {
            "python": platform.python_version(),
            **{name: _version(name) for name in ("gcnlab", "torch", "torchvision")},
        },
    }


def write_json(values: dict[str, Any], path: str | Path, indent: int | None = 2) -> None:
    """Write `values` to `path` through a temporary file, so that no incomplete file remains.

    NaN becomes null, because JSON has no NaN.

    Args:
        values: the values.
        path: the file.
        indent: spaces per level; None writes one line, for a file of many numbers.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    temporary.write_text(_as_json(values, indent))
    os.replace(temporary, path)


def write_result(values: dict[str, Any], path: Path) -> None:
    """Write `values` to `path`, unless the file has the same values apart from the provenance.

    So an unchanged result keeps the provenance of its first computation.
    """
    try:
        here, there = json.loads(_as_json(values)), json.loads(path.read_text())
        if {**there, "provenance": here["provenance"]} == here:
            return
    except (OSError, ValueError, TypeError):
        pass  # the file does not exist or is damaged
    write_json(values, path)


def _program() -> list[str]:
    """The program of this process: the name of a command, or python -m and a module."""
    called, spec = Path(sys.argv[0]), getattr(sys.modules["__main__"], "__spec__", None)
    if called.suffix == ".py" and spec is not None:
        return ["python", "-m", spec.name.removesuffix(".__main__")]
    return [called.name]


def _as_json(values: dict[str, Any], indent: int | None = 2) -> str:
    return json.dumps(_finite(values), indent=indent, ensure_ascii=False, allow_nan=False) + "\n"


def _version(name: str) -> str | None:
    """The version of an installed package; None if the code runs from a copy of the sources."""
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and math.isnan(value) else value


def _commit() -> str | None:
    """The commit of the source tree, with "+" if there are changes; None outside of git.

    The environment variable GCNLAB_COMMIT names the commit of a copy without its history.
    """
    if named := os.environ.get("GCNLAB_COMMIT"):
        return named
    root = Path(__file__).parent

    def git(*arguments: str) -> str:
        command = ["git", "-C", str(root), *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()

    try:
        return git("rev-parse", "--short=12", "HEAD") + ("+" if git("status", "-s", "-uno") else "")
    except (OSError, subprocess.CalledProcessError):
        return None


def _device_name(device: torch.device) -> str:
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    processor = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        for line in cpuinfo.read_text().splitlines():
            if line.startswith("model name"):
                processor = line.split(":", 1)[1].strip()
                break
    return f"{processor}, {os.cpu_count()} cores"


COMMIT = _commit()
"""The commit when the program started, whatever changes while it runs."""
