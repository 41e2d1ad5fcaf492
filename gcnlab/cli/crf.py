"""gcnlab crf."""

import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import tyro

from gcnlab.evaluation.settings import CRFGrid, Inference

if TYPE_CHECKING:
    from gcnlab.evaluation.crf_search import CRFScores


@dataclass(frozen=True)
class Crf:
    """Search the dense CRF's parameters on a few images; score the best on other images of the
    split.

        gcnlab crf runs/camvid --split val --images 20 --out crf.json

    Needs the extra `crf`. It takes half a second per image and point of the grid, at 480×360 with
    11 classes on one core.
    """

    run: Annotated[Path, tyro.conf.Positional]
    """A run's folder, a checkpoint, or the name of a pretrained network."""
    split: Literal["train", "val"] = "val"
    """Split of the images."""
    images: int = 20
    """Number of images to search on, evenly spaced in the split."""
    held_back: int | None = None
    """Number of other images to score the best on; default: all others."""
    grid: CRFGrid = field(default_factory=CRFGrid)
    """Values to try."""
    inference: Inference = field(default_factory=Inference)
    """Flips, scales and tiles with which the network is run."""
    root: Path | None = None
    """Folder of the data sets; default: where the run found them."""
    out: Path | None = None
    """Write all scores and provenance to this JSON file."""
    device: str | None = None
    """cpu, cuda, …; default: the GPU if there is one."""

    def __call__(self) -> None:
        from rich.console import Console
        from rich.table import Table

        from gcnlab.cli.evaluate import open_split
        from gcnlab.evaluation.crf_search import search_crf
        from gcnlab.provenance import provenance, write_json
        from gcnlab.training import load_run
        from gcnlab.training.runs import describe

        start = time.perf_counter()
        run = load_run(self.run, self.device)
        dataset = open_split(run, self.split, self.root)
        predictor = run.predictor(self.inference)
        found = search_crf(
            predictor,
            dataset,
            self.images,
            self.grid,
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
            settings = {"inference": asdict(predictor.inference), "grid": asdict(self.grid)}
            write_json(what | asdict(found) | settings | {"provenance": record}, self.out)
        table = Table(title=f"{len(found.images)} images of the search, then the held-out images")
        for column in ("CRF", "images", "mIoU %", "accuracy %", "boundary %"):
            table.add_column(column, justify="left" if column == "CRF" else "right")
        for scores in found.searched:
            table.add_row(*cells(scores))
        if found.before is not None and found.after is not None:
            table.add_section()
            table.add_row(*cells(found.before))
            table.add_row(*cells(found.after))
        Console().print(table)


def cells(scores: "CRFScores") -> tuple[str, ...]:
    """One row of the table."""
    crf = scores.crf
    name = "none"
    if crf is not None:
        name = (
            f"w_a {crf.appearance_weight:g}, θ_a {crf.appearance_std:g}, θ_c {crf.color_std:g}, "
            f"w_s {crf.smooth_weight:g}, θ_s {crf.smooth_std:g}, {crf.iterations} it."
        )
    numbers = (scores.miou, scores.accuracy, scores.boundary_accuracy)
    return (name, str(scores.images), *(f"{value:.2f}" for value in numbers))
