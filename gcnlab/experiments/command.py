"""Run a measurement from the command line, and choose the files of its results."""

import sys
from collections.abc import Iterable
from pathlib import Path

import tyro


def result_files(runs: Iterable[Path], out: Path) -> dict[Path, Path]:
    """The file under `out` for the result of each run.

    Raises:
        ValueError: two runs have the same name.
    """
    files = {path: out / f"{path.name}.json" for path in runs}
    if len(set(files.values())) < len(files):
        raise ValueError("two of the runs have the same name, so their results would share a file")
    return files


def run_command(command: type, module: str) -> None:
    """Parse the settings of `python -m MODULE` and run it; an error ends it with one line.

    Args:
        command: dataclass of the settings; calling an instance runs the measurement.
        module: full name of the module, for the help text and for errors.
    """
    try:
        tyro.cli(command, prog=f"python -m {module}")()
    except (ValueError, OSError) as error:
        print(f"{module}: {error}", file=sys.stderr)
        sys.exit(1)
