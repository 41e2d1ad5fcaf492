"""gcnlab ship."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from gcnlab.training import ship


@dataclass(frozen=True)
class Ship:
    """Write trained networks as weights and a card, small enough to give away.

        gcnlab ship runs/base runs/gcn7 --out data/checkpoints

    Each network becomes OUT/NAME with weights.safetensors (half precision) and card.json (settings, scores,
    provenance). Every command that takes a run takes such a folder too.
    """

    runs: Annotated[tuple[Path, ...], tyro.conf.Positional]
    """Folders of finished runs."""
    out: Path = Path("data/checkpoints")
    """Folder for the networks."""

    def __call__(self) -> None:
        if not self.runs:
            raise ValueError("name at least one run to ship")
        names = [path.resolve().name for path in self.runs]
        if len(set(names)) < len(names):
            raise ValueError("two of the runs have one name: ship them to different folders")
        for name, run in zip(names, self.runs):
            print(ship(run, self.out / name))
