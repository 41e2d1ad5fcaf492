"""gcnlab bench."""

import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

CHECKOUT = Path(__file__).parent.parent.parent


@dataclass(frozen=True)
class Bench:
    """Measure speed and memory; works in a checkout of the repository only.

        gcnlab bench                 list the benchmarks
        gcnlab bench vrf data        run these two and write their results below data/results

    The benchmarks are the modules in the repository's folder benchmarks/. Each has more settings:
    python -m benchmarks.vrf --help
    """

    names: Annotated[tuple[str, ...], tyro.conf.Positional] = ()
    """Benchmarks to run, or all."""

    def __call__(self) -> None:
        if not (CHECKOUT / "benchmarks" / "__main__.py").is_file():
            raise ValueError(
                "benchmarks are part of the repository, not of the installed package: clone it and "
                "run gcnlab bench, or make bench, there"
            )
        status = subprocess.run([sys.executable, "-m", "benchmarks", *self.names], cwd=CHECKOUT)
        sys.exit(status.returncode)
