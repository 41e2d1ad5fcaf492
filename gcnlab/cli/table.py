"""gcnlab table."""

import random
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any

import tyro

from gcnlab.cli.missing import Missing
from gcnlab.evaluation import evaluate
from gcnlab.experiments.report import (
    RESULTS,
    aligned,
    by_seed,
    finished_runs,
    orderings,
    prediction_interval,
    sentence,
    table_cells,
    verdicts,
)
from gcnlab.experiments.scales import SCALES, Scale
from gcnlab.experiments.tables import (
    SCORES,
    Cell,
    PaperTable,
    paper_table,
    table_backbone,
    with_seed,
)
from gcnlab.provenance import provenance, write_json
from gcnlab.training import RunConfig, train


@dataclass(frozen=True)
class ShowTable:
    """A table of the paper beside ours: means over seeds, and whether each of its orderings held. Without a number, the
    orderings of all tables.

        gcnlab table
        gcnlab table 1
        gcnlab table 5 --run
        gcnlab table 1 --check

    Without --run nothing is trained: the table is made of the runs under data/results, found by their settings. With it, what
    is missing is trained, seed by seed; a run that was stopped goes on. Given twice at once, on two cores (or GPUs: --device),
    the two share what is missing.
    """

    number: Annotated[int | None, tyro.conf.Positional] = None
    """1 to 6; none for all orderings, at the scales that two cores can train."""
    run: bool = False
    """Train what is missing."""
    scale: Scale = "mini"
    """mini: 256 px, the mini backbone, about nine CPU-minutes a network; quick: the same from a pretrained start, under
    three; large: the same at 512 px, on the paper's map of 16×16, under twenty; full: 512 px, ResNet-18, for a GPU; camvid:
    photographs, under 40."""
    seeds: int | None = None
    """Trainings of each network; the table's own number if not given."""
    results: Path = RESULTS
    """Folder of the results."""
    check: bool = False
    """Train one network of the table, chosen at random among those with three finished seeds or more, with a seed that
    is new: its scores have to lie where the finished ones say (99 % prediction interval). Nothing is kept."""
    out: Path | None = None
    """Write what is shown to this JSON file, with the score of every seed."""
    device: str | None = None
    """cpu, cuda, …; the GPU if there is one."""
    workers: int = 0
    """Processes that load images; 0 loads in the main process."""

    def __call__(self) -> None:
        if self.seeds is not None and self.seeds < 1:
            raise ValueError(f"--seeds must be at least 1, not {self.seeds}")
        if self.number is None:
            if self.run or self.check:
                raise ValueError("--run and --check take the number of a table")
            self._show_orderings()
            return
        table = paper_table(self.number, self.scale)
        if self.check:
            self._check(table)
            return
        if self.run:
            how = self.results, self.seeds, self.device, self.workers
            Missing(table, self.scale, *how).train()
        self._show(table)

    def _show_orderings(self) -> None:
        rows = orderings(finished_runs(self.results))
        print(aligned(rows))
        if self.out is not None:
            header, *rest = rows
            write_json({"orderings": [dict(zip(header, row)) for row in rest]}, self.out)

    def _show(self, table: PaperTable) -> None:
        began, runs = time.perf_counter(), finished_runs(self.results)
        images, found = SCALES[self.scale].images, verdicts(table, runs)
        print(f"Table {table.number}: {table.title} (paper: VOC; ours: {images}; %)\n")
        print(aligned(table_cells(table, runs)), end="\n\n")
        for verdict in found:
            print(sentence(verdict))
        if self.out is not None:
            networks = [_record(cell, by_seed(cell.config, runs)) for cell in table.cells]
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

    def _check(self, table: PaperTable) -> None:
        runs = finished_runs(self.results)
        finished = {cell.name: by_seed(cell.config, runs) for cell in table.cells}
        cells = [
            cell
            for cell in table.cells
            if isinstance(cell.config, RunConfig)
            and table_backbone(cell.config) is None  # a new seed has none of its own
            and len(finished[cell.name]) >= 3
        ]
        if not cells:
            raise ValueError(
                f"Table {table.number}: no network but on the table's own backbones has three finished seeds to compare with"
            )
        cell = random.SystemRandom().choice(cells)
        scores = finished[cell.name]
        seed = max(scores) + 1
        print(f"Table {table.number}: training {cell.name} once more, with seed {seed}", flush=True)
        run = train(with_seed(cell.config, seed), device=self.device, num_workers=self.workers)
        found = evaluate(run.model, run.config.evaluation_set("val"), num_workers=self.workers)
        outside = []
        for score in cell.paper:
            low, high = prediction_interval([values[score] for values in scores.values()])
            value = getattr(found, score)
            print(f"{SCORES[score]}: {value:.1f}, expected in {low:.1f} … {high:.1f}")
            if not low <= value <= high:
                outside.append(SCORES[score])
        if outside:
            raise ValueError(
                f"{cell.name}, seed {seed}: {', '.join(outside)} outside of what {len(scores)} "
                f"finished seeds under {self.results} say"
            )


def _record(cell: Cell, found: dict[int, dict[str, float]]) -> dict[str, Any]:
    """A network of a table: the paper's scores, and ours, seed by seed."""
    ours = {score: [scores[score] for scores in found.values()] for score in cell.paper}
    seeds = list(found)
    return {
        "name": cell.name,
        "weights": cell.weights,
        "paper": cell.paper,
        "seeds": seeds,
        "ours": ours,
    }
