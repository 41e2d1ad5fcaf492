"""gcnlab crf."""

import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Annotated, Literal

import tyro
from rich.console import Console
from rich.table import Table

from gcnlab.cli.evaluate import open_split
from gcnlab.evaluation import Inference
from gcnlab.evaluation.crf_search import CRFScores, Grid, search_crf
from gcnlab.provenance import provenance, write_json
from gcnlab.training import load_run
from gcnlab.training.runs import describe


@dataclass(frozen=True)
class Crf:
    """Search the dense CRF's parameters on a few images; score the best on the split's others.

        gcnlab crf runs/camvid --split val --images 20 --out crf.json

    Needs the extra `crf`. Half a second per image and point of the grid at 480×360 with 11 classes on one core.
    """

    run: Annotated[Path, tyro.conf.Positional]
    """Folder of a run, or a checkpoint."""
    split: Literal["train", "val"] = "val"
    """Where the images are taken from."""
    images: int = 20
    """How many to search on, spread evenly over the split."""
    held_back: int | None = None
    """How many of the others to score the best on; all if not given."""
    grid: Grid = field(default_factory=Grid)
    """What to try."""
    inference: Inference = field(default_factory=Inference)
    """How the network is run."""
    root: Path | None = None
    """Folder of the data set, if it is not where the run found it."""
    out: Path | None = None
    """Write all scores and provenance to this JSON file."""
    device: str | None = None
    """cpu, cuda, …; the GPU if there is one."""

    def __call__(self) -> None:
        start = time.perf_counter()
        run = load_run(self.run, self.device)
        dataset = open_split(run, self.split, self.root)
        found = search_crf(
            run.model,
            dataset,
            run.normalization,
            self.images,
            self.grid,
            self.inference,
            self.held_back,
        )
        if self.out is not None:
            record = provenance(
                seeds=[run.config.training.seed],
                dataset=run.config.data.dataset,
                split=self.split,
                device=next(run.model.parameters()).device,
                seconds=time.perf_counter() - start,
            )
            what = {"what": f"{describe(run.config)} on {run.config.data.dataset}"}
            settings = {"inference": asdict(self.inference), "grid": asdict(self.grid)}
            write_json(what | asdict(found) | settings | {"provenance": record}, self.out)
        table = Table(title=f"{len(found.images)} images of the search, then the others")
        for column in ("CRF", "images", "mIoU %", "accuracy %", "boundary %"):
            table.add_column(column, justify="left" if column == "CRF" else "right")
        for scores in found.searched:
            table.add_row(*cells(scores))
        if found.before is not None and found.after is not None:
            table.add_section()
            table.add_row(*cells(found.before))
            table.add_row(*cells(found.after))
        Console().print(table)


def cells(scores: CRFScores) -> tuple[str, ...]:
    """A row of the table."""
    crf = scores.crf
    name = "none"
    if crf is not None:
        name = (
            f"w_a {crf.appearance_weight:g}, θ_a {crf.appearance_std:g}, θ_c {crf.color_std:g}, "
            f"w_s {crf.smooth_weight:g}, θ_s {crf.smooth_std:g}, {crf.iterations} it."
        )
    numbers = (scores.miou, scores.accuracy, scores.boundary_accuracy)
    return (name, str(scores.images), *(f"{value:.2f}" for value in numbers))
