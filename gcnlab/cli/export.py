"""gcnlab export."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro


@dataclass(frozen=True)
class Export:
    """Export trained networks: weights in half precision and a card, small enough to share.

        gcnlab export runs/base runs/gcn7 --out data/checkpoints

    Each network becomes OUT/NAME with weights.safetensors and card.json (settings, scores,
    provenance). Every command that takes a run also takes such a folder.
    """

    runs: Annotated[tuple[Path, ...], tyro.conf.Positional]
    """Folders of finished runs."""
    out: Path = Path("data/checkpoints")
    """Folder for the networks."""

    def __call__(self) -> None:
        from gcnlab.training import export_run

        if not self.runs:
            raise ValueError("name at least one run to export")
        names = [path.resolve().name for path in self.runs]
        if len(set(names)) < len(names):
            raise ValueError("two of the runs have the same name: export them to different folders")
        for name, run in zip(names, self.runs):
            print(export_run(run, self.out / name))
