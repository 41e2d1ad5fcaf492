"""gcnlab table."""

import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import tyro

from gcnlab.experiments.scales import Scale

if TYPE_CHECKING:
    from gcnlab.experiments.tables import Cell, PaperTable


@dataclass(frozen=True)
class ShowTable:
    """Show a table of the paper beside ours: means over seeds, and a verdict on each ordering of
    the paper. Without a number, show the orderings of all tables.

        gcnlab table
        gcnlab table 1
        gcnlab table 5 --run
        gcnlab table 1 --check

    Nothing is trained without --run: the table is built from the runs under data/results, which are
    found by their settings. With --run, what is missing is trained first, one network after the
    other; give the same command again to resume. A network that another process trains is skipped.
    """

    number: Annotated[int | Literal["levels"] | None, tyro.conf.Positional] = None
    """1 to 6, or levels (three readings of how k applies to the four levels); if omitted, all
    orderings at the scales that a CPU can train."""
    run: bool = False
    """Train what is missing."""
    scale: Scale = "mini"
    """mini: 256 px, random start, about 9 CPU minutes per network; quick: 256 px, pretrained, 3
    minutes; large: 512 px, pretrained, with the paper's map of 16×16, 20 minutes; camvid: street
    scenes, 40 minutes; photos: VOC animals, on features of a frozen EfficientNet-Lite0, 4 minutes;
    photos-tuned: from these, an epoch with the backbone trained from stride 16 on, 10 minutes
    (Table 5); full: 512 px, ResNet-18, for a GPU."""
    seeds: int | None = None
    """Runs per network; if omitted, as many as the table's claims need."""
    results: Path | None = None
    """Folder of the results; if omitted, data/results of the repository."""
    check: bool = False
    """Train one network of the table with a new seed, chosen at random among those with three or
    more finished seeds, and fail if a score is outside the 99 % prediction interval of the finished
    seeds. Nothing is written."""
    out: Path | None = None
    """Write the table to this JSON file, with the scores of every seed."""
    device: str | None = None
    """cpu, cuda, …; if omitted, the GPU if there is one."""
    workers: int = 0
    """Data-loading workers; 0 loads in the main process."""

    def __call__(self) -> None:
        from gcnlab.experiments.paper import results_folder
        from gcnlab.experiments.scales import SCALES
        from gcnlab.experiments.tables import paper_table

        if self.seeds is not None and self.seeds < 1:
            raise ValueError(f"--seeds must be at least 1, not {self.seeds}")
        results = results_folder() if self.results is None else self.results
        if self.number is None:
            if self.run or self.check:
                raise ValueError("--run and --check need the number of a table")
            self._show_orderings(results)
            return
        table = paper_table(self.number, self.scale)
        if self.check:
            if SCALES[self.scale].starts_from is not None:
                raise ValueError(
                    f"--check trains a new seed, but the networks of the scale {self.scale} start from "
                    f"those of {SCALES[self.scale].starts_from}; check that scale"
                )
            from gcnlab.experiments.train_table import train_one_more

            train_one_more(table, results, self.device, self.workers)
            return
        if self.run:
            from gcnlab.experiments.train_table import train_missing

            train_missing(table, self.scale, results, self.seeds, self.device, self.workers)
        self._show(table, results)

    def _show_orderings(self, results: Path) -> None:
        from gcnlab.experiments.report import aligned, finished_runs, orderings

        rows = orderings(finished_runs(results))
        print(aligned(rows))
        if self.out is not None:
            from gcnlab.provenance import write_json

            header, *rest = rows
            write_json({"orderings": [dict(zip(header, row)) for row in rest]}, self.out)

    def _show(self, table: "PaperTable", results: Path) -> None:
        from gcnlab.experiments.report import (
            aligned,
            by_seed,
            finished_runs,
            sentence,
            table_cells,
            verdicts,
        )
        from gcnlab.experiments.scales import SCALES

        began, runs = time.perf_counter(), finished_runs(results)
        images, found = SCALES[self.scale].images, verdicts(table, runs)
        print(f"Table {table.number}: {table.title} (paper: VOC; ours: {images}; %)\n")
        print(aligned(table_cells(table, runs)), end="\n\n")
        for verdict in found:
            print(sentence(verdict))
        if self.out is not None:
            from gcnlab.provenance import provenance, write_json

            networks = [_record(cell, by_seed(cell, runs)) for cell in table.cells]
            seeds = sorted({seed for network in networks for seed in network["seeds"]})
            record = provenance(
                seeds=seeds,
                dataset=images,
                split="val",
                device="cpu",
                seconds=time.perf_counter() - began,
            )
            claims = [asdict(verdict) for verdict in found]
            values = {"table": table.number, "networks": networks, "claims": claims}
            write_json(values | {"provenance": record}, self.out)


def _record(cell: "Cell", found: dict[int, dict[str, float]]) -> dict[str, Any]:
    """A network of a table as JSON: the paper's scores, and ours by seed."""
    ours = {score: [scores[score] for scores in found.values()] for score in cell.paper}
    seeds = list(found)
    return {
        "name": cell.name,
        "weights": cell.weights,
        "paper": cell.paper,
        "seeds": seeds,
        "ours": ours,
    }
